package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
)

// count returns 0, 1, 2 and so on, n of them.
func count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func TestChan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []int
		for v := range wshub.Chan(t.Context(), count(3)) {
			got = append(got, v)
		}
		if !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("got %v", got)
		}

		ctx, cancel := context.WithCancel(t.Context())
		ch := wshub.Chan(ctx, count(1<<30))
		<-ch
		synctest.Wait() // it waits with the next
		cancel()
		synctest.Wait()
		if v, ok := <-ch; ok {
			t.Errorf("%d after ctx had ended", v)
		}
		// The bubble fails if the goroutine is left.
	})
}

func TestMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := wshub.Chan(t.Context(), count(100))
		b := wshub.Chan(t.Context(), wshub.Map(count(100), func(i int) int { return 1000 + i }))
		var of [2][]int
		for v := range wshub.Merge(t.Context(), a, b, filled[int]()) {
			of[v/1000] = append(of[v/1000], v%1000)
		}
		want := slices.Collect(count(100))
		if !slices.Equal(of[0], want) || !slices.Equal(of[1], want) {
			t.Errorf("got %v", of)
		}
		if _, ok := <-wshub.Merge[int](t.Context()); ok {
			t.Error("a value out of nothing")
		}
	})
}

// Whether they wait to receive or to send, ctx ends them.
func TestMergeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		full := make(chan int, 1)
		full <- 1
		out := wshub.Merge(ctx, make(chan int), full, nil)
		synctest.Wait()
		cancel()
		synctest.Wait()
		if v, ok := <-out; ok {
			t.Errorf("%d after ctx had ended", v)
		}
	})
}

func TestForEachRunsSoManyAtOnce(t *testing.T) {
	for _, workers := range []int{1, 3, 100} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var now, most, sum atomic.Int64
				start := time.Now()
				err := wshub.ForEach(t.Context(), count(12), workers, func(_ context.Context, i int) error {
					n := now.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					time.Sleep(time.Second)
					now.Add(-1)
					sum.Add(int64(i))
					return nil
				})
				want := int64(min(workers, 12))
				if err != nil || most.Load() != want || sum.Load() != 66 {
					t.Errorf("%v, %d at once, sum %d", err, most.Load(), sum.Load())
				}
				if took := time.Since(start); took != 12/time.Duration(want)*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestForEachEndsWithTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad")
		var calls, cancelled atomic.Int64
		asked := 0
		seq := wshub.Map(count(1000), func(i int) int { asked++; return i })
		err := wshub.ForEach(t.Context(), seq, 4, func(ctx context.Context, i int) error {
			calls.Add(1)
			if i == 9 {
				time.Sleep(time.Second) // by now the others are at it
				return bad
			}
			if i > 5 {
				<-ctx.Done()
				cancelled.Add(1)
			}
			return nil
		})
		// The eleventh value waited for a worker, the next one was too late.
		if err != bad || calls.Load() != 10 || cancelled.Load() != 3 || asked > 12 {
			t.Errorf("%v after %d calls for %d values, %d saw the context end", err, calls.Load(), asked, cancelled.Load())
		}
	})
}

func TestForEachEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		in := make(chan int)
		go func() {
			in <- 1
			cancel(why)
		}()
		n := 0
		err := wshub.ForEach(ctx, wshub.From(ctx, in), 1, func(context.Context, int) error { n++; return nil })
		if err != why || n > 1 {
			t.Errorf("%v after %d", err, n)
		}
	})
}

// A panic of a worker is the caller's, who may recover it; the others have ended by then.
func TestForEachPassesAPanicOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad")
		began, ended := make(chan struct{}), false
		defer func() {
			err, _ := recover().(error)
			if !errors.Is(err, bad) || !strings.Contains(err.Error(), "chans_test.go") {
				t.Errorf("recovered %v", err)
			}
			if !ended {
				t.Error("before the other worker has ended")
			}
		}()
		wshub.ForEach(t.Context(), count(2), 2, func(ctx context.Context, i int) error {
			if i == 0 {
				close(began)
				<-ctx.Done()
				time.Sleep(time.Second)
				ended = true
				return nil
			}
			<-began
			panic(bad)
		})
	})
}

// A sequence that panics leaves no worker behind.
func TestForEachWaitsWhenItsSequencePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, ended := make(chan struct{}), false
		defer func() {
			if p := recover(); p != "seq" || !ended {
				t.Errorf("recovered %v, the worker has ended: %v", p, ended)
			}
		}()
		seq := func(yield func(int) bool) {
			yield(1)
			<-began
			panic("seq")
		}
		wshub.ForEach(t.Context(), seq, 1, func(ctx context.Context, _ int) error {
			close(began)
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
			return nil
		})
	})
}

// Once ctx has ended nothing more is sent, although somebody receives.
func TestChanSendsNothingAfterItsContext(t *testing.T) {
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out := wshub.Chan(ctx, func(yield func(int) bool) {
			runtime.Gosched() // to the receiver
			cancel()
			if yield(1) {
				t.Error("goes on")
			}
		})
		if v, ok := <-out; ok {
			t.Fatalf("got %d", v)
		}
	}
}
