package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// A call whose context has ended says so. It publishes nothing, subscribes nevertheless, and hurts nobody.
func (s *suite) context(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	x, y := s.subject("x"), s.subject("y")
	b.subscribe(x)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if n, err := a.Publish(ended, message(x, "never"), message(x, "never")); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("publish with a context that has ended: %d, %v, want 0 and context.Canceled", n, err)
	}
	if err := b.Subscribe(ended, y); !errors.Is(err, context.Canceled) {
		t.Errorf("subscribe with a context that has ended: %v, want context.Canceled", err)
	}
	b.probe(a, y)
	if err := b.Unsubscribe(ended, s.subject("z")); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("unsubscribe with a context that has ended: %v, want context.Canceled or nothing", err)
	}
	a.send(x, "1")
	b.expect(x, "1")
	// One that ends while calls are on their way.
	for i := range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { // ends when ctx has; the test waits for it
			defer close(done)
			for ctx.Err() == nil {
				a.Publish(ctx, message(s.subject("nobody"), "?"))
				a.Subscribe(ctx, s.subject("some"))
				a.Unsubscribe(ctx, s.subject("some"))
			}
		}()
		a.send(x, fmt.Sprint("during ", i))
		b.expect(x, fmt.Sprint("during ", i))
		cancel()
		s.within(t, "calls return when their context ends", done)
	}
	a.alive(b)
}

// The channels are always the same.
func (s *suite) channels(t testing.TB) {
	p := s.peer(t)
	receive, status := p.Receive(), p.Status()
	if receive == nil || status == nil {
		t.Fatal("a channel is nil")
	}
	same := func(when string) {
		t.Helper()
		if p.Receive() != receive || p.Status() != status {
			t.Errorf("%s, Receive or Status returns another channel", when)
		}
	}
	same("at once")
	p.subscribe(s.subject("x"))
	same("after Subscribe")
	p.shut()
	same("after Close")
}

// Close ends the channels, and all calls; a second one returns as the first did.
func (s *suite) close(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	x := s.subject("x")
	b.subscribe(x)
	a.send(x, "1", "2")
	b.expect(x, "1")

	reads := make(chan struct{})
	go func() { // ends with Receive; the test waits for it
		defer close(reads)
		for range b.Receive() {
		}
	}()
	var first, second error
	b.soon("Close", func() error {
		first = b.Close()
		return nil
	})
	s.within(t, "Receive is closed", reads)
	b.soon("a second Close", func() error {
		second = b.Close()
		return nil
	})
	if fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("the first Close: %v, the second: %v", first, second)
	}

	var last cluster.Status
	b.soon("Status is closed: a reader of it", func() error {
		for st := range b.Status() {
			last = st
		}
		return nil
	})
	if last.State != cluster.StateClosed {
		t.Errorf("the last state is %v, want closed", last.State)
	}
	b.closed()
	a.send(x, "nobody listens")
	a.alive(s.peer(t))
}

// closed wants all calls to return ErrClosed.
func (p *peer) closed() {
	p.t.Helper()
	x := p.s.subject("x")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, ctx := range []context.Context{context.Background(), ended} {
		p.soon("a call after Close", func() error {
			var errs []error
			if n, err := p.Publish(ctx, message(x, "1")); n != 0 || !errors.Is(err, cluster.ErrClosed) {
				errs = append(errs, fmt.Errorf("publish after Close: %d, %v, want 0 and ErrClosed", n, err))
			}
			if err := p.Subscribe(ctx, x); !errors.Is(err, cluster.ErrClosed) {
				errs = append(errs, fmt.Errorf("subscribe after Close: %v, want ErrClosed", err))
			}
			if err := p.Unsubscribe(ctx, x); !errors.Is(err, cluster.ErrClosed) {
				errs = append(errs, fmt.Errorf("unsubscribe after Close: %v, want ErrClosed", err))
			}
			return errors.Join(errs...)
		})
	}
}

// Close may come while anything else goes on, and several times at once.
func (s *suite) concurrentClose(t testing.TB) {
	for round := range 10 {
		s.closeAmid(t, round)
	}
}

