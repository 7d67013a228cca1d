package wshub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/queue"
)

// Topic is a named stream of values of type T that sessions join and programs range over. It is a small immutable
// value; copies are the same topic, and so is whatever [NewTopic] or [Family.Topic] returns for the name. A topic that
// nobody is in and that keeps no history costs nothing; a Topic outlives that state and revives it.
//
// The zero Topic is of no hub: its calls fail with [ErrClosed], or find nobody.
//
// In a cluster, see [WithBus], topics of one name on all its nodes are one: what is published on one node is offered to
// the members and streams of all, those of one publisher in their order. The nodes have to agree about T and the
// options, which nobody checks: a value that does not fit is left out and counted, see [BusStats]. Policies hold on
// the node where the subscriber is, and accounts are of this node's. What the bus has lost is told by an [EventGap].
//
// To give one membership or stream a policy or a filter of its own, start with [Topic.With] or [Topic.Where]; to choose
// who gets a value, with [Topic.Except] or [Topic.Only].
type Topic[T any] struct {
	st *topicState
}

// TopicOption is a knob of a topic that depends on its type: [KeyBy], [WithCodec], [AsEvent].
type TopicOption[T any] struct {
	apply func(*definition) error
}

// KeyBy gives each value a key: [Coalesce] then keeps the latest of each key, and so does [History] with it. key is
// called by Publish and must be quick, pure, and make no calls into the hub; K's values must be comparable to
// themselves, so no NaN.
//
// In a cluster the keys of integers and booleans, and strings of up to 15 bytes, travel with their values. For other
// keys each node that wants a value decodes it and calls key, which costs it that, and with [WithCodec] needs a
// [DecodingCodec].
func KeyBy[T any, K comparable](key func(T) K) TopicOption[T] {
	return TopicOption[T]{func(d *definition) error {
		if key == nil {
			return errors.New("KeyBy(nil)")
		}
		d.key = func(v any) any { return key(*v.(*T)) }
		d.keyOut, d.keyIn = keyWire[K]()
		return nil
	}}
}

// WithCodec encodes the topic's values with c instead of the default, see [Codec]. When c is a [DeliveryCodec] it is
// told where each value stands.
func WithCodec[T any](c Codec[T]) TopicOption[T] {
	return TopicOption[T]{func(d *definition) error {
		if c == nil {
			return errors.New("WithCodec(nil)")
		}
		d.encode, d.binary, d.codec = encodeWith(c), false, true
		d.decode, d.kind = nil, 0
		if dc, ok := c.(DecodingCodec[T]); ok {
			d.decode = decodeWith(dc)
		}
		if dc, ok := c.(DeliveryCodec[T]); ok {
			d.encode, d.turns = encodeDelivery(dc), true
		}
		return d.checkEncoding()
	}}
}

// AsEvent sends the topic's values in the envelope of a [Mux]'s protocol, as text, with the topic's full name and the
// value as encoding/json marshals it:
//
//	{"event":"chat","topic":"room/go","data":{"text":"hi"}}
//
// A [Message] must be text that is JSON, and is the data as it stands; Publish fails otherwise, with [ErrKind] or the
// error of encoding/json. The event must be UTF-8, not empty, and not "error". AsEvent conflicts with [WithCodec].
func AsEvent[T any](event string) TopicOption[T] {
	return TopicOption[T]{func(d *definition) error {
		if err := checkEvent(event); err != nil {
			return fmt.Errorf("AsEvent: %w", err)
		}
		d.encode, d.binary, d.event = encodeEvent, false, event
		d.decode, d.kind = decodeEvent[T](), KindText
		return d.checkEncoding()
	}}
}

// checkEncoding refuses two ways to encode.
func (d *definition) checkEncoding() error {
	if d.codec && d.event != "" {
		return fmt.Errorf("AsEvent(%q) conflicts with WithCodec: give one of them", d.event)
	}
	return nil
}

