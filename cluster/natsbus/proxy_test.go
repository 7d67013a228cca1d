package natsbus

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
)

// proxy stands between a client and the server. While it is silent it takes whatever comes, connections and bytes, and
// passes on none: as a network that drops. A connection that was silent once stays so.
type proxy struct {
	net.Listener
	to     string
	silent atomic.Bool
	all    sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		p.Close()
		p.cut()
		p.all.Wait()
	})
	return p
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) url() string { return "nats://" + p.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		var mute atomic.Bool
		mute.Store(p.silent.Load())
		p.all.Go(func() { p.pass(out, in, &mute) })
		p.all.Go(func() { p.pass(in, out, &mute) })
	}
}

func (p *proxy) pass(to, from net.Conn, mute *atomic.Bool) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if p.silent.Load() {
			mute.Store(true)
		}
		if mute.Load() {
			if errors.Is(err, io.EOF) {
				return
			}
		} else if _, werr := to.Write(buf[:n]); werr != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// A network that drops without a word is noticed, nothing waits for it longer than its context, and it heals.
func TestPitfall31NetworkThatDrops(t *testing.T) {
	t.Parallel()
	s := embedded(t, nil)
	p := newProxy(t, s.Addr().String())
	a, b := connect(t, p.url()), connect(t, s.ClientURL())
	awaitState(t, a, cluster.StateUp)
	subscribe(t, a, "x")
	publish(t, b, "x", "1")
	expect(t, a, "x", "1")

	p.silent.Store(true)
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := a.Publish(ctx, cluster.Message{Subject: "y"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Publish: %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := a.Subscribe(ctx, "y"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Subscribe: %v", err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("the calls obeyed their contexts after %v", d)
	}
	if s := awaitState(t, a, cluster.StateDown); !errors.Is(s.Err, nats.ErrStaleConnection) {
		t.Errorf("told: %+v", s)
	}
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("noticed only after %v", d)
	}

	// The client now tries to connect, and each time waits 2 s for the server's first words, with its lock held.
	publish(t, b, "x", "lost")
	for began := time.Now(); time.Since(began) < 5*time.Second; {
		call := time.Now()
		if _, err := a.Publish(within(t), cluster.Message{Subject: "y"}); !errors.Is(err, cluster.ErrDown) {
			t.Fatalf("Publish: %v", err)
		}
		if err := a.Subscribe(within(t), "z", "unwanted"); !errors.Is(err, cluster.ErrDown) {
			t.Fatalf("Subscribe: %v", err)
		}
		if err := a.Unsubscribe(within(t), "unwanted"); err != nil {
			t.Fatalf("Unsubscribe: %v", err)
		}
		if d := time.Since(call); d > 500*time.Millisecond {
			t.Fatalf("three calls took %v while the bus was down", d)
		}
		time.Sleep(20 * time.Millisecond)
	}

	p.silent.Store(false)
	began = time.Now()
	awaitState(t, a, cluster.StateUp)
	t.Logf("up after %v", time.Since(began))
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("up only after %v", d)
	}
	publish(t, b, "unwanted", "nobody hears it")
	for _, subject := range []string{"x", "y", "z"} {
		publish(t, b, subject, subject)
		expect(t, a, subject, subject)
	}
}

// Close does not wait for a server that says nothing, in a handshake or later.
func TestCloseDoesNotWait(t *testing.T) {
	t.Parallel()
	s := embedded(t, nil)
	p := newProxy(t, s.Addr().String())
	up := connect(t, p.url())
	awaitState(t, up, cluster.StateUp)
	p.silent.Store(true)
	reads := make(reader, 10)
	down := connect(t, p.url(), NATS(nats.SetCustomDialer(reads), nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0)))
	awaitState(t, down, cluster.StateDown)
	for range 2 { // the second attempt waits for the first words now
		<-reads
	}
	for _, b := range []*Bus{up, down} {
		waiting := make(chan error)
		go func() {
			_, err := b.Publish(context.Background(), cluster.Message{Subject: "x"})
			waiting <- err
		}()
		if b == down {
			<-waiting
		}
		began := time.Now()
		b.Close()
		if d := time.Since(began); d > 500*time.Millisecond {
			t.Errorf("Close took %v", d)
		}
		if b == up {
			if err := <-waiting; !errors.Is(err, cluster.ErrClosed) {
				t.Errorf("Publish: %v", err)
			}
		}
	}
}

// reader is a dialer that tells when its connections are read.
type reader chan struct{}

type readConn struct {
	net.Conn
	reader
}

func (r reader) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return readConn{c, r}, err
}

func (c readConn) Read(p []byte) (int, error) {
	c.reader <- struct{}{}
	return c.Conn.Read(p)
}
