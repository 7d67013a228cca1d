package wshub

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/queue"
)

// Apply returns the values of in under a policy, as a [Topic.Subscribe] with that policy would: in is received from as
// fast as it sends, and the policy says what becomes of the values for which the reader has no time. [Coalesce] keeps
// the latest of each key ([KeyBy] among the options) or of all, [DropOldest] and [DropNewest] a number of them, [Rate]
// and [FlushEvery] hold back, [Evict] ends the stream with [ErrSlow], and [Block] makes in wait. What is not set is as
// in the defaults: Evict(1024, 250ms) and 1 MiB; [Limits.Pending] and [Limits.Keys] have their defaults too. Stats is
// the exact account.
//
// When in closes, what is pending is delivered, as the policy paces it; then the stream's channel closes and Err is
// nil. When ctx ends, or at [Stream.Close], it closes at once; one value may have been received and not offered. A
// goroutine of the stream receives from in and ends with it, with ctx, or with the stream: whoever stops reading early
// calls Close or ends ctx.
//
// With parts that mean nothing here, [PackText], [History] and [Replay], or an option but KeyBy, the stream is closed
// from the start, its Err says why ([ErrPolicy] for parts), and nothing is received. A key that is refused ([ErrKey],
// [ErrTooManyKeys]) or a key function that panics ([ErrPanic]) ends the stream. Values are handed on as they are, not
// copied.
func Apply[T any](ctx context.Context, in <-chan T, p Policy, opts ...TopicOption[T]) *Stream[T] {
	d, rule, err := applied(p, opts)
	if err != nil {
		return brokenStream[T](fmt.Errorf("apply: %w", err))
	}
	limits := Limits{}.withDefaults()
	engine := fanout.New(fanout.Config{Workers: 1}) // for one member
	topic := engine.NewTopic(fanout.TopicConfig{MaxPending: limits.Pending, MaxBytes: limits.PendingBytes, MaxKeys: limits.Keys})
	open, leave := context.WithCancel(ctx)
	s := makeStream[T](engine, nil, leave, func() {})
	c := s.core
	if c.member, err = topic.Join(c.sub, rule, nil, 0); err != nil {
		panic("wshub: join of a new topic: " + err.Error())
	}
	c.start(ctx)
	go func() { // owner: the stream; ends with in, ctx or the stream
		for {
			v, ok := receive(open, in)
			var err error
			if ok {
				err = d.offer(open, topic, &v)
			}
			switch {
			case open.Err() != nil: // the stream has ended, or ctx is about to end it
				return
			case err != nil:
				c.end(fmt.Errorf("apply: %w", err))
				return
			case !ok:
				c.sub.Conclude()
				return
			}
		}
	}()
	return s
}

// applied checks what Apply was given.
func applied[T any](p Policy, opts []TopicOption[T]) (*definition, *fanout.Rule, error) {
	limits := Limits{}.withDefaults()
	effective := defaultPolicy().With(p)
	if err := effective.validate(policyScope{place: placeApply, given: p, maxPending: limits.Pending}); err != nil {
		return nil, nil, err
	}
	d := &definition{typ: reflect.TypeFor[T](), given: p, policy: effective, size: sizerOf[T]()}
	for _, o := range opts {
		if o.apply == nil {
			continue
		}
		if err := o.apply(d); err != nil {
			return nil, nil, err
		}
		if d.encode != nil {
			return nil, nil, errors.New("nothing is encoded: of the options only KeyBy means something")
		}
	}
	return d, newRule(effective, limits), nil
}

// offer publishes v, a *T, to a topic without sockets.
func (d *definition) offer(ctx context.Context, t *fanout.Topic, v any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(&workerPanic{p, debug.Stack()})
		}
	}()
	e := &queue.Entry{Value: v, Size: d.size(v)}
	if d.key != nil {
		e.Key = d.key(v)
	}
	return publishError(ctx, t.Publish(ctx, e))
}
