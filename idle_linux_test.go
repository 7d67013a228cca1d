package wshub_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// An idle session in a topic costs at most so many bytes of heap and stack, before it has said anything and after 20
// messages each way. The kernel's buffers are not among them.
func TestMemoryOfIdleSession(t *testing.T) {
	if wshub.RaceEnabled {
		t.Skip("the race detector has memory and stack frames of its own")
	}
	for _, tt := range []struct {
		name        string
		idle, after int64
		goroutines  int
		serve       wshub.SessionFunc
	}{
		{"ranging over Messages", 12_500, 14_000, 2, func(ctx context.Context, s *wshub.Session) error {
			for m := range s.Messages() {
				if err := s.Send(ctx, m); err != nil {
					return err
				}
			}
			return nil
		}},
		{"Each", 9_000, 11_000, 1, wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
			return s.Send(ctx, m)
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const n = 1000
			idleSockets(t, 50, tt.serve)() // what is made once is made
			before, goroutines := memoryInUse(), runtime.NumGoroutine()

			talk := idleSockets(t, n, tt.serve)
			if got := (memoryInUse() - before) / n; got > tt.idle {
				t.Errorf("%d bytes, want at most %d", got, tt.idle)
			}
			if got := (runtime.NumGoroutine() - goroutines) / n; got != tt.goroutines {
				t.Errorf("%d goroutines, want %d", got, tt.goroutines)
			}
			talk()
			if got := (memoryInUse() - before) / n; got > tt.after {
				t.Errorf("%d bytes after 20 messages each way, want at most %d", got, tt.after)
			}
		})
	}
}

// idleSockets connects n clients to a hub of their own; all have joined a topic. The function that it returns sends 20
// messages from each and awaits their echoes. The clients are sockets and nothing else, for the sake of what is measured.
func idleSockets(t *testing.T, n int, serve wshub.SessionFunc) (talk func()) {
	t.Helper()
	h := newHub(t, wshub.WithKeepAlive(0, 0)) // no ping among the echoes
	topic := newTopic[[]byte](t, h, "topic", wshub.Policy{})
	joined := make(chan error)
	srv := wshubtest.Server(t, h.Handler(serve, func(next wshub.SessionFunc) wshub.SessionFunc {
		return func(ctx context.Context, s *wshub.Session) error {
			err := topic.Join(ctx, s)
			joined <- err
			if err != nil {
				return err
			}
			return next(ctx, s)
		}
	}))
	clients := make([]socket, 0, n)
	t.Cleanup(func() {
		for _, c := range clients {
			syscall.Close(int(c))
		}
	})
	for range n {
		clients = append(clients, dialSocket(t, srv.Addr()))
		if err := <-joined; err != nil {
			t.Fatal(err)
		}
	}
	const size = 128
	payload := strings.Repeat("x", size)
	mask := "\x01\x02\x03\x04"
	request, answer := []byte("\x81\xfe\x00\x80"+mask), []byte("\x81\x7e\x00\x80"+payload)
	for i := range size {
		request = append(request, payload[i]^mask[i%4])
	}
	return func() {
		t.Helper()
		got := make([]byte, len(answer))
		for range 20 {
			for _, c := range clients {
				if _, err := c.Write(request); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range clients {
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, answer) {
					t.Fatalf("%q, %v", got, err)
				}
			}
		}
	}
}

// memoryInUse returns the bytes of heap and stacks in use.
func memoryInUse() int64 {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // pools give up what they have in two
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// A socket is blocking, and the runtime knows nothing of it.
type socket int

func (fd socket) Write(b []byte) (int, error) { return syscall.Write(int(fd), b) }

func (fd socket) Read(b []byte) (int, error) {
	n, err := syscall.Read(int(fd), b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

// dialSocket returns a socket after the handshake, which the caller closes.
func dialSocket(t *testing.T, addr string) socket {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}); err != nil {
		t.Fatal(err)
	}
	c := socket(fd)
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: idle\r\n\r\n", addr)
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one...) {
		if _, err := io.ReadFull(c, one); err != nil {
			t.Fatalf("%v after %q", err, head)
		}
	}
	if !bytes.HasPrefix(head, []byte(fmt.Sprintf("HTTP/1.1 %d ", http.StatusSwitchingProtocols))) {
		t.Fatalf("%q", head)
	}
	return c
}