func (s *suite) closeAmid(t testing.TB, round int) {
	a, b := s.peer(t), s.peer(t)
	var calls, readers, others sync.WaitGroup // all end when b is closed
	failed := make(chan error, 1)             // the first failure of a call
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	loop := func(number uint64, do func(subject func() string) error) {
		chance := rand.New(rand.NewPCG(uint64(round), number))
		subject := func() string { return s.subject(fmt.Sprint(chance.IntN(20))) }
		calls.Go(func() {
			err := do(subject)
			for ; err == nil; err = do(subject) {
			}
			if !errors.Is(err, cluster.ErrClosed) {
				fail(fmt.Errorf("a call before Close: %w", err))
			}
		})
	}
	for i := range uint64(2) {
		loop(10+i, func(subject func() string) error {
			_, err := b.try(message(subject(), "1"), message(subject(), "2"))
			return err
		})
		loop(20+i, func(subject func() string) error {
			ctx, cancel := b.ctx()
			defer cancel()
			return b.Subscribe(ctx, subject(), subject())
		})
		loop(30+i, func(subject func() string) error {
			ctx, cancel := b.ctx()
			defer cancel()
			return b.Unsubscribe(ctx, subject())
		})
		readers.Go(func() {
			for range b.Receive() {
			}
		})
	}
	readers.Go(func() {
		for range b.Status() {
		}
	})
	stop, cancel := context.WithCancel(context.Background())
	defer cancel()
	others.Go(func() { // another bus publishes to it meanwhile
		for i := 0; stop.Err() == nil; i++ {
			if _, err := a.try(message(s.subject(fmt.Sprint(i%20)), "1")); err != nil && stop.Err() == nil {
				fail(fmt.Errorf("another bus publishes meanwhile: %w", err))
				return
			}
		}
	})
	for range round {
		a.send(s.subject("x"), "so that time passes")
	}
	for range 3 {
		calls.Go(func() { b.Close() })
	}
	b.shut()
	all := func(g *sync.WaitGroup) func() error {
		return func() error {
			g.Wait()
			return nil
		}
	}
	b.soon("with Close each call", all(&calls))
	b.soon("with Close each reader", all(&readers))
	cancel()
	b.soon("the call of another bus", all(&others))
	b.closed()
	select {
	case err := <-failed:
		t.Error(err)
	default:
	}
}

// A reader that does not read loses messages, and is told how many. Others lose none, the publisher does not wait, and
// when it reads again it hears what comes.
func (s *suite) slow(t testing.TB) {
	if s.Queue == 0 {
		t.Skip("Config has no Queue")
	}
	from, quick, slow := s.peer(t), s.peer(t), s.peer(t)
	x := s.subject("x")
	quick.subscribe(x)
	slow.subscribe(x)
	sent := 0
	for sent < 2*s.Queue+1000 {
		var batch []cluster.Message
		for _, text := range texts(sent, s.window) {
			batch = append(batch, message(x, text))
		}
		from.publish(batch...)
		for _, m := range batch {
			quick.expectMessage(m)
		}
		sent += len(batch)
	}
	// Now it reads: some of the old, in order, and then the new.
	heard, last := uint64(0), -1
	deadline := time.NewTimer(s.Timeout)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for last < sent-1 || heard+slow.lost != uint64(sent) {
		select {
		case m := <-slow.Receive():
			var n int
			if _, err := fmt.Sscan(string(m.Data), &n); err != nil || n <= last || m.Subject != x {
				t.Fatalf("received %s after %d", show(m), last)
			}
			heard, last = heard+1, n
		case st := <-slow.Status():
			if st.State != cluster.StateUp {
				t.Fatalf("a slow reader's bus is %v: %v", st.State, st.Err)
			}
			slow.lost += st.Lost
		case <-again.C:
			if last < sent-1 { // perhaps the last one was lost too
				from.send(x, fmt.Sprint(sent))
				quick.expect(x, fmt.Sprint(sent))
				sent++
			}
		case <-deadline.C:
			t.Fatalf("waited %v: of %d messages a slow reader has received %d, the last is %d, and was told that %d are lost", s.Timeout, sent, heard, last, slow.lost)
		}
	}
	if slow.lost == 0 {
		t.Errorf("a reader that did not read has received all %d messages: Config.Queue is not how many a bus keeps", sent)
	}
}
