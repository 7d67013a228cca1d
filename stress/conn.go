package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Opcodes of RFC 6455.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// conn is a guest's end of a connection, with as much of RFC 6455 as guests need. One goroutine uses it.
type conn struct {
	*net.TCPConn
	in []byte // read and not looked at yet
}

// patience bounds every wait of a guest for the hub. It is longer than any wait of the hub's own.
const patience = 30 * time.Second

// request is the handshake of a guest.
func request(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: stress\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// connect opens a connection without a handshake.
func connect(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &conn{TCPConn: c.(*net.TCPConn)}, nil
}

// handshake sends the request and whatever early says with it, and returns the status of the answer.
func (c *conn) handshake(path string, early []byte) (status int, err error) {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(append([]byte(request(path)), early...)); err != nil {
		return 0, err
	}
	for {
		if head, rest, ok := bytes.Cut(c.in, []byte("\r\n\r\n")); ok {
			c.in = rest
			word := strings.Fields(string(head))
			if len(word) < 2 {
				return 0, fmt.Errorf("answer %q", head)
			}
			return strconv.Atoi(word[1])
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

// fill reads once.
func (c *conn) fill() error {
	var buf [2048]byte
	n, err := c.Read(buf[:])
	c.in = append(c.in, buf[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// frame returns the next frame that comes before the time given; then the error is a timeout, and nothing is lost. The
// payload is valid until the next call.
func (c *conn) frame(until time.Time) (op byte, payload []byte, err error) {
	for {
		if op, payload, n, err := cut(c.in); n > 0 || err != nil {
			c.in = c.in[n:]
			return op, payload, err
		}
		if len(c.in) == 0 {
			c.in = nil // an idle guest keeps no buffer
		}
		c.SetReadDeadline(until)
		if err := c.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// errFrame says that the hub has sent what it must not.
var errFrame = errors.New("broken frame")

// cut returns the first frame in b and its length, 0 when there is none that is whole.
func cut(b []byte) (op byte, payload []byte, n int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		return 0, nil, 0, fmt.Errorf("%w: %x", errFrame, b[:2])
	}
	head, size := 2, int(b[1])
	switch {
	case size == 127:
		return 0, nil, 0, fmt.Errorf("%w: longer than anything that is sent", errFrame)
	case size == 126 && len(b) < 4:
		return 0, nil, 0, nil
	case size == 126:
		head, size = 4, int(binary.BigEndian.Uint16(b[2:]))
	}
	if len(b) < head+size {
		return 0, nil, 0, nil
	}
	return b[0] & 0x0f, b[head : head+size], head + size, nil
}

// masked returns a frame as a client sends it, masked with zeros, which change nothing.
func masked(op byte, payload string) []byte {
	if len(payload) > 125 {
		b := binary.BigEndian.AppendUint16([]byte{0x80 | op, 0x80 | 126}, uint16(len(payload)))
		return append(append(b, 0, 0, 0, 0), payload...)
	}
	return append([]byte{0x80 | op, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
}

// send writes a frame.
func (c *conn) send(op byte, payload string) error { return c.raw(masked(op, payload)) }

// raw writes bytes.
func (c *conn) raw(b []byte) error {
	c.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.Write(b)
	return err
}

// reset drops the connection with a reset.
func (c *conn) reset() {
	c.SetLinger(0)
	c.Close()
}

// lost reports whether an error says that the connection is gone, and no more than that.
func lost(err error) bool {
	return err != nil && !errors.Is(err, errFrame) && !errors.Is(err, os.ErrDeadlineExceeded)
}
