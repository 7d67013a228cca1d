package wshub

import (
	"context"
	"fmt"

	"github.com/wshub-go/wshub/internal/fanout"
)

// View is a topic as one kind of subscriber sees it: with a policy over the topic's and a filter. It is an immutable
// value, made by [Topic.With] and [Topic.Where]; an invalid policy is reported by the call that would use it.
type View[T any] struct {
	st    *topicState
	p     Policy
	where func(any) bool
}

// With returns the view with p's parts over its own policy.
func (v View[T]) With(p Policy) View[T] {
	v.p = v.p.With(p)
	return v
}

// Where returns the view with one more filter: a value must be admitted by all of them. See [Topic.Where].
func (v View[T]) Where(f func(T) bool) View[T] {
	if f == nil {
		return v
	}
	before := v.where
	v.where = func(x any) bool {
		if before != nil && !before(x) {
			return false
		}
		t := valueOf[T](x)
		return t != nil && f(*t)
	}
	return v
}

// resolve returns the rule of the view and its replay.
func (v View[T]) resolve(place policyPlace) (*fanout.Rule, int, error) {
	if v.st == nil {
		return nil, 0, ErrClosed
	}
	d := v.st.def
	if v.p == (Policy{}) {
		return d.rule, 0, nil
	}
	p := d.policy.With(v.p)
	limits := v.st.hub.opts.limits
	err := p.validate(policyScope{place: place, given: v.p, binary: d.binary, maxPending: limits.Pending})
	if err != nil {
		return nil, 0, err
	}
	return newRule(p, limits), p.replay, nil
}

// Join is [Topic.Join] under the view's policy and filter. An invalid policy is [ErrPolicy].
func (v View[T]) Join(ctx context.Context, s *Session) error {
	rule, replay, err := v.resolve(placeSubscription)
	if err == nil && v.where != nil {
		err = v.st.mustDecode("a filter")
	}
	if err == nil {
		err = v.st.join(ctx, s, rule, v.where, replay)
	}
	if err != nil {
		return fmt.Errorf("join %q: %w", v.name(), err)
	}
	return nil
}

// Update gives s's membership the view's policy and filter instead of those it has, from the next value on: nothing is
// lost or repeated, and no event tells. A [Replay] in it means nothing. A session that is no member is [ErrNotMember],
// an invalid policy [ErrPolicy]. It does not wait.
func (v View[T]) Update(_ context.Context, s *Session) error {
	rule, _, err := v.resolve(placeSubscription)
	if err == nil && v.where != nil {
		err = v.st.mustDecode("a filter")
	}
	if err == nil {
		if m := v.st.member(s); m == nil || m.Update(rule, v.where) != nil {
			err = ErrNotMember
		}
	}
	if err != nil {
		return fmt.Errorf("update %q: %w", v.name(), err)
	}
	return nil
}

// Stream is [Topic.Stream] under the view's policy and filter.
func (v View[T]) Stream(ctx context.Context) <-chan T { return v.Subscribe(ctx).C() }

// Subscribe is [Topic.Subscribe] under the view's policy and filter. With an invalid policy, or on a closed hub, the
// stream is closed from the start and its Err tells.
func (v View[T]) Subscribe(ctx context.Context) *Stream[T] {
	rule, replay, err := v.resolve(placeStream)
	if err == nil {
		err = v.st.hub.closedErr()
	}
	if err == nil {
		err = v.st.mustDecode("a stream")
	}
	if err != nil {
		return brokenStream[T](fmt.Errorf("subscribe %q: %w", v.name(), err))
	}
	where := v.where
	if where == nil && v.st.far != nil {
		where = decodes[T]
	}
	v.st.await(ctx)
	join := func(sub *fanout.Subscriber) (*fanout.Member, error) {
		return v.st.open().Join(sub, rule, where, replay)
	}
	s := openStream[T](ctx, v.st.hub, join, v.st.vacate)
	if s.core.member == nil { // the hub was closed since
		v.st.vacate()
	}
	return s
}

// mustDecode returns an error if values of other nodes have to be decoded for what is named and cannot be.
func (st *topicState) mustDecode(what string) error {
	if st.far != nil && st.def.decode == nil {
		return fmt.Errorf("%w: %s of a topic in a cluster needs that", ErrNoDecode, what)
	}
	return nil
}

func (v View[T]) name() string {
	if v.st == nil {
		return ""
	}
	return v.st.name
}
