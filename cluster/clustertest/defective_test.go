package clustertest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// runDefective runs one test of the suite over buses that something is wrong with, and returns how it failed.
func runDefective(t *testing.T, test func(*suite, testing.TB), faults cluster.Faults, breaks func(*defective)) []string {
	m := cluster.NewMemory(cluster.WithQueue(300), cluster.WithMaxPayload(100<<10), cluster.WithEcho())
	m.SetFaults(faults)
	over := make(chan struct{})
	var pumps sync.WaitGroup
	defer func() {
		close(over)
		m.Close()
		pumps.Wait()
	}()
	r := &recorder{TB: t}
	s := &suite{window: 256, token: "defects", Config: Config{
		New: func(testing.TB) cluster.Bus {
			d := &defective{MemoryBus: m.Bus(), over: over}
			breaks(d)
			if d.receive != nil {
				out := make(chan cluster.Message)
				d.channel = func() <-chan cluster.Message { return out }
				pumps.Go(func() { d.pump(out) })
			}
			if d.status != nil {
				out := make(chan cluster.Status, 1)
				d.states = func() <-chan cluster.Status { return out }
				pumps.Go(func() { d.pumpStates(out) })
			}
			return d
		},
		Break: func(testing.TB) { m.Down() }, Restore: func(testing.TB) { m.Up() },
		MaxPayload: 100 << 10, Queue: 300, Timeout: 300 * time.Millisecond,
	}}
	r.run(func() { test(s, r) })
	return r.failures
}

// defective is a bus of which some methods are replaced.
type defective struct {
	*cluster.MemoryBus
	over chan struct{} // closed after the test

	publish     func(context.Context, []cluster.Message) (int, error)
	subscribe   func(context.Context, []string) error
	unsubscribe func(context.Context, []string) error
	subject     func(string) string // what it makes of a subject
	receive     func(cluster.Message) []cluster.Message
	status      func(cluster.Status) cluster.Status
	channel     func() <-chan cluster.Message
	states      func() <-chan cluster.Status
	close       func() error
}

func (d *defective) Publish(ctx context.Context, m ...cluster.Message) (int, error) {
	if d.publish != nil {
		return d.publish(ctx, m)
	}
	if d.subject != nil {
		m = append([]cluster.Message(nil), m...)
		for i := range m {
			m[i].Subject = d.subject(m[i].Subject)
		}
	}
	return d.MemoryBus.Publish(ctx, m...)
}

func (d *defective) Subscribe(ctx context.Context, subjects ...string) error {
	if d.subscribe != nil {
		return d.subscribe(ctx, subjects)
	}
	if d.subject != nil {
		subjects = append([]string(nil), subjects...)
		for i := range subjects {
			subjects[i] = d.subject(subjects[i])
		}
	}
	return d.MemoryBus.Subscribe(ctx, subjects...)
}

func (d *defective) Unsubscribe(ctx context.Context, subjects ...string) error {
	if d.unsubscribe != nil {
		return d.unsubscribe(ctx, subjects)
	}
	return d.MemoryBus.Unsubscribe(ctx, subjects...)
}

func (d *defective) Receive() <-chan cluster.Message {
	if d.channel != nil {
		return d.channel()
	}
	return d.MemoryBus.Receive()
}

func (d *defective) Status() <-chan cluster.Status {
	if d.states != nil {
		return d.states()
	}
	return d.MemoryBus.Status()
}

func (d *defective) Close() error {
	if d.close != nil {
		return d.close()
	}
	return d.MemoryBus.Close()
}

// pump passes on what receive makes of each message.
func (d *defective) pump(out chan<- cluster.Message) {
	defer close(out)
	for m := range d.MemoryBus.Receive() {
		for _, m := range d.receive(m) {
			select {
			case out <- m:
			case <-d.over:
				return
			}
		}
	}
}

// pumpStates passes on what status makes of each state.
func (d *defective) pumpStates(out chan<- cluster.Status) {
	defer close(out)
	for st := range d.MemoryBus.Status() {
		select {
		case out <- d.status(st):
		case <-d.over:
			return
		}
	}
}

// recorder is a testing.TB whose failures are wanted.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	cleanups []func()
}

// run runs a test and its cleanups, each on a goroutine that Fatalf may end.
func (r *recorder) run(test func()) {
	for f := test; f != nil; {
		done := make(chan struct{})
		go func() { defer close(done); f() }()
		<-done
		f = nil
		if n := len(r.cleanups); n > 0 {
			f, r.cleanups = r.cleanups[n-1], r.cleanups[:n-1]
		}
	}
}

func (r *recorder) Helper() {}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

func (r *recorder) Error(args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprint(args...))
}

func (r *recorder) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }
