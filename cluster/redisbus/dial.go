package redisbus

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// once lets a link dial one connection: go-redis makes another one by itself when a connection ends, and subscribes to all
// channels again in one command, without telling. A link makes its own, so it lends its dialer for the first only.
type once struct {
	mu     sync.Mutex
	dialed bool   // guarded by mu
	closed bool   // guarded by mu
	conn   *heard // guarded by mu
}

type onceKey struct{}

var errDialed = errors.New("redisbus: the connection of a link is made once")

func (o *once) dial(ctx context.Context, network, addr string, dial dialFunc) (net.Conn, error) {
	o.mu.Lock()
	again := o.dialed || o.closed
	o.dialed = true
	o.mu.Unlock()
	if again {
		return nil, errDialed
	}
	made, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := &heard{Conn: made}
	o.mu.Lock()
	closed := o.closed
	o.conn = conn
	o.mu.Unlock()
	if closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	return conn, nil
}

// close closes the connection, now or when it is made. What reads and writes it returns.
func (o *once) close() {
	o.mu.Lock()
	conn, first := o.conn, !o.closed
	o.closed = true
	o.mu.Unlock()
	if conn != nil && first {
		conn.Close()
	}
}

// listen has the connection give up when it has heard nothing for so long. It reports whether there is one.
func (o *once) listen(limit time.Duration) bool {
	o.mu.Lock()
	conn := o.conn
	o.mu.Unlock()
	if conn == nil {
		return false
	}
	conn.limit.Store(int64(limit))
	return true
}

// heard is a connection of which each read has to bring something within a limit. go-redis has a deadline for a whole
// message: a large one over a slow line would look like silence, and a small one cost a deadline each.
type heard struct {
	net.Conn
	limit atomic.Int64 // a time.Duration; 0: what SetReadDeadline says
}

// Read reads, and fails with a timeout when nothing comes within the limit.
func (h *heard) Read(p []byte) (int, error) {
	if limit := h.limit.Load(); limit > 0 {
		if err := h.Conn.SetReadDeadline(time.Now().Add(time.Duration(limit))); err != nil {
			return 0, err
		}
	}
	return h.Conn.Read(p)
}

// SetReadDeadline sets a deadline while there is no limit.
func (h *heard) SetReadDeadline(t time.Time) error {
	if h.limit.Load() > 0 {
		return nil
	}
	return h.Conn.SetReadDeadline(t)
}

// lend makes a dialer one that a link can use once.
func lend(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if o, ok := ctx.Value(onceKey{}).(*once); ok {
			return o.dial(ctx, network, addr, dial)
		}
		return dial(ctx, network, addr)
	}
}
