package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// dialEcho connects to examples/echo, on any path, with or without compression.
func dialEcho(t *testing.T, p *program, compress bool) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{EnableCompression: compress}
	c, resp, err := d.DialContext(t.Context(), "ws://"+p.url.Host+"/any/path", nil)
	if err != nil {
		t.Fatalf("dial: %v (%v)", err, resp)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	if got := resp.Header.Get("Sec-WebSocket-Extensions") != ""; got != compress {
		t.Errorf("compression negotiated: %t, want %t", got, compress)
	}
	return c
}

func TestEcho(t *testing.T) {
	noise := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	messages := []struct {
		kind int
		data []byte
	}{
		{websocket.TextMessage, nil},
		{websocket.BinaryMessage, nil},
		{websocket.TextMessage, []byte("κόσμε")},
		{websocket.BinaryMessage, []byte("\x00\xff")},
		{websocket.TextMessage, bytes.Repeat([]byte("ж"), 8<<20)},
		{websocket.BinaryMessage, noise},
	}
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprintf("compress=%t", compress), func(t *testing.T) {
			p := start(t, "echo", "127.0.0.1:0", fmt.Sprintf("-compress=%t", compress))
			c := dialEcho(t, p, compress)
			written := make(chan struct{})
			go func() { // ends with the connection
				defer close(written)
				for _, m := range messages {
					if err := c.WriteMessage(m.kind, m.data); err != nil {
						t.Error(err)
						return
					}
				}
			}()
			for i, m := range messages {
				kind, data, err := c.ReadMessage()
				if err != nil || kind != m.kind || !bytes.Equal(data, m.data) {
					t.Fatalf("message %d: kind %d, %d bytes: %v", i, kind, len(data), err)
				}
			}

			<-written

			// A close comes back with its code, after what was sent before it.
			c.WriteMessage(websocket.TextMessage, []byte("last words"))
			bye := websocket.FormatCloseMessage(4321, "bye")
			if err := c.WriteControl(websocket.CloseMessage, bye, time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, data, err := c.ReadMessage(); err != nil || string(data) != "last words" {
				t.Errorf("%q, %v", data, err)
			}
			if code := closed(t, c); code != 4321 {
				t.Errorf("closed with %d", code)
			}

			c = dialEcho(t, p, compress)
			go p.end(syscall.SIGTERM) // ends as the call below does
			if code := closed(t, c); code != websocket.CloseGoingAway {
				t.Errorf("closed with %d", code)
			}
			p.end(syscall.SIGTERM)
		})
	}
}

func TestEchoReadLimit(t *testing.T) {
	p := start(t, "echo", "127.0.0.1:0", "-read-limit=100")
	c := dialEcho(t, p, false)
	for _, n := range []int{100, 101} {
		if err := c.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("x", n))); err != nil {
			t.Fatal(err)
		}
	}
	if _, data, err := c.ReadMessage(); err != nil || len(data) != 100 {
		t.Errorf("%d bytes: %v", len(data), err)
	}
	if code := closed(t, c); code != websocket.CloseMessageTooBig {
		t.Errorf("closed with %d", code)
	}
}

// TestPrograms starts the examples that test themselves, and ends them as a supervisor does.
func TestPrograms(t *testing.T) {
	for name, args := range map[string][]string{"auth": nil, "pipeline": {"-for=0"}, "graceful": {"-clients=5"}} {
		t.Run(name, func(t *testing.T) {
			start(t, name, "127.0.0.1:0", args...).end(syscall.SIGTERM)
		})
	}
}
