package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/wshub-go/wshub"
)

// client comes back until it has seen the last number. It belongs to the goroutine in run until that has returned.
type client struct {
	seen   uint64 // all numbers up to this one
	dials  int    // that were accepted
	closes map[wshub.StatusCode]int
	err    error // what must not happen
}

// run reads numbers until the last one, or ctx ends. A client that is closed, or not accepted, comes back a little later, at
// a random time, so that all together do not come at once.
func (c *client) run(ctx context.Context, port int) {
	c.closes = map[wshub.StatusCode]int{}
	for {
		over, err := c.visit(ctx, port)
		if over || err != nil {
			c.err = err
			return
		}
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(100 * time.Millisecond)))):
		case <-ctx.Done():
			c.err = ctx.Err()
			return
		}
	}
}

// visit connects once and reads until the connection ends. over: it has seen the last number.
func (c *client) visit(ctx context.Context, port int) (over bool, err error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false, nil // nobody listens: the server restarts
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	fmt.Fprintf(conn, "GET /ws?after=%d HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", c.seen, conn.RemoteAddr())
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode == http.StatusServiceUnavailable {
		return false, nil // it drains, or has just ended
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return false, fmt.Errorf("answered %s", resp.Status)
	}
	c.dials++
	for {
		op, payload, err := readFrame(br)
		if err != nil {
			return false, fmt.Errorf("ended without a close frame: %w", err)
		}
		switch op {
		case 1:
			var t Tick
			if err := json.Unmarshal(payload, &t); err != nil {
				return false, err
			}
			if t.Seq != c.seen+1 {
				return false, fmt.Errorf("got %d after %d", t.Seq, c.seen)
			}
			if c.seen = t.Seq; t.Last {
				writeFrame(conn, 8, []byte{0x03, 0xe8})
				return true, nil
			}
		case 8:
			writeFrame(conn, 8, payload)
			if len(payload) >= 2 {
				c.closes[wshub.StatusCode(binary.BigEndian.Uint16(payload))]++
			}
			return false, nil
		case 9:
			writeFrame(conn, 10, payload)
		}
	}
}

// readFrame reads a whole, short frame of a server. It is as much of RFC 6455 as this program needs; clients of yours use a
// library.
func readFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	switch {
	case n == 126:
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(head[2:]))
	case n > 126:
		return 0, nil, errors.New("frame over 64 KiB")
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0] & 0x0f, payload, err
}

// writeFrame writes a short frame, masked with zeros, which change nothing.
func writeFrame(w io.Writer, op byte, payload []byte) {
	w.Write(append([]byte{0x80 | op, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)) // an error shows at the next read
}
