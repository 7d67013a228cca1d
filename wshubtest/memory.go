package wshubtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wshub-go/wshub/internal/wire"
)

// ports numbers the clients in memory, so that each has an address of its own.
var ports atomic.Uint32

// dialMemory plays net/http's part between a client and h over a pipe.
func dialMemory(t testing.TB, h http.Handler, cfg *dialConfig) (*Client, *http.Response, error) {
	if cfg.buffer == 0 {
		cfg.buffer = 64 << 10
	} else if cfg.buffer < 0 {
		return nil, nil, errBuffer
	}
	req, err := cfg.request()
	if err != nil {
		return nil, nil, err
	}
	remote, err := cfg.remoteAddr(int(1024 + ports.Add(1)%60000))
	if err != nil {
		return nil, nil, err
	}
	near, far := wire.Pipe(cfg.buffer)
	server := &serverConn{MemConn: far, remote: remote}

	// The request is written out and read in again, so that the handler gets what a server would give it.
	var raw bytes.Buffer
	if err := req.Write(&raw); err != nil {
		return nil, nil, fmt.Errorf("write the request: %w", err)
	}
	in, err := http.ReadRequest(bufio.NewReader(&raw))
	if err != nil {
		return nil, nil, fmt.Errorf("read the request: %w", err)
	}
	in.RemoteAddr = remote.String()
	ctx, cancel := context.WithCancel(context.WithValue(cfg.ctx, http.LocalAddrContextKey, far.LocalAddr()))
	in = in.WithContext(ctx)

	served := make(chan struct{})
	go func() { // owned by this dial; ends when ServeHTTP returns, which cleanup waits for
		defer close(served)
		defer cancel()
		serve(t, h, &responseWriter{conn: server, early: cfg.early, header: http.Header{}}, in)
	}()
	t.Cleanup(func() { // the client's cleanup, registered later, has closed the connection
		cancel()
		near.Close()
		select {
		case <-served:
		case <-time.After(cfg.timeout):
			t.Errorf("wshubtest: ServeHTTP has not returned %v after its connection ended", cfg.timeout)
		}
	})
	return start(t, near, req, cfg)
}

// serve calls the handler as net/http does: a panic ends the connection, and an answer goes out when it returns.
func serve(t testing.TB, h http.Handler, w *responseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("wshubtest: the handler panicked: %v\n%s", p, debug.Stack())
			}
			if !w.hijacked {
				w.conn.Close()
			}
			return
		}
		w.finish(r)
	}()
	h.ServeHTTP(w, r)
}

// serverConn is the server's end of the pipe. It keeps the pipe's own methods and shows the client's address.
type serverConn struct {
	*wire.MemConn
	remote net.Addr
}

func (c *serverConn) RemoteAddr() net.Addr { return c.remote }

// responseWriter is the http.ResponseWriter of a handler in memory. As with net/http, it belongs to the handler's
// goroutine.
type responseWriter struct {
	conn     net.Conn
	early    []byte // what the client sent right behind its request
	header   http.Header
	sent     http.Header // the header when it was written
	status   int         // 0 until then
	body     bytes.Buffer
	hijacked bool
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	informational := status < 200 && status != http.StatusSwitchingProtocols
	if w.hijacked || w.status != 0 || informational {
		return
	}
	w.status, w.sent = status, w.header.Clone()
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Hijack hands over the connection, and with it the early bytes, as read but not yet consumed. A header written before
// goes out first, as with net/http.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.hijacked {
		return nil, nil, http.ErrHijacked
	}
	w.hijacked = true
	if w.status != 0 {
		var head bytes.Buffer
		fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", w.status, http.StatusText(w.status))
		w.sent.Write(&head)
		head.WriteString("\r\n")
		if _, err := w.conn.Write(head.Bytes()); err != nil {
			return nil, nil, fmt.Errorf("write the header: %w", err)
		}
	}
	br := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(w.early), w.conn), max(4096, len(w.early)))
	if len(w.early) > 0 {
		br.Peek(len(w.early)) // cannot fail: the bytes are there and fit
	}
	return w.conn, bufio.NewReadWriter(br, bufio.NewWriter(w.conn)), nil
}

// Flush does nothing: an answer that is no upgrade goes out when the handler returns.
func (w *responseWriter) Flush() {}

// SetReadDeadline serves [http.ResponseController].
func (w *responseWriter) SetReadDeadline(t time.Time) error { return w.conn.SetReadDeadline(t) }

// SetWriteDeadline serves [http.ResponseController].
func (w *responseWriter) SetWriteDeadline(t time.Time) error { return w.conn.SetWriteDeadline(t) }

// finish sends the answer of a handler that did not take the connection over, and closes it.
func (w *responseWriter) finish(r *http.Request) {
	if w.hijacked {
		return
	}
	w.WriteHeader(http.StatusOK)
	resp := &http.Response{
		StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Request: r, Close: true,
		Header: w.sent, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
	}
	w.sent.Set("Content-Length", strconv.Itoa(w.body.Len()))
	resp.Write(w.conn) // the client may have gone
	w.conn.Close()
}
