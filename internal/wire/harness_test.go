package wire

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wshub-go/wshub/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience bounds what must happen soon on a busy machine.
const patience = 20 * time.Second

// kinds are the connections that every test of Conn runs over.
var kinds = []string{"tcp", "tls", "mem"}

// writeKinds has net.Pipe too, which has no buffer at all: nobody can write to it before the other end reads.
var writeKinds = append([]string{"pipe"}, kinds...)

// fakeKinds are those that work in fake time.
var fakeKinds = []string{"mem", "pipe"}

func each(t *testing.T, f func(t *testing.T, kind string)) { over(t, kinds, f) }

func over(t *testing.T, kinds []string, f func(t *testing.T, kind string)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { f(t, kind) })
	}
}

// A peer is the client's end, spoken byte by byte.
type peer struct {
	net.Conn
	t    testing.TB
	br   *bufio.Reader
	resp *http.Response
}

const offerDeflate = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

// connect opens a connection of the kind. header is added to the request; early follows it in the same write.
func connect(t testing.TB, kind string, o Options, header, early string) (*Conn, *peer) {
	t.Helper()
	request := "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + header + "\r\n" + early
	conns := make(chan *Conn, 1)
	accept := func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, o)
		if err != nil {
			t.Errorf("Accept: %v", err)
		}
		conns <- c
	}
	p := &peer{t: t}
	switch kind {
	case "mem", "pipe":
		var server net.Conn
		if kind == "mem" {
			server, p.Conn = pipe2(16 << 10)
		} else {
			server, p.Conn = net.Pipe()
		}
		go func() {
			br := bufio.NewReader(server)
			r, err := http.ReadRequest(br)
			if err != nil {
				t.Errorf("request: %v", err)
				conns <- nil
				return
			}
			accept(&hijackable{conn: server, br: br, header: http.Header{}}, r)
		}()
	default:
		srv := httptest.NewUnstartedServer(http.HandlerFunc(accept))
		if kind == "tls" {
			srv.StartTLS()
		} else {
			srv.Start()
		}
		t.Cleanup(srv.Close)
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if kind == "tls" {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		p.Conn = conn
	}
	t.Cleanup(func() { closePeer(p.Conn) })
	p.br = bufio.NewReader(p.Conn)
	if _, err := io.WriteString(p.Conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(p.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.resp = resp
	c := <-conns
	if c == nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v", resp.Status)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c, p
}

func pipe2(size int) (net.Conn, net.Conn) {
	a, b := Pipe(size)
	return a, b
}

// closePeer closes without the alert of TLS, which waits for a server that does not read.
func closePeer(c net.Conn) { socket(c).Close() }

// hijackable is a ResponseWriter over any conn.
type hijackable struct {
	conn   net.Conn
	br     *bufio.Reader
	header http.Header
}

func (h *hijackable) Header() http.Header         { return h.header }
func (h *hijackable) Write(p []byte) (int, error) { return h.conn.Write(p) }
func (h *hijackable) WriteHeader(status int) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	h.header.Write(&b)
	b.WriteString("\r\n")
	h.conn.Write(b.Bytes())
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(h.br, bufio.NewWriter(h.conn)), nil
}

// An owner is a session's write side: it writes what the lane holds whenever it is woken.
type owner struct {
	c    *Conn
	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

func own(t testing.TB, c *Conn) *owner {
	o := &owner{c, make(chan struct{}, 1), make(chan struct{}), make(chan struct{})}
	c.SetWake(func() {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	})
	go func() {
		defer close(o.done)
		for {
			select {
			case <-o.wake:
			case <-o.stop:
				return
			}
			b, last := c.TakeControl(nil)
			if _, err := c.WriteAll(b, patience); err != nil {
				return
			}
			if last {
				c.CloseSent()
			}
		}
	}()
	t.Cleanup(func() {
		c.CloseNow()
		close(o.stop)
		<-o.done
	})
	return o
}

// send writes bytes as they are, and stops when the server has given up: what it saw is for the test to ask.
func (p *peer) send(frames ...[]byte) {
	for _, f := range frames {
		if _, err := p.Write(f); err != nil {
			return
		}
	}
}

// frame returns the server's next frame: its first byte and its payload.
func (p *peer) frame() (first byte, payload []byte, err error) {
	p.SetReadDeadline(time.Now().Add(patience))
	var h [2]byte
	if _, err := io.ReadFull(p.br, h[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(h[1])
	if n&bitMask != 0 {
		return 0, nil, errors.New("masked frame from a server")
	}
	switch n {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(p.br, b[:]); err != nil {
			return 0, nil, err
		}
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(p.br, b[:]); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(b[:])
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(p.br, payload)
	return h[0], payload, err
}

// wantFrame fails unless the next frame is this one.
func (p *peer) wantFrame(op Opcode, payload string) {
	p.t.Helper()
	first, got, err := p.frame()
	if err != nil || first != bitFin|byte(op) || string(got) != payload {
		p.t.Fatalf("peer got frame %#x %q, %v; want op %d %q", first, clip(got), err, op, clip([]byte(payload)))
	}
}

// wantClose skips to the close frame, which must have this code (0: none), and returns its reason.
func (p *peer) wantClose(code int) (reason string) {
	p.t.Helper()
	for {
		first, got, err := p.frame()
		if err != nil {
			p.t.Fatalf("peer waits for close %d: %v", code, err)
		}
		if first != bitFin|byte(OpClose) {
			continue
		}
		have := 0
		if len(got) >= 2 {
			have, reason = int(binary.BigEndian.Uint16(got)), string(got[2:])
		}
		if have != code {
			p.t.Fatalf("peer got close %d %q, want %d", have, got, code)
		}
		return reason
	}
}

// wantEOF fails unless the stream ends here.
func (p *peer) wantEOF() {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(p.br); err != nil || len(b) > 0 {
		p.t.Fatalf("peer read %q, %v after the last frame, want EOF", b, err)
	}
}

func clip(b []byte) string { return string(b[:min(len(b), 40)]) }

// clientFrame is a masked frame with its length in the shortest form.
func clientFrame(first byte, payload string) []byte {
	b := appendHeader(nil, first, len(payload))
	b[1] |= bitMask
	mask := [4]byte{0x12, 0xfe, 0x00, 0x7f}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func text(s string) []byte { return clientFrame(bitFin|byte(OpText), s) }

func closing(code int, reason string) []byte {
	return clientFrame(bitFin|byte(OpClose), string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

func wantMessage(t testing.TB, c *Conn, op Opcode, want string) {
	t.Helper()
	gotOp, got, err := c.ReadMessage()
	if err != nil || gotOp != op || string(got) != want {
		t.Fatalf("ReadMessage = %d, %q (%d bytes), %v; want %d, %q (%d bytes)",
			gotOp, clip(got), len(got), err, op, clip([]byte(want)), len(want))
	}
}

// wantViolation fails unless the next ReadMessage ends in a ProtocolError with this code, as do all later ones.
func wantViolation(t testing.TB, c *Conn, code int) {
	t.Helper()
	for range 2 {
		_, data, err := c.ReadMessage()
		var v *ProtocolError
		if !errors.As(err, &v) || v.Code != code || data != nil {
			t.Fatalf("ReadMessage = %q, %v; want a violation with %d", clip(data), err, code)
		}
	}
}

func repeat(n int) string { return strings.Repeat("x", n) }
