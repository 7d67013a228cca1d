package redisbus

import (
	"context"
	"errors"
	"net"
	"sync"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// once lets a link dial one connection: go-redis makes another one by itself when a connection ends, and subscribes to all
// channels again in one command, without telling. A link makes its own, so it lends its dialer for the first only.
type once struct {
	mu     sync.Mutex
	dialed bool     // guarded by mu
	closed bool     // guarded by mu
	conn   net.Conn // guarded by mu
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
	conn, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
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

// lend makes a dialer one that a link can use once.
func lend(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if o, ok := ctx.Value(onceKey{}).(*once); ok {
			return o.dial(ctx, network, addr, dial)
		}
		return dial(ctx, network, addr)
	}
}
