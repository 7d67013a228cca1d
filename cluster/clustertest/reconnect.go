package clustertest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// broken takes the broker away until the function that it returns is called, or the test ends.
func (s *suite) broken(t *testing.T) (restore func()) {
	t.Helper()
	down := true
	restore = func() {
		if down {
			down = false
			s.Restore(t)
		}
	}
	s.Break(t)
	t.Cleanup(restore)
	return restore
}

// While the broker is away the bus says so, and calls fail soon instead of waiting for it.
func (s *suite) down(t *testing.T) {
	a := s.peer(t)
	x := s.subject("x")
	a.subscribe(x)
	restore := s.broken(t)
	a.wait(cluster.StateDown)
	for range 3 {
		a.soon("a call while the bus is down", func() {
			if n, err := a.Publish(context.Background(), message(x, "1"), message(x, "2")); n != 0 || !errors.Is(err, cluster.ErrDown) {
				t.Errorf("publish: %d, %v, want 0 and ErrDown", n, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), s.Timeout/2)
			defer cancel()
			if err := a.Subscribe(ctx, s.subject("new")); err == nil || errors.Is(err, cluster.ErrClosed) {
				t.Errorf("subscribe: %v, want another error", err)
			}
			if err := a.Unsubscribe(ctx, x); errors.Is(err, cluster.ErrClosed) {
				t.Errorf("unsubscribe: %v", err)
			}
			if n, err := a.Publish(ctx, message("bad..subject", "1")); n != 0 || !errors.Is(err, cluster.ErrSubject) && !errors.Is(err, cluster.ErrDown) {
				t.Errorf("publish on a bad subject: %d, %v", n, err)
			}
			if err := a.Subscribe(ctx, "bad..subject"); !errors.Is(err, cluster.ErrSubject) {
				t.Errorf("subscribe to a bad subject: %v, want ErrSubject", err)
			}
		})
	}
	restore()
	a.wait(cluster.StateUp)
	a.alive(s.peer(t))
}

// When the broker is back the bus is too, and listens to all that it should, also to what was asked for meanwhile.
func (s *suite) reconnect(t *testing.T) {
	a, b := s.peer(t), s.peer(t)
	old, gone, fence := s.subject("old"), s.subject("gone"), s.subject("fence")
	var many []string
	for i := range 1000 {
		many = append(many, s.subject(fmt.Sprint("many.", i)))
	}
	b.subscribe(append(many, old, gone, fence)...)
	for round := range 3 {
		late := s.subject(fmt.Sprint("late", round))
		restore := s.broken(t)
		b.wait(cluster.StateDown)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if err := b.Subscribe(ctx, late); err == nil {
			t.Error("subscribe while the bus is down: nil")
		}
		b.Unsubscribe(ctx, gone)
		cancel()
		restore()
		b.wait(cluster.StateUp)
		for _, subject := range []string{old, late, many[0], many[len(many)-1], fence} {
			for _, m := range b.probe(a, subject) {
				t.Fatalf("round %d: received %s while only %s was published", round, show(m), subject)
			}
		}
		for _, subject := range many { // that were subscribed in one go, and have come back with the fence or soon after
			b.probe(a, subject)
		}
		b.silent(a, fence, gone)
		b.subscribe(gone)
		b.subscribe(many...) // has them already
		a.wait(cluster.StateUp)
		b.alive(a)
		a.send(gone, "back")
		b.expect(gone, "back")
	}
}

// What is lost around the loss of the broker is lost: nothing comes twice, or late.
func (s *suite) orderAcross(t *testing.T) {
	a, b := s.peer(t), s.peer(t)
	x := s.subject("x")
	b.subscribe(x)
	var published atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with ctx; the test waits for done
		defer close(done)
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			<-pace.C
			m := message(x, fmt.Sprint(published.Add(1)))
			n, err := a.Publish(ctx, m)
			if (err == nil) != (n == 1) || err != nil && !errors.Is(err, cluster.ErrDown) && ctx.Err() == nil {
				t.Errorf("publish of one message: %d, %v", n, err)
			}
		}
	}()
	defer func() {
		cancel()
		s.within(t, "Publish returns when its context ends", done)
	}()
	last := int64(0)
	readTo := func(end int64) {
		for last < end {
			m := b.next()
			n, err := strconv.ParseInt(string(m.Data), 10, 64)
			if err != nil || m.Subject != x || n <= last {
				t.Fatalf("received %s after %d", show(m), last)
			}
			last = n
		}
	}
	readTo(20)
	for range 2 {
		restore := s.broken(t)
		a.wait(cluster.StateDown)
		b.wait(cluster.StateDown)
		restore()
		a.wait(cluster.StateUp)
		b.wait(cluster.StateUp)
		readTo(published.Load() + 20)
	}
}

// Close does not wait for the broker, and wakes who does.
func (s *suite) closeDown(t *testing.T) {
	p := s.peer(t)
	p.subscribe(s.subject("x"))
	restore := s.broken(t)
	p.wait(cluster.StateDown)
	calls := make(chan struct{})
	go func() { // ends with Close; the test waits for it
		defer close(calls)
		for _, y := range []string{s.subject("y"), s.subject("z")} {
			if err := p.Subscribe(context.Background(), y); err == nil {
				t.Error("subscribe while the bus is down: nil")
			}
		}
	}()
	p.shut()
	s.within(t, "calls return with Close", calls)
	p.closed()
	restore()
	s.peer(t).alive(s.peer(t))
	p.closed()
}
