package wshub

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/queue"
)

// Stream is a topic inside the process, or what [Apply] made of a channel: a channel of values under a policy. The
// policy acts on values for which the reader has no time: the one it is offered next waits, the rest is bounded,
// conflated or dropped. A reader that is too slow for Evict or Block has its stream closed with [ErrSlow].
//
// No goroutine runs for a stream whose reader is waiting, Apply's own apart. The values are shared: what they point to
// must not change. The methods may be called by any goroutine.
type Stream[T any] struct {
	core *streamCore
	ch   chan T
}

// C returns the channel. It is closed when the stream ends, never by the reader; Err tells why.
func (s *Stream[T]) C() <-chan T { return s.ch }

// Err returns nil while the stream is open, after [Stream.Close], and when the input of [Apply] has closed; else why it
// ended: ctx's cause, [ErrSlow], [ErrClosed], [ErrPanic] for its filter's, what Apply says, or what was wrong with its
// policy.
func (s *Stream[T]) Err() error {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	return s.core.err
}

// Lag returns how many values are pending for the reader.
func (s *Stream[T]) Lag() uint64 { return s.Stats().Pending }

// Stats returns the stream's account.
func (s *Stream[T]) Stats() Tally {
	if s.core.member == nil {
		return Tally{}
	}
	return tally(s.core.member.Tally())
}

// Close ends the stream; what is pending counts as undelivered. It does not wait, and may be called more than once.
func (s *Stream[T]) Close() { s.core.end(nil) }

// streamCore is a stream without T: the owner of its subscriber.
type streamCore struct {
	hub    *Hub // whom it tells; nil for a stream of Apply
	sub    *fanout.Subscriber
	member *fanout.Member // immutable once the stream was returned; nil if it never opened
	vacate func()         // called once, when it has left the topic
	unhook func() bool    // stops watching the context
	gone   chan struct{}  // closed first when the stream ends
	shut   func()         // closes the channel

	mu      sync.Mutex
	err     error // guarded by mu
	ended   bool  // guarded by mu
	opened  bool  // guarded by mu
	putting bool  // a drain goroutine is at the channel; guarded by mu
	left    bool  // detached, so nobody else is at the channel; guarded by mu
}

// feed is the channel as the engine's visits see it.
type feed[T any] struct {
	core *streamCore
	ch   chan T
}

// TryPut offers the value to a reader that waits. The owner of the write bit calls it, never once the subscriber was
// detached.
func (f *feed[T]) TryPut(e *queue.Entry) bool {
	v := valueOf[T](e.Value)
	if v == nil { // its filter leaves it out
		return true
	}
	select {
	case f.ch <- *v:
		return true
	default:
		return false
	}
}

// Put waits for the reader, or for the stream's end.
func (f *feed[T]) Put(e *queue.Entry) bool {
	c := f.core
	if !c.enter() {
		return false
	}
	v := *valueOf[T](e.Value) // which TryPut has seen
	sent := false
	select {
	case f.ch <- v:
		sent = true
	case <-c.gone:
	}
	c.exit()
	return sent
}

// enter keeps the channel open until exit.
func (c *streamCore) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.putting = true
	return true
}

func (c *streamCore) exit() {
	c.mu.Lock()
	c.putting = false
	last := c.left
	c.mu.Unlock()
	if last {
		c.shut()
	}
}

// end marks the stream ended, detaches it from the topic, then closes the channel: whoever might send has gone by then.
func (c *streamCore) end(err error) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended = true
	c.err = err
	opened := c.opened
	c.mu.Unlock()
	close(c.gone)
	if opened {
		c.detach()
	}
}

func (c *streamCore) detach() {
	if c.unhook != nil {
		c.unhook()
	}
	if c.hub != nil {
		c.hub.reg.streams.remove(c)
	}
	c.sub.Detach()
	c.vacate()
	c.mu.Lock()
	c.left = true
	last := !c.putting
	c.mu.Unlock()
	if last {
		c.shut()
	}
}

// The hooks of its subscriber.

func (c *streamCore) Slow(t *fanout.Topic) {
	if c.hub == nil {
		c.end(fmt.Errorf("apply: %w", ErrSlow))
		return
	}
	name := topicName(t)
	c.hub.emit(Event{Kind: EventEvicted, Topic: name})
	what := "events"
	if name != "" { // everyone's has no streams
		what = strconv.Quote(name)
	}
	c.end(fmt.Errorf("stream of %s: %w", what, ErrSlow))
}

