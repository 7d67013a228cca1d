package wshub

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/wshubtest"
)

// handlerFunc accepts by hand.
func handlerFunc(f func(*Session, error), h *Hub) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(h.Accept(w, r)) })
}

// acceptOne returns a session over TCP whose client throws away what it reads and, unlike others, allocates nothing.
func acceptOne(t testing.TB, h *Hub) *Session {
	t.Helper()
	sessions := make(chan *Session, 1)
	srv := wshubtest.Server(t, handlerFunc(func(s *Session, err error) {
		if err != nil {
			t.Error(err)
		}
		sessions <- s
	}, h))
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, strings.ReplaceAll(`GET / HTTP/1.1
Host: example.com
Connection: Upgrade
Upgrade: websocket
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==

`, "\n", "\r\n"))
	s := <-sessions
	if s == nil {
		t.FailNow()
	}
	done := make(chan struct{})
	go func() { // ends with the connection
		defer close(done)
		io.Copy(io.Discard, bufio.NewReader(conn))
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}
