//go:build linux

package e2e

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wshub-go/wshub"
)

// BenchmarkEcho compares a hub whose sessions answer what they get with the least that the library below it can do: a
// goroutine for each connection that reads and writes. Clients are a few sockets of one thread, which is the same work for
// both; server-ns/op is what the process used beyond that thread.
func BenchmarkEcho(b *testing.B) {
	for _, bb := range []struct {
		name    string
		handler func(b *testing.B) http.Handler
	}{
		{"wshub Each", func(b *testing.B) http.Handler {
			return newEchoHub(b).Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
				return s.Send(ctx, m)
			}))
		}},
		{"wshub Messages", func(b *testing.B) http.Handler {
			return newEchoHub(b).Handler(func(ctx context.Context, s *wshub.Session) error {
				for m := range s.Messages() {
					if err := s.Send(ctx, m); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{"coder", func(b *testing.B) http.Handler { return http.HandlerFunc(bareEcho) }},
	} {
		b.Run(bb.name, func(b *testing.B) { benchmarkEcho(b, bb.handler(b)) })
	}
}

func newEchoHub(b *testing.B) *wshub.Hub {
	h, err := wshub.New(wshub.WithKeepAlive(0, 0)) // no ping among the answers
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.Close() })
	return h
}

// bareEcho is the library's echo example, without its rate limit and with contexts that cost nothing.
func bareEcho(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		typ, data, err := c.Read(context.Background())
		if err == nil {
			err = c.Write(context.Background(), typ, data)
		}
		if err != nil {
			return
		}
	}
}

func benchmarkEcho(b *testing.B, handler http.Handler) {
	const conns, size = 64, 128
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: handler}
	go srv.Serve(ln) // ends with Close
	defer srv.Close()
	payload := strings.Repeat("x", size)
	mask := "\x01\x02\x03\x04"
	request := []byte("\x81\xfe\x00\x80" + mask)
	for i := range size {
		request = append(request, payload[i]^mask[i%4])
	}
	answer := []byte("\x81\x7e\x00\x80" + payload)
	var fds [conns]socketFD
	for i := range fds {
		fds[i] = dialSocket(b, ln.Addr().(*net.TCPAddr))
		defer syscall.Close(int(fds[i]))
	}
	got := make([]byte, len(answer))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	before := cpuBeside(b)
	n := 0
	for b.Loop() {
		if n%conns == 0 {
			for _, fd := range fds {
				if _, err := fd.Write(request); err != nil {
					b.Fatal(err)
				}
			}
		}
		if _, err := io.ReadFull(fds[n%conns], got); err != nil || !bytes.Equal(got, answer) {
			b.Fatalf("%q, %v", got, err)
		}
		n++
	}
	b.ReportMetric(float64(cpuBeside(b)-before)/float64(n), "server-ns/op")
}

// cpuBeside returns the processor time of the process without that of this thread.
func cpuBeside(b *testing.B) time.Duration {
	var all, own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &all); err != nil {
		b.Fatal(err)
	}
	const rusageThread = 1
	if err := syscall.Getrusage(rusageThread, &own); err != nil {
		b.Fatal(err)
	}
	return time.Duration(all.Utime.Nano() + all.Stime.Nano() - own.Utime.Nano() - own.Stime.Nano())
}

// socketFD is a blocking socket that the runtime knows nothing of.
type socketFD int

func (fd socketFD) Write(b []byte) (int, error) { return syscall.Write(int(fd), b) }

func (fd socketFD) Read(b []byte) (int, error) {
	n, err := syscall.Read(int(fd), b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

// dialSocket returns a socket after the handshake.
func dialSocket(b *testing.B, addr *net.TCPAddr) socketFD {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}); err != nil {
		b.Fatal(err)
	}
	s := socketFD(fd)
	io.WriteString(s, "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one...) {
		if _, err := io.ReadFull(s, one); err != nil {
			b.Fatalf("%v after %q", err, head)
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		b.Fatalf("answer %q", head)
	}
	return s
}
