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
func (s *suite) broken(t testing.TB) (restore func()) {
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
func (s *suite) down(t testing.TB) {
	a := s.peer(t)
	x := s.subject("x")
	a.subscribe(x)
	restore := s.broken(t)
	a.wait(cluster.StateDown)
	for range 3 {
		a.soon("a call while the bus is down", func() error {
			var errs []error
			if n, err := a.Publish(context.Background(), message(x, "1"), message(x, "2")); n != 0 || !errors.Is(err, cluster.ErrDown) {
				errs = append(errs, fmt.Errorf("publish: %d, %v, want 0 and ErrDown", n, err))
			}
			ctx, cancel := context.WithTimeout(context.Background(), s.Timeout/2)
			defer cancel()
			if err := a.Subscribe(ctx, s.subject("new")); err == nil || errors.Is(err, cluster.ErrClosed) {
				errs = append(errs, fmt.Errorf("subscribe: %v, want another error", err))
			}
			if err := a.Unsubscribe(ctx, x); errors.Is(err, cluster.ErrClosed) {
				errs = append(errs, fmt.Errorf("unsubscribe: %v", err))
			}
			if n, err := a.Publish(ctx, message("bad..subject", "1")); n != 0 || !errors.Is(err, cluster.ErrSubject) && !errors.Is(err, cluster.ErrDown) {
				errs = append(errs, fmt.Errorf("publish on a bad subject: %d, %v, want 0 and ErrSubject or ErrDown", n, err))
			}
			if err := a.Subscribe(ctx, "bad..subject"); !errors.Is(err, cluster.ErrSubject) {
				errs = append(errs, fmt.Errorf("subscribe to a bad subject: %v, want ErrSubject", err))
			}
			return errors.Join(errs...)
		})
	}
	restore()
	a.wait(cluster.StateUp)
	a.alive(s.peer(t))
}

// When the broker is back the bus is too, and listens to all that it should, also to what was asked for meanwhile.
func (s *suite) reconnect(t testing.TB) {
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
		for i := round; i < len(many); i += 50 {
			b.probe(a, many[i])
		}
		b.silent(a, fence, gone)
		a.wait(cluster.StateUp)
		b.subscribe(append(many, gone)...) // most of them are back by themselves; now all are
		for rest := many; len(rest) > 0; rest = rest[min(len(rest), s.window):] {
			b.all(a, rest[:min(len(rest), s.window)])
		}
		a.send(gone, "back")
		b.expect(gone, "back")
	}
}

// What is lost around the loss of the broker is lost: nothing comes twice, or late.
func (s *suite) orderAcross(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	x := s.subject("x")
	b.subscribe(x)
	var published, refused atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var failed error // of a call; read after done
	go func() {      // ends with ctx; the test waits for done
		defer close(done)
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil && failed == nil {
			<-pace.C
			n, err := a.Publish(ctx, message(x, fmt.Sprint(published.Add(1))))
			switch {
			case ctx.Err() != nil:
			case (err == nil) != (n == 1), err != nil && !errors.Is(err, cluster.ErrDown):
				failed = fmt.Errorf("publish of one message: %d, %w", n, err)
			case err != nil:
				refused.Add(1)
			}
		}
	}()
	defer func() {
		cancel()
		s.within(t, "Publish returns when its context ends", done)
		if failed != nil {
			t.Error(failed)
		}
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
		s.passes(t, "a message is refused while the bus is down", &refused)
		restore()
		a.wait(cluster.StateUp)
		b.wait(cluster.StateUp)
		readTo(published.Load() + 20)
	}
}

// passes waits until a counter has grown.
func (s *suite) passes(t testing.TB, what string, counter *atomic.Int64) {
	t.Helper()
	deadline := time.NewTimer(s.Timeout)
	defer deadline.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for old := counter.Load(); counter.Load() == old; {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("waited %v: %s", s.Timeout, what)
		}
	}
}

// Close does not wait for the broker, and wakes who does.
func (s *suite) closeDown(t testing.TB) {
	p := s.peer(t)
	p.subscribe(s.subject("x"))
	restore := s.broken(t)
	p.wait(cluster.StateDown)
	calls := make(chan error, 1)
	y := s.subject("y")
	go func() { // ends with Close; the test waits for it
		calls <- p.Subscribe(context.Background(), y)
	}()
	p.shut()
	p.soon("with Close, Subscribe", func() error {
		if <-calls == nil {
			return errors.New("subscribe while the bus is down: nil")
		}
		return nil
	})
	p.closed()
	restore()
	s.peer(t).alive(s.peer(t))
	p.closed()
}