// NewTopic returns the topic of the given name, which is made when there is none. The policy's parts go over the
// hub's ([WithPolicy]), whose go over the defaults; the zero Policy inherits all. A name that is in use with another T
// or another policy is [ErrTopicConflict], whose text names both; of two calls that agree, the options of the first
// hold. Other errors match [ErrName], [ErrPolicy] or [ErrClosed], and in a cluster [ErrNoDecode], see [KeyBy].
func NewTopic[T any](h *Hub, name string, p Policy, opts ...TopicOption[T]) (Topic[T], error) {
	def, err := define(h, p, opts)
	if err == nil {
		err = validateName(name)
	}
	if err != nil {
		return Topic[T]{}, fmt.Errorf("topic %q: %w", clip(name), err)
	}
	st, err := h.reg.get(name, def)
	if err != nil {
		return Topic[T]{}, err
	}
	return Topic[T]{st}, nil
}

// define makes and checks a definition.
func define[T any](h *Hub, p Policy, opts []TopicOption[T]) (*definition, error) {
	if h == nil {
		return nil, ErrClosed
	}
	if err := h.closedErr(); err != nil {
		return nil, err
	}
	d := &definition{typ: reflect.TypeFor[T](), given: p, policy: h.effective(p), size: sizerOf[T](), own: ownerOf[T]()}
	d.encode, d.binary = encoderOf[T]()
	d.decode, d.kind = decoderOf[T]()
	for _, o := range opts {
		if o.apply == nil {
			continue
		}
		if err := o.apply(d); err != nil {
			return nil, err
		}
	}
	err := d.policy.validate(policyScope{place: placeTopic, given: p, binary: d.binary, maxPending: h.opts.limits.Pending, bus: h.mesh != nil})
	if err != nil {
		return nil, err
	}
	if h.mesh != nil && d.key != nil && d.keyOut == nil && d.decode == nil {
		return nil, fmt.Errorf("KeyBy with WithCodec: %w, and keys of this type do not travel with a value", ErrNoDecode)
	}
	d.history = d.policy.history > 0
	d.rule = newRule(d.policy, h.opts.limits)
	return d, nil
}

// Name returns the full name; for a topic of a family that is the family's prefix, a slash, and the topic's own.
func (t Topic[T]) Name() string {
	if t.st == nil {
		return ""
	}
	return t.st.name
}

// Publish offers v to every member and stream, those of [Topic.Except] apart. When it returns v has been encoded and
// appended, once; it does not wait for any client. A []byte, or a [Message]'s Data, is the caller's again. Of other
// types streams get, and the filters of [Topic.Where] see, v itself: what it points to must not change any more.
//
// It waits, bounded by ctx, only while the topic's log is full ([Limits.Pending]) or a member's [Block] has its fill,
// both of which last no longer than the member's grace. An error means that nothing was published: of the codec,
// [ErrUTF8], [ErrKind], [ErrKey], [ErrTooManyKeys], [ErrPendingFull] with ctx's, [ErrPanic] of the codec or the key
// function, [ErrClosed]. Publishing to nobody is no error, and a value that cannot be encoded is none while no session
// is in the topic and it keeps no history: nothing is encoded then, unless the hub has a bus.
//
// With [WithBus] the value also goes to those nodes that have a member, a stream or history of the topic. Publish does
// not wait for them, nor for the bus: while that is down the members here get the value and Publish returns nil;
// [Hub.Health] and an [EventBus] tell. Under [RequireBus] it waits, bounded by ctx, until the bus has the value, and
// appends it only then: an error that matches [ErrBus] means that nobody here has got it, and that nobody may have;
// any other, that other nodes have.
func (t Topic[T]) Publish(ctx context.Context, v T) error {
	return t.st.publish(ctx, &v, nil, nil)
}

// publish is Publish without T; v is a *T. st may be nil.
func (st *topicState) publish(ctx context.Context, v any, except, only []uint64) error {
	if st == nil {
		return ErrClosed
	}
	if err := st.hub.closedErr(); err != nil {
		return fmt.Errorf("publish %q: %w", st.name, err)
	}
	far := st.far != nil && only == nil // only sessions of this node are meant otherwise
	t := st.live.Load()
	if st.def.history {
		st.pubs.Add(1) // from here on vacate leaves the log alone
		t = st.open()
	}
	if t == nil && !far {
		return nil
	}
	err := st.append(ctx, t, v, except, only, far)
	if st.def.history {
		if st.pubs.Add(-1) == 0 && t.Len() == 0 {
			st.vacate()
		}
	}
	if err != nil {
		return fmt.Errorf("publish %q: %w", st.name, err)
	}
	return nil
}

