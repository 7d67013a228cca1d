package wshub

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Chan returns a channel of seq's values, for a select or another goroutine. A goroutine of its own ranges over seq,
// sends and closes the channel; it ends when seq does or, at the next value, when ctx has ended, and what it was about
// to send is dropped. It cannot interrupt seq: one that waits should know the same ctx, as [From] and the others here
// do. Whoever stops receiving early must end ctx.
//
// A panic in seq is one of that goroutine, where nobody can recover it. A nil seq panics at the call.
func Chan[T any](ctx context.Context, seq iter.Seq[T]) <-chan T {
	mustHave("Chan", seq != nil)
	out := make(chan T)
	go func() { // owner: Chan; ends with seq or ctx
		defer close(out)
		for v := range seq {
			if !send(ctx, out, v) {
				return
			}
		}
	}()
	return out
}

// Merge returns a channel of the values of all ins, those of each in their order. It has a goroutine for each of them;
// the last to end closes the channel: when all ins are closed, or when ctx has ended, and then what was about to be
// sent is dropped. Whoever stops receiving early must end ctx. Without ins the channel is closed.
func Merge[T any](ctx context.Context, ins ...<-chan T) <-chan T {
	out := make(chan T)
	if len(ins) == 0 {
		close(out)
		return out
	}
	var open atomic.Int64
	open.Store(int64(len(ins)))
	for _, in := range ins {
		go func() { // owner: Merge; ends with in or ctx
			defer func() {
				if open.Add(-1) == 0 {
					close(out)
				}
			}()
			for {
				v, ok := receive(ctx, in)
				if !ok || !send(ctx, out, v) {
					return
				}
			}
		}()
	}
	return out
}

// send hands v over, unless ctx has ended.
func send[T any](ctx context.Context, out chan<- T, v T) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case out <- v:
		return true
	case <-ctx.Done():
		return false
	}
}

// ForEach calls fn for each value of seq, in up to the given number of goroutines at once, and returns when all of them
// have returned. seq is ranged over in the caller's goroutine, one value ahead of the workers at most.
//
// The first error ends it: the ctx that fn gets is cancelled, no more calls are made, and the error is returned once
// seq has come to its next value or its end. When ctx has ended by the time all is done the error is ctx's cause, since
// some values may not have been seen. A panic in fn is raised again by ForEach, with the stack of fn in its text, so
// that it is the caller's: in a SessionFunc it closes the session. A nil seq or fn, and workers below 1, panic at the
// call.
func ForEach[T any](ctx context.Context, seq iter.Seq[T], workers int, fn func(context.Context, T) error) error {
	mustHave("ForEach", seq != nil && fn != nil)
	if workers < 1 {
		panic(fmt.Sprintf("wshub: ForEach with %d workers", workers))
	}
	seen, cancel := context.WithCancel(ctx)
	g, running := errgroup.WithContext(seen)
	g.SetLimit(workers)
	defer func() { // also when seq panics
		cancel()
		g.Wait()
	}()
	var panicked atomic.Pointer[workerPanic]
	for v := range seq {
		if running.Err() != nil {
			break
		}
		g.Go(func() (err error) { // owner: ForEach, which waits; ends with fn
			defer func() {
				if p := recover(); p != nil {
					w := &workerPanic{p, debug.Stack()}
					panicked.CompareAndSwap(nil, w)
					err = w
				}
			}()
			if running.Err() != nil { // while it waited for a worker
				return nil
			}
			return fn(running, v)
		})
	}
	err := g.Wait()
	if w := panicked.Load(); w != nil {
		panic(w)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// workerPanic is what a panic of one goroutine is to another: its value, and where it was.
type workerPanic struct {
	value any
	stack []byte
}

func (p *workerPanic) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

func (p *workerPanic) Unwrap() error {
	err, _ := p.value.(error)
	return err
}
