package wshub_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Over TLS frames leave through a buffer: a client that closes still gets its close frame back, and one that is closed
// gets all that was sent before.
func TestPitfall53CloseOverTLS(t *testing.T) {
	h := newHub(t)
	server := httptest.NewTLSServer(h.Handler(func(ctx context.Context, s *wshub.Session) error {
		if msg, ok := <-s.Messages(); ok {
			for range 100 {
				if err := s.Send(ctx, msg); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	defer server.Close()
	dial := func(t *testing.T) *tls.Conn {
		conn, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		upgradeRaw(t, conn)
		return conn
	}
	for range 30 {
		conn := dial(t)
		if _, err := conn.Write(wshubtest.Frame(true, wshubtest.OpClose, []byte{3, 232})); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); !bytes.Equal(got, []byte{0x88, 2, 3, 232}) {
			t.Fatalf("the client closed and got %x, %v", got, err)
		}
	}
	text := bytes.Repeat([]byte("x"), 1000)
	conn := dial(t)
	if _, err := conn.Write(wshubtest.Frame(true, wshubtest.OpText, text)); err != nil {
		t.Fatal(err)
	}
	want := append(bytes.Repeat(append([]byte{0x81, 126, 3, 232}, text...), 100), 0x88, 2, 3, 232)
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes, want %d; %v", n, len(want), err)
	}
}
