package wshub

import (
	"context"
	"iter"
)

// Map returns the values of seq as f makes them. f is called in the goroutine that ranges, once a value. A nil seq or f
// panics at the call.
func Map[A, B any](seq iter.Seq[A], f func(A) B) iter.Seq[B] {
	mustHave("Map", seq != nil && f != nil)
	return func(yield func(B) bool) {
		for a := range seq {
			if !yield(f(a)) {
				return
			}
		}
	}
}

// Filter returns those values of seq that keep admits. keep is called in the goroutine that ranges, once a value. A nil
// seq or keep panics at the call.
func Filter[T any](seq iter.Seq[T], keep func(T) bool) iter.Seq[T] {
	mustHave("Filter", seq != nil && keep != nil)
	return func(yield func(T) bool) {
		for v := range seq {
			if keep(v) && !yield(v) {
				return
			}
		}
	}
}

// Decode returns the messages of seq decoded into values of T, as [Message.Decode] does it. Each has a T of its own,
// which the receiver may keep. bad is asked about each message that cannot be decoded, with the error, which matches
// [ErrDecode] when it is the message's fault; it says whether to go on with the next. A nil seq or bad panics at the
// call.
//
//	moves := wshub.Decode[Move](wshub.From(ctx, s.Messages()), func(m wshub.Message, err error) bool { ... })
func Decode[T any](seq iter.Seq[Message], bad func(Message, error) bool) iter.Seq[T] {
	mustHave("Decode", seq != nil && bad != nil)
	return func(yield func(T) bool) {
		for m := range seq {
			var v T
			if err := m.Decode(&v); err != nil {
				if !bad(m, err) {
					return
				}
				continue
			}
			if !yield(v) {
				return
			}
		}
	}
}

// From returns the values of ch until it closes or ctx ends; once ctx has ended no more is taken. It runs in the
// goroutine that ranges and takes a value only when it is wanted, so break leaves the rest in ch. Ranging again goes on
// where the last left off.
func From[T any](ctx context.Context, ch <-chan T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for {
			v, ok := receive(ctx, ch)
			if !ok || !yield(v) {
				return
			}
		}
	}
}

// Latest returns of the values that are ready in in only the newest, each time one is asked for; when none is it waits.
// A consumer that takes its time so skips what is old by then. The last value always comes. It runs in the goroutine
// that ranges, and ends when in closes or ctx ends.
//
// Ready is what is in in's buffer, and what senders wait with. The channel of a [Stream] has no buffer: there
// [Coalesce] or [DropOldest] does the same before the channel.
func Latest[T any](ctx context.Context, in <-chan T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for {
			v, ok := receive(ctx, in)
			if !ok {
				return
			}
			v, _, open := newest(in, v)
			if !yield(v) || !open {
				return
			}
		}
	}
}

// receive takes the next value, unless in is closed or ctx has ended.
func receive[T any](ctx context.Context, in <-chan T) (v T, ok bool) {
	if ctx.Err() != nil { // of a select with both ready either may be taken
		return v, false
	}
	select {
	case v, ok = <-in:
		return v, ok
	case <-ctx.Done():
		return v, false
	}
}

// maxPassed bounds how many values newest passes over beyond the buffer, so that a sender that never pauses cannot keep
// it.
const maxPassed = 1024

// newest returns the last of the values that are ready in in, or old when none is; open is false when in has closed.
func newest[T any](in <-chan T, old T) (v T, found, open bool) {
	v = old
	for range len(in) + maxPassed {
		select {
		case x, ok := <-in:
			if !ok {
				return v, found, false
			}
			v, found = x, true
		default:
			return v, found, true
		}
	}
	return v, found, true
}

// mustHave panics unless the named function was given all that it cannot do without: where it is called, not where it
// ranges.
func mustHave(name string, ok bool) {
	if !ok {
		panic("wshub: " + name + " of nil")
	}
}
