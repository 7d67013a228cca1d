package natsbus

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Limits of a link's buffer, in bytes. A publisher waits above high; a buffer that has grown beyond keep is not used
// again.
const (
	high = 1 << 20
	keep = 256 << 10
)

// link is one connection to the server, as nats.go has it, and what nats.go does not give: writing to it never waits, so
// that nats.go, which writes with its lock held, goes on with its pings, its answers and its Close while the network
// takes nothing; and everybody learns at once that it has ended. What is written waits in a buffer for the writer, one
// goroutine. The bound of the buffer is kept by those who publish, see room, not by failing: nats.go answers a failed
// write by dropping the bytes.
//
// It also makes one write(2) of the thousands of subscriptions that nats.go writes one by one after a reconnect.
type link struct {
	net.Conn
	life context.Context // ends with the link, its cause is why; has a deadline, far away, since nats.go asks for one
	end  context.CancelCauseFunc
	stop context.CancelFunc
	wake chan struct{} // of one: the writer has to look

	mu      sync.Mutex // guards what follows
	waiting []byte
	roomy   chan struct{} // not nil: somebody waits for room; closed when the writer has taken the buffer
}

func newLink(conn net.Conn) *link {
	life, end := context.WithCancelCause(context.Background())
	life, stop := context.WithDeadline(life, time.Now().AddDate(100, 0, 0))
	return &link{Conn: conn, life: life, end: end, stop: stop, wake: make(chan struct{}, 1)}
}

// fail ends the link, for the reason of the first call.
func (l *link) fail(why error) {
	l.end(why)
	l.stop()
	l.Conn.Close()
}

// why returns why the link has ended, nil while it has not.
func (l *link) why() error { return context.Cause(l.life) }

func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if err != nil {
		l.fail(err)
	}
	return n, err
}

// Write takes all of p, or nothing when the link has ended.
func (l *link) Write(p []byte) (int, error) {
	if err := l.why(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	l.waiting = append(l.waiting, p...)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return len(p), nil
}

// Close drops what waits: whoever needs to know that it has left has waited for the answer to a ping.
func (l *link) Close() error {
	l.fail(net.ErrClosed)
	return nil
}

// SetDeadline is of reading alone, as SetReadDeadline: writing does not wait.
func (l *link) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetWriteDeadline does nothing.
func (l *link) SetWriteDeadline(time.Time) error { return nil }

// write writes what waits, until the link ends.
func (l *link) write() {
	var out []byte
	for {
		select {
		case <-l.wake:
		case <-l.life.Done():
			return
		}
		l.mu.Lock()
		out, l.waiting = l.waiting, out[:0]
		roomy := l.roomy
		l.roomy = nil
		l.mu.Unlock()
		if roomy != nil {
			close(roomy)
		}
		if len(out) == 0 {
			continue
		}
		if _, err := l.Conn.Write(out); err != nil {
			l.fail(err)
			return
		}
		if cap(out) > keep {
			out = nil
		}
	}
}

// room waits until the buffer is below its bound, ctx ends, or the link does; why it has not waited to the end is the
// error.
func (l *link) room(ctx context.Context) error {
	for {
		if l.why() != nil {
			return errDead
		}
		l.mu.Lock()
		if len(l.waiting) < high {
			l.mu.Unlock()
			return nil
		}
		if l.roomy == nil {
			l.roomy = make(chan struct{})
		}
		roomy := l.roomy
		l.mu.Unlock()
		select {
		case <-roomy:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.life.Done():
		}
	}
}

// dialer has nats.go's connections made by the bus.
type dialer struct {
	bus    *Bus
	plain  net.Dialer
	custom nats.CustomDialer // the user's; nil: plain
}

// Dial is called by nats.go with its lock held, which is why Close ends it.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	var conn net.Conn
	var err error
	if d.custom != nil {
		conn, err = d.custom.Dial(network, address)
	} else {
		conn, err = d.plain.DialContext(d.bus.life, network, address)
	}
	return d.bus.attach(conn, err)
}

// SkipTLSHandshake is asked of a dialer by nats.go: the user's may bring a connection that is encrypted already.
func (d *dialer) SkipTLSHandshake() bool {
	s, ok := d.custom.(interface{ SkipTLSHandshake() bool })
	return ok && s.SkipTLSHandshake()
}

// inProcess is a server in this process, in place of a dialer.
type inProcess struct {
	bus  *Bus
	from nats.InProcessConnProvider
}

func (p inProcess) InProcessConn() (net.Conn, error) {
	return p.bus.attach(p.from.InProcessConn())
}

// attach makes a new connection the bus's. The one before has ended, though nats.go does not close one that failed in
// its handshake.
func (b *Bus) attach(conn net.Conn, err error) (net.Conn, error) {
	b.mu.Lock()
	old := b.link
	if err != nil {
		b.dialError = err
		b.mu.Unlock()
		return nil, err
	}
	if b.closing {
		b.mu.Unlock()
		conn.Close()
		return nil, net.ErrClosed
	}
	l := newLink(conn)
	b.link, b.serving = l, false
	b.running.Go(l.write) // owned by the link; ends with it
	b.mu.Unlock()
	if old != nil {
		old.fail(net.ErrClosed)
	}
	return l, nil
}