// Failed is called when a filter panicked, which only streams of a hub have, or when the reader is gone: end was
// called.
func (c *streamCore) Failed(err error) {
	var p *fanout.PanicError
	if !errors.As(err, &p) {
		return
	}
	c.hub.logFilter(nil, p)
	err = panicError(p.Value)
	c.hub.emit(Event{Kind: EventError, Cause: err})
	c.end(err)
}

// Flushed is called when all that Apply was given is decided.
func (c *streamCore) Flushed()   { c.end(nil) }
func (c *streamCore) CloseSent() {}

func (c *streamCore) Dropped(t *fanout.Topic, n uint64) {
	if c.hub != nil && t != c.hub.events {
		c.hub.emit(Event{Kind: EventDropped, Topic: topicName(t), N: n})
	}
}

// makeStream makes a stream that is in no topic yet. closed is called once its channel is.
func makeStream[T any](e *fanout.Engine, h *Hub, vacate, closed func()) *Stream[T] {
	ch := make(chan T)
	c := &streamCore{hub: h, vacate: vacate, gone: make(chan struct{})}
	c.shut = sync.OnceFunc(func() {
		close(ch)
		closed()
	})
	c.sub = e.NewFeed(&feed[T]{core: c, ch: ch}, c)
	return &Stream[T]{core: c, ch: ch}
}

// start has ctx end the stream, which has joined its topic; from here on end leaves nothing to others.
func (c *streamCore) start(ctx context.Context) {
	if ctx.Done() != nil {
		c.unhook = context.AfterFunc(ctx, func() { c.end(context.Cause(ctx)) })
	}
	c.mu.Lock()
	c.opened = true
	ended := c.ended
	c.mu.Unlock()
	if ended { // before it was open: what end left to do
		c.detach()
	}
}

// openStream makes a stream of what join makes its subscriber a member of. vacate is called once it has left.
func openStream[T any](ctx context.Context, h *Hub, join func(*fanout.Subscriber) (*fanout.Member, error), vacate func()) *Stream[T] {
	if !h.tasks.enter() { // Shutdown waits for those that have entered
		return brokenStream[T](ErrClosed)
	}
	s := makeStream[T](h.engine, h, vacate, h.tasks.leave)
	c := s.core
	for {
		m, err := join(c.sub)
		if errors.Is(err, fanout.ErrRetired) {
			continue // vanished before it was joined; the next call makes another
		}
		c.member = m
		break
	}
	late := !h.reg.streams.add(c) // the hub has ended all streams meanwhile
	c.start(ctx)
	if late {
		c.end(ErrClosed)
	}
	return s
}

// newStream is a stream of one of the hub's own topics under the hub's policy and p. What the hub publishes never
// waits: Block gives a reader up that has its fill, or the others would miss what it has no room for.
func newStream[T any](ctx context.Context, h *Hub, t *fanout.Topic, p Policy, where func(any) bool) *Stream[T] {
	effective := h.effective(p)
	err := effective.validate(policyScope{place: placeStream, given: p, maxPending: h.opts.limits.Pending})
	if err == nil {
		err = h.closedErr()
	}
	if err != nil {
		return brokenStream[T](err)
	}
	rule := newRule(effective, h.opts.limits)
	if rule.Overflow == fanout.Block {
		rule.Overflow = fanout.Evict
	}
	join := func(sub *fanout.Subscriber) (*fanout.Member, error) { return t.Join(sub, rule, where, 0) }
	return openStream[T](ctx, h, join, func() {})
}

// brokenStream returns a stream that has ended with err.
func brokenStream[T any](err error) *Stream[T] {
	s := &Stream[T]{core: &streamCore{err: err, ended: true}, ch: make(chan T)}
	close(s.ch)
	return s
}

// streamSet holds the open streams, so that the hub can end them.
type streamSet struct {
	mu     sync.Mutex
	open   map[*streamCore]struct{} // guarded by mu
	closed bool                     // guarded by mu
}

func (x *streamSet) add(c *streamCore) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false
	}
	if x.open == nil {
		x.open = make(map[*streamCore]struct{})
	}
	x.open[c] = struct{}{}
	return true
}

func (x *streamSet) remove(c *streamCore) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.open, c)
}

// closeStreams ends all streams with ErrClosed.
func (h *Hub) closeStreams() {
	x := &h.reg.streams
	x.mu.Lock()
	x.closed = true
	all := make([]*streamCore, 0, len(x.open))
	for c := range x.open {
		all = append(all, c)
	}
	x.mu.Unlock()
	for _, c := range all {
		c.end(ErrClosed)
	}
}