// append appends v to the log t, nil when nobody is here, and with far set gives it to other nodes.
func (st *topicState) append(ctx context.Context, t *fanout.Topic, v any, except, only []uint64, far bool) (err error) {
	e := &queue.Entry{Value: v, Except: except, Only: only}
	if st.turn != nil {
		if err := st.turn.take(ctx); err != nil {
			return err
		}
		defer st.turn.give()
		e.Offset = st.nextOffset(t)
	}
	if err := st.prepare(e, far || t.WantsFrame()); err != nil {
		return err
	}
	if far {
		return st.publishFar(ctx, t, e)
	}
	if err = st.appendHere(ctx, t, e); err == nil && st.turn != nil {
		st.next++
	}
	return err
}

// appendHere appends e to the log t.
func (st *topicState) appendHere(ctx context.Context, t *fanout.Topic, e *queue.Entry) error {
	err := t.Publish(ctx, e)
	if errors.Is(err, fanout.ErrWantFrame) { // a session joined since
		if err = st.prepare(e, true); err != nil {
			return err
		}
		err = t.Publish(ctx, e)
	}
	return publishError(ctx, err)
}

// prepare fills e from its value: the key, and the frame or else the size. It runs the caller's key function and codec.
func (st *topicState) prepare(e *queue.Entry, frame bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			st.hub.logPanic("topic callback", nil, p, debug.Stack())
			err = panicError(p)
		}
	}()
	if st.def.key != nil && e.Key == nil {
		e.Key = st.def.key(e.Value)
	}
	if frame {
		err = st.def.encode(st, e)
	} else {
		e.Size = st.def.size(e.Value)
	}
	if err == nil && st.def.own != nil {
		st.def.own(e)
	}
	return err
}

// Join makes s a member: it is offered every value whose Publish begins after Join has returned. It waits for the
// functions of [Authorize] and [WithMember] and for nothing else; ctx is Authorize's. Errors: what Authorize returned,
// [ErrMemberData], [ErrPanic] of either, [ErrAlreadyMember], [ErrTopicFull], [ErrTooManyTopics], [ErrSessionClosed],
// [ErrNoSession] for a nil session or one of another hub, [ErrClosed].
//
// With a bus the first who joins on this node also waits until the bus listens to the topic, so that s is offered what
// other nodes publish from then on: for 1 s at most, bounded by ctx, and not while the bus is down.
func (t Topic[T]) Join(ctx context.Context, s *Session) error {
	return View[T]{st: t.st}.Join(ctx, s)
}

// Leave ends s's membership: once it has returned nothing more is sent to s, except the rest of a frame that was
// begun. What was pending counts as undelivered. A session that is no member is [ErrNotMember].
func (t Topic[T]) Leave(s *Session) error {
	if t.st == nil {
		return ErrClosed
	}
	if s == nil || s.hub != t.st.hub || !t.st.leave(s) {
		return fmt.Errorf("leave %q: %w", t.st.name, ErrNotMember)
	}
	return nil
}

// Stream returns a channel of the values published from now on, as the program's own subscription; nothing is encoded
// for it. The hub closes the channel when ctx ends, and as [Stream] says. It is Subscribe for those who need no more.
func (t Topic[T]) Stream(ctx context.Context) <-chan T { return t.Subscribe(ctx).C() }

// Subscribe returns a stream of the values published from now on. ctx bounds the subscription. It waits for the bus as
// [Topic.Join] does. In a cluster the stream has the values of all nodes, decoded here; one that cannot be decoded
// counts as filtered, and a codec that cannot decode at all is [ErrNoDecode].
func (t Topic[T]) Subscribe(ctx context.Context) *Stream[T] { return View[T]{st: t.st}.Subscribe(ctx) }

// With returns a view of the topic whose memberships and streams have p's parts over the topic's policy.
func (t Topic[T]) With(p Policy) View[T] { return View[T]{st: t.st}.With(p) }

// Where returns a view of the topic whose memberships and streams are only sent values that f admits. f is called by
// the hub's workers, for each member, and must be quick, pure, and make no calls into the hub. It sees the value
// itself, also after Publish has returned: with a filter, as with a stream, what a value points to must not change. A
// panic in f closes the session with 1011. Values of other nodes are decoded for f, once whatever the number of
// filters; with a codec that cannot decode whoever would use the view gets [ErrNoDecode].
func (t Topic[T]) Where(f func(T) bool) View[T] { return View[T]{st: t.st}.Where(f) }

