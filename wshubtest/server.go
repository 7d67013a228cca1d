package wshubtest

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TCPServer serves a handler on a real socket of 127.0.0.1. [Server] makes it.
type TCPServer struct {
	t      testing.TB
	srv    *http.Server
	ln     net.Listener
	log    *testLog
	served chan struct{} // closed when Serve has returned
	once   sync.Once
}

// Server starts a server for h that ends with the test. It does not run inside a synctest bubble: a real socket is no
// durable wait.
func Server(t testing.TB, h http.Handler) *TCPServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("wshubtest: listen: %v", err)
	}
	s := &TCPServer{t: t, ln: ln, log: &testLog{t: t}, served: make(chan struct{})}
	s.srv = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(s.log, "", 0)}
	go func() { // owned by the server; ends when Close closes the listener
		defer close(s.served)
		s.srv.Serve(ln)
	}()
	t.Cleanup(s.Close)
	return s
}

// URL is the server's address for WebSocket clients: ws://127.0.0.1:PORT, without a path.
func (s *TCPServer) URL() string { return "ws://" + s.Addr() }

// HTTPURL is the same address for HTTP clients.
func (s *TCPServer) HTTPURL() string { return "http://" + s.Addr() }

// Addr is the address that the server listens on.
func (s *TCPServer) Addr() string { return s.ln.Addr().String() }

// Close stops listening and closes the connections that were not upgraded. It may be called twice.
func (s *TCPServer) Close() {
	s.once.Do(func() {
		s.srv.Close()
		<-s.served
		s.log.close()
	})
}

// DialTCP connects a client over TCP and ends the test if the server does not upgrade.
func (s *TCPServer) DialTCP(opts ...DialOption) *Client {
	s.t.Helper()
	c, _, err := s.TryDialTCP(opts...)
	if err != nil {
		s.t.Fatalf("wshubtest: dial %s: %v", s.URL(), err)
	}
	return c
}

// TryDialTCP is DialTCP for a handler that may refuse; see [TryDial].
func (s *TCPServer) TryDialTCP(opts ...DialOption) (*Client, *http.Response, error) {
	s.t.Helper()
	cfg := newDialConfig(append([]DialOption{WithHeader("Host", s.Addr())}, opts...))
	switch {
	case cfg.remote != "":
		return nil, nil, errors.New("WithRemoteAddr works in memory only")
	case cfg.buffer < 0:
		return nil, nil, errBuffer
	}
	req, err := cfg.request()
	if err != nil {
		return nil, nil, err
	}
	d := net.Dialer{Timeout: cfg.timeout}
	conn, err := d.DialContext(cfg.ctx, "tcp", s.Addr())
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	if cfg.buffer > 0 {
		conn.(*net.TCPConn).SetReadBuffer(cfg.buffer)
	}
	var raw strings.Builder // one write, so that early bytes arrive with the request
	if err := req.Write(&raw); err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("write the request: %w", err)
	}
	raw.Write(cfg.early)
	conn.SetWriteDeadline(time.Now().Add(cfg.timeout))
	if _, err := conn.Write([]byte(raw.String())); err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("write the request: %w", err)
	}
	conn.SetWriteDeadline(time.Time{})
	return start(s.t, conn, req, cfg)
}

// testLog shows the server's complaints in the test's log while the test runs.
type testLog struct {
	mu     sync.Mutex
	t      testing.TB
	closed bool // guarded by mu
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.t.Logf("%s", strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

func (l *testLog) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
}
