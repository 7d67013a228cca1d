package redisbus

import (
	"net"
	"sync"
	"testing"
)

// proxy passes connections on to a server. It can be told to drop: what comes is read and thrown away, in both directions,
// new connections are accepted, and nobody is told.
type proxy struct {
	l      net.Listener
	target string
	wait   sync.WaitGroup

	mu       sync.Mutex
	dropping bool
	conns    map[net.Conn]struct{}
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, target: target, conns: make(map[net.Conn]struct{})}
	p.wait.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wait.Wait()
	})
	return p
}

func (p *proxy) url() string { return "redis://" + p.l.Addr().String() }

// drop begins to drop, or ends. What was connected before it ends stays dead.
func (p *proxy) drop(dropping bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropping = dropping
}

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		dead := new(bool)
		*dead = p.dropping
		p.mu.Unlock()
		p.wait.Go(func() { p.pass(in, out, dead) })
		p.wait.Go(func() { p.pass(out, in, dead) })
	}
}

// pass copies from one to the other until one of them ends. A connection that has lost something stays dead.
func (p *proxy) pass(from, to net.Conn, dead *bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		*dead = *dead || p.dropping && n > 0
		drop := *dead
		p.mu.Unlock()
		if err == nil && !drop {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			from.Close()
			to.Close()
			return
		}
	}
}
