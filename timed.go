package wshub

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// The functions here act on time: they look at a channel while they wait, in the goroutine that ranges. No goroutine is
// started and nothing runs once the loop is left. While the loop's body is busy nobody receives, so senders wait, or
// fill the channel's buffer; [Apply] is for those that must not.

// Batch returns the values of in in batches: of n values, or of those that came within d of the batch's first. No batch
// is empty, and each slice is the receiver's. With d of zero or less a batch is what is ready at once. When in closes
// the last batch is what has come; when ctx ends it is dropped. An n below 1 panics at the call.
func Batch[T any](ctx context.Context, in <-chan T, n int, d time.Duration) iter.Seq[[]T] {
	if n < 1 {
		panic(fmt.Sprintf("wshub: Batch of n = %d", n))
	}
	return func(yield func([]T) bool) {
		timer := stoppedTimer()
		defer timer.Stop()
		for open := true; open; {
			v, ok := receive(ctx, in)
			if !ok {
				return
			}
			batch := []T{v}
			if d > 0 {
				timer.Reset(d)
				batch, open = collect(ctx, in, batch, n, timer.C)
				timer.Stop()
			} else {
				batch, open = ready(in, batch, n)
			}
			if batch == nil || !yield(batch) {
				return
			}
		}
	}
}

// collect adds to the batch until it has n values or the time is over. It returns nil when ctx has ended.
func collect[T any](ctx context.Context, in <-chan T, batch []T, n int, over <-chan time.Time) (_ []T, open bool) {
	for len(batch) < n {
		select {
		case v, ok := <-in:
			if !ok {
				return batch, false
			}
			batch = append(batch, v)
		case <-over:
			return batch, true
		case <-ctx.Done():
			return nil, false
		}
	}
	return batch, true
}

// ready adds to the batch what there is.
func ready[T any](in <-chan T, batch []T, n int) (_ []T, open bool) {
	for len(batch) < n {
		select {
		case v, ok := <-in:
			if !ok {
				return batch, false
			}
			batch = append(batch, v)
		default:
			return batch, true
		}
	}
	return batch, true
}

// Debounce returns a value of in once none has followed it for d; all others are dropped. While values keep coming more
// often than that, none is returned. When in closes the value that waits comes at once; when ctx ends it is dropped.
// With d of zero or less it is [From].
func Debounce[T any](ctx context.Context, in <-chan T, d time.Duration) iter.Seq[T] {
	if d <= 0 {
		return From(ctx, in)
	}
	return func(yield func(T) bool) {
		timer := stoppedTimer()
		defer timer.Stop()
		for {
			v, ok := receive(ctx, in)
			if !ok {
				return
			}
			timer.Reset(d)
			for quiet := false; !quiet; {
				select {
				case x, ok := <-in:
					if !ok {
						yield(v)
						return
					}
					v = x
					timer.Reset(d)
				case <-timer.C:
					quiet = true
				case <-ctx.Done():
					return
				}
			}
			if !yield(v) {
				return
			}
		}
	}
}

// Throttle returns at most one value of in each d: the first at once, and of those that come within d of it the last,
// when d is over. Whenever values stop coming, the last of them is returned, also when in closes; d is kept then too.
// When ctx ends the value that waits is dropped. With d of zero or less it is [From].
//
// d counts from when a value is handed to the loop's body. After a body that took longer, the next value is the last of
// those that are ready.
func Throttle[T any](ctx context.Context, in <-chan T, d time.Duration) iter.Seq[T] {
	if d <= 0 {
		return From(ctx, in)
	}
	return func(yield func(T) bool) {
		timer := stoppedTimer()
		defer timer.Stop()
		for {
			v, ok := receive(ctx, in)
			if !ok {
				return
			}
			for waits := true; waits; { // until none has come within d of the one before
				timer.Reset(d)
				if !yield(v) {
					return
				}
				var open bool
				if v, waits, open = lastUntil(ctx, in, timer.C); open {
					continue
				}
				if waits {
					select {
					case <-timer.C:
						if ctx.Err() == nil { // nor while the body was busy
							yield(v)
						}
					case <-ctx.Done():
					}
				}
				return
			}
		}
	}
}

// lastUntil returns the last value that came until the time was over, if one did. When in closes or ctx ends it returns
// at once, with open false.
func lastUntil[T any](ctx context.Context, in <-chan T, over <-chan time.Time) (v T, found, open bool) {
	for {
		select {
		case x, ok := <-in:
			if !ok {
				return v, found, false
			}
			v, found = x, true
		case <-over:
			if ctx.Err() != nil { // while the body was busy
				return v, false, false
			}
			// Both may have been ready, with more behind the one that a select would have taken.
			v, more, open := newest(in, v)
			found = found || more
			return v, found, found || open // with a value to return, the next look finds in closed
		case <-ctx.Done():
			return v, false, false
		}
	}
}

// stoppedTimer returns a timer that waits for Reset.
func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
