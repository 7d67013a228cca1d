package redisbus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wshub-go/wshub/cluster"
)

const (
	silence    = 3               // pings without an answer, then a connection is given up
	connecting = 3 * time.Second // for one attempt to connect, until the first answer
	steady     = 5 * time.Second // a connection that lasted as long was a good one
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// errMoved is why a link that is well looks for its server again.
var errMoved = errors.New("the slot is on another server")

// link is the connection that hears a lane, made again whenever it is lost. It has two goroutines while it is connected: the
// reader, which also makes the connection, and the writer.
//
// It drives go-redis's PubSub by hand. Its Channel drops messages after a minute of a full buffer and hides that the
// connection is another one; its own way to reconnect subscribes to everything in one command, before anybody reads.
type link struct {
	bus      *Bus
	front    string // of the names of the lane's channels
	interest interest
	wake     chan struct{} // has room for one: the writer has something to do
	tried    chan struct{} // closed after the first attempt to connect
	trying   sync.Once     // closes tried

	node atomic.Pointer[redis.Client]            // of the server, to publish; nil while that cannot be reached
	lose atomic.Pointer[context.CancelCauseFunc] // ends the connection there is
	up   bool                                    // as told; the writer's while there is one, else the reader's

	bad time.Time // when a connection was lost, or could not be made; the reader's
}

func newLink(b *Bus, front string) *link {
	return &link{
		bus: b, front: front,
		interest: interest{subjects: make(map[string]*subject)},
		wake:     make(chan struct{}, 1),
		tried:    make(chan struct{}),
	}
}

// run is the reader. It ends with the bus.
func (l *link) run() {
	defer l.bus.running.Done()
	for n := 0; ; n++ {
		if l.session() > steady {
			n = 0
		}
		select {
		case <-time.After(pause(n)):
		case <-l.bus.ctx.Done():
			return
		}
	}
}

// pause returns how long to wait before the next attempt, after n that did not lead far: a random time, so that the nodes of
// a cluster do not come back all at once.
func pause(n int) time.Duration {
	most := min(firstPause<<min(n, 10), lastPause)
	return most/2 + rand.N(most/2)
}

// session makes the connection and hears it until it is lost. It returns how long it was there.
func (l *link) session() time.Duration {
	ctx, lose := context.WithCancelCause(l.bus.ctx)
	defer lose(nil)
	dial := &once{}
	stop := context.AfterFunc(ctx, dial.close)
	defer stop()
	defer dial.close()

	ps, err := l.connect(ctx, dial)
	if ps != nil {
		defer ps.Close()
	}
	if err != nil {
		l.failed(fmt.Errorf("connect: %w", err))
		l.trying.Do(func() { close(l.tried) })
		return 0
	}
	began := time.Now()
	l.interest.connected()
	l.lose.Store(&lose)
	l.trying.Do(func() { close(l.tried) })
	ctx = context.WithValue(ctx, onceKey{}, dial)
	written := make(chan error, 1)
	go func() { // owner: session
		err := l.write(ctx, ps)
		lose(err)
		written <- err
	}()
	err = l.read(ctx, ps)
	lose(err)
	l.lost(primary(context.Cause(ctx), err, <-written))
	return time.Since(began)
}

// primary returns the first error that is not the echo of another: when one goroutine finds out that the connection is lost,
// the other one is told only that it is closed.
func primary(first error, others ...error) error {
	for _, err := range append([]error{first}, others...) {
		if err != nil && !errors.Is(err, errDialed) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return first
}

// connect makes the connection and waits for a first answer. The PubSub is the caller's to close.
func (l *link) connect(ctx context.Context, dial *once) (*redis.PubSub, error) {
	ctx, cancel := context.WithTimeout(ctx, connecting)
	defer cancel()
	node, err := l.bus.source.server(ctx, l.front, l.bus.sharded)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, onceKey{}, dial)
	ps := node.Subscribe(ctx)
	if err := ps.Ping(ctx); err != nil {
		return ps, err
	}
	answer, err := ps.ReceiveTimeout(ctx, connecting)
	if err != nil {
		return ps, err
	}
	if _, ok := answer.(*redis.Pong); !ok {
		return ps, fmt.Errorf("a ping was answered %v", answer)
	}
	if !dial.listen(silence * l.bus.ping) {
		return ps, errors.New("the client's NewClient does not use the dialer that it is given")
	}
	l.bus.source.renew(node, l.bad, false)
	l.node.Store(node)
	l.bus.prune()
	return ps, nil
}

// failed takes note that there cannot be a connection now.
func (l *link) failed(cause error) {
	if l.bus.ctx.Err() != nil {
		return
	}
	l.bad = time.Now()
	l.bus.source.moved(l.bus.ctx)
	l.node.Store(nil)
	l.down(cause, true)
}

// lost takes note that the connection is.
func (l *link) lost(cause error) {
	if l.bus.ctx.Err() != nil {
		return
	}
	l.bad = time.Now()
	refused := false
	_, moved := redis.IsMovedError(cause)
	switch refusal := redis.Error(nil); {
	case moved || errors.Is(cause, errMoved):
		l.bus.source.moved(l.bus.ctx)
		l.node.Store(nil)
	case timeout(cause):
		l.bus.source.renew(l.node.Swap(nil), l.bad, true)
	case errors.As(cause, &refusal):
		refused = true // those who wait have to know: it will be so again
	}
	l.down(cause, refused)
}

// down ends those calls that are not to wait for the next connection, and tells.
func (l *link) down(cause error, away bool) {
	err := fmt.Errorf("%w: %w", cluster.ErrDown, cause)
	endAll(l.interest.lost(nil), nil)
	if away {
		endAll(l.interest.lost(err), err)
	}
	l.bus.status.link(l.up, false, err)
	l.up = false
}

// read hears the connection until that fails.
func (l *link) read(ctx context.Context, ps *redis.PubSub) error {
	for {
		heard, err := ps.Receive(ctx)
		if timeout(err) {
			return fmt.Errorf("nothing heard for %v: %w", silence*l.bus.ping, err)
		}
		if err != nil {
			return err
		}
		switch heard := heard.(type) {
		case *redis.Message:
			if subject, ok := strings.CutPrefix(heard.Channel, l.front); ok {
				l.bus.deliver(cluster.Message{Subject: subject, Data: []byte(heard.Payload)})
			}
		case *redis.Subscription:
			ended, more, known := l.interest.confirmed(strings.TrimPrefix(heard.Channel, l.front))
			if !known {
				return errMoved
			}
			endAll(ended, nil)
			if more {
				signal(l.wake)
			}
		}
	}
}

// write sends commands for what is wanted, and pings, until the connection is lost. It returns why it could not write.
func (l *link) write(ctx context.Context, ps *redis.PubSub) error {
	subscribe, unsubscribe := ps.Subscribe, ps.Unsubscribe
	if l.bus.sharded {
		subscribe, unsubscribe = ps.SSubscribe, ps.SUnsubscribe
	}
	ticker := time.NewTicker(l.bus.ping)
	defer ticker.Stop()
	for {
		for {
			names, wanted := l.interest.next()
			if len(names) == 0 {
				break
			}
			if l.front != "" {
				for i, name := range names {
					names[i] = l.front + name
				}
			}
			command := unsubscribe
			if wanted {
				command = subscribe
			}
			if err := command(ctx, names...); err != nil {
				return err
			}
		}
		if !l.up && l.interest.whole() {
			l.bus.status.link(false, true, nil)
			l.up = true
		}
		select {
		case <-l.wake:
		case <-ticker.C:
			if err := ps.Ping(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// server returns the client of the server to publish on. Until it is known whether there is one it waits.
func (l *link) server(ctx context.Context) (*redis.Client, error) {
	if node := l.node.Load(); node != nil {
		return node, nil
	}
	select {
	case <-l.tried:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if node := l.node.Load(); node != nil {
		return node, nil
	}
	if err := l.interest.gone(); err != nil {
		return nil, err
	}
	return nil, cluster.ErrDown
}

// leave has the link look for its server again.
func (l *link) leave(cause error) {
	if lose := l.lose.Load(); lose != nil {
		(*lose)(cause)
	}
}

func timeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