// Except returns the topic without the given sessions, as a target to publish to. Nil and foreign sessions are ignored;
// the members of other nodes are among those who get it.
func (t Topic[T]) Except(s ...*Session) Target[T] { return Target[T]{st: t.st}.Except(s...) }

// Only returns the topic reduced to those of its members that are given, as a target to publish to. Nil and foreign
// sessions are ignored; streams do not get what is published to a few, no [History] has it, and no other node.
func (t Topic[T]) Only(s ...*Session) Target[T] {
	return Target[T]{st: t.st, only: subscribers(make([]uint64, 0, len(s)), t.st, s)}
}

// Has reports whether s is a member.
func (t Topic[T]) Has(s *Session) bool { return t.st != nil && t.st.member(s) != nil }

// Members ranges over the sessions that are members on this node. Those that join or leave meanwhile may or may not be
// seen.
func (t Topic[T]) Members() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		if t.st != nil {
			t.st.members()(yield)
		}
	}
}

func (st *topicState) members() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		live := st.live.Load()
		if live == nil {
			return
		}
		for m := range live.Members() {
			if o, ok := m.Subscriber().Owner().(*hooks); ok && !yield((*Session)(o)) {
				return
			}
		}
	}
}

// Len returns the number of sessions that are members on this node.
func (t Topic[T]) Len() int {
	if t.st == nil {
		return 0
	}
	if live := t.st.live.Load(); live != nil {
		return live.Sockets()
	}
	return 0
}

// Count returns the number of sessions that are members, in the whole cluster: [Topic.Len], and of other nodes what they
// have last told, see [WithPresence]. It does not wait, and takes as long for a thousand nodes as for one. Only the zero
// Topic is an error: [ErrClosed].
func (t Topic[T]) Count(context.Context) (int, error) {
	if t.st == nil {
		return 0, ErrClosed
	}
	n := t.Len()
	if t.st.far != nil {
		n += t.st.far.Others()
	}
	return n, nil
}

// Snapshot ranges over what the topic's history holds when the loop begins, oldest first: what a stream with a [Replay]
// of everything would be offered first. With [Coalesce] and keys that is the last value of each key, the current state.
// A topic without [History] has nothing. The values are shared: what they point to must not change. Those of other nodes
// that cannot be decoded are left out.
func (t Topic[T]) Snapshot() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, e := range t.st.held() {
			if v := valueOf[T](e.Value); v != nil && !yield(*v) {
				return
			}
		}
	}
}

// held returns the entries of the history that are for streams. st may be nil.
func (st *topicState) held() []*queue.Entry {
	if st == nil {
		return nil
	}
	t := st.log.Load() // not live, which vacate takes away to look and puts back
	if t == nil {
		return nil
	}
	all, _ := t.Log().Replay(math.MaxInt, time.Now())
	return slices.DeleteFunc(all, func(e *queue.Entry) bool { return e.Only != nil })
}

// Stats returns the account of everything offered under the topic's name: to sessions and streams, there are and were,
// for as long as somebody has kept a Topic of the name.
func (t Topic[T]) Stats() Tally {
	if t.st == nil {
		return Tally{}
	}
	return tally(t.st.tally())
}

// Target is a topic's audience reduced by [Topic.Except] or [Topic.Only]: an immutable value to publish to.
type Target[T any] struct {
	st           *topicState
	except, only []uint64
}

// Except returns the target without the given sessions.
func (t Target[T]) Except(s ...*Session) Target[T] {
	t.except = subscribers(slices.Clip(t.except), t.st, s)
	return t
}

// Publish is [Topic.Publish] for the target's sessions. For the others the value counts as filtered.
func (t Target[T]) Publish(ctx context.Context, v T) error {
	return t.st.publish(ctx, &v, t.except, t.only)
}

// subscribers appends the engine's ids of sessions of the topic's hub.
func subscribers(ids []uint64, st *topicState, sessions []*Session) []uint64 {
	for _, s := range sessions {
		if s != nil && st != nil && s.hub == st.hub {
			ids = append(ids, s.sub.ID())
		}
	}
	return ids
}
