package wshubtest_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/internal/leak"
	"github.com/wshub-go/wshub/internal/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

// rawConn is the server's end of a connection, spoken by hand: what the client is tested against is not built on what
// the library is built on.
type rawConn struct {
	net.Conn
	r *bufio.Reader
}

// send writes one unmasked frame; first is its first byte, reserved bits and all.
func (c rawConn) send(first byte, payload string) error {
	b := wire.AppendFrame(nil, wire.Opcode(first&0x0F), []byte(payload))
	b[0] = first
	_, err := c.Write(b)
	return err
}

func (c rawConn) text(s string) error { return c.send(0x81, s) }

func (c rawConn) close(code uint16, reason string) error {
	return c.send(0x88, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

// read reads one masked frame.
func (c rawConn) read() (first byte, payload string, err error) {
	var head [8]byte
	if _, err := io.ReadFull(c.r, head[:2]); err != nil {
		return 0, "", err
	}
	first = head[0]
	if head[1]&0x80 == 0 {
		return first, "", io.ErrUnexpectedEOF
	}
	n := uint64(head[1] & 0x7F)
	switch n {
	case 126:
		io.ReadFull(c.r, head[:2])
		n = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		io.ReadFull(c.r, head[:8])
		n = binary.BigEndian.Uint64(head[:8])
	}
	b := make([]byte, 4+n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return 0, "", err
	}
	mask, p := b[:4], b[4:]
	for i := range p {
		p[i] ^= mask[i%4]
	}
	return first, string(p), nil
}

// raw is a handler that upgrades by hand and then runs f; extra are header lines of the answer.
func raw(f func(rawConn), extra ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, brw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		lines := append([]string{
			"HTTP/1.1 101 Switching Protocols",
			"Upgrade: websocket",
			"Connection: Upgrade",
			"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]),
		}, extra...)
		if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
			return
		}
		f(rawConn{conn, brw.Reader})
	})
}

// echo returns data messages and pings, and answers a close frame.
func echo(c rawConn) {
	for {
		first, payload, err := c.read()
		if err != nil {
			return
		}
		switch first & 0x0F {
		case 0x8:
			c.send(0x88, payload)
			return
		case 0x9:
			first = 0x8A
		}
		if c.send(first, payload) != nil {
			return
		}
	}
}
