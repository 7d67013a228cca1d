package wshub

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/queue"
)

// Member is a session that is in a topic.
type Member struct {
	Session string          `json:"session"`        // its id
	User    string          `json:"user,omitempty"` // its user when the list was made, or when it joined or left
	Node    string          `json:"node"`           // the node it is connected to
	Data    json.RawMessage `json:"data,omitempty"` // what [WithMember] said when it joined; not to be changed
}

// PresenceKind says what a [PresenceEvent] tells.
type PresenceKind uint8

// The kinds of presence events.
const (
	PresenceList   PresenceKind = iota + 1 // Members is who is there, and replaces whatever was known
	PresenceJoined                         // Members have come
	PresenceLeft                           // Members have gone
)

var presenceNames = [...]string{PresenceList: "list", PresenceJoined: "joined", PresenceLeft: "left"}

// String returns the kind's name in lower case.
func (k PresenceKind) String() string {
	if int(k) < len(presenceNames) && presenceNames[k] != "" {
		return presenceNames[k]
	}
	return "unknown"
}

// MarshalText returns the kind's name, so that an event can be sent to clients as it is.
func (k PresenceKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText takes what MarshalText gives.
func (k *PresenceKind) UnmarshalText(text []byte) error {
	for i, name := range presenceNames {
		if name != "" && name == string(text) {
			*k = PresenceKind(i)
			return nil
		}
	}
	return fmt.Errorf("wshub: %q is no presence event", clip(string(text)))
}

// PresenceEvent is what [Topic.Watch] tells. Watchers share it: Members must not be changed. A session that joins or
// leaves is told alone; several are told together when a node of the cluster comes, goes or is heard of again.
type PresenceEvent struct {
	Kind    PresenceKind `json:"kind"`
	Members []Member     `json:"members"`
	Time    time.Time    `json:"time"`
}

// maxMemberData bounds the JSON of Member.Data, which every watcher gets.
const maxMemberData = 1 << 10

// A watcher that has more than watchPending changes pending, the oldest of them for longer than watchGrace, is given
// up.
const (
	watchPending = 4096
	watchGrace   = time.Second
)

var watchRule = &fanout.Rule{Overflow: fanout.Evict, N: watchPending, Age: watchGrace}

// Present returns who is in the topic, in the whole cluster, in no order and nobody twice; sessions that join or leave
// meanwhile may or may not be among them, and those whose leave [WithPresence] holds back are not. Joins and leaves of the
// topic on this node wait while its list is made, which takes about as long as ranging over [Topic.Members].
//
// Without a bus, and while somebody on this node watches the topic, it does not wait. Else it asks the other nodes, and
// waits until each has answered or is gone, bounded by ctx: when that ends first, the error matches its cause, and the
// list has those who are known by then, all of this node among them. With a bus it fails likewise with [ErrClosed] once
// the hub has closed; the zero Topic always does.
func (t Topic[T]) Present(ctx context.Context) ([]Member, error) {
	if t.st == nil {
		return nil, ErrClosed
	}
	return t.st.attendance().present(ctx)
}

// Watch returns a stream of who is in the topic, in the whole cluster: first a [PresenceList] of those who are there, then
// a [PresenceJoined] or [PresenceLeft] for each change, in the order in which it happened to each session. At any time
// the list and the changes after it add up to who is there: nobody is missing, nobody is in it twice. A session is in it
// before Join returns and out of it before Leave returns, or Done is closed; one of another node as soon as that is
// heard of. Members are told apart by Session; that one has got another user by [Session.SetUser] is not told.
//
// With a bus the first list on a node waits for all other nodes, 1 s at most; who is known later is told as joined. What
// the bus loses is made good when the node is heard of again. When a node goes, all its members leave together: at once
// if it says so, else after three of its heartbeats, see [WithPresence]. That can also hold back the leaves of users who
// come back; those are in the list until their leave is told.
//
// A watcher that falls behind by more than 4,096 changes for more than a second is given up: its stream closes with
// [ErrSlow], and a new Watch begins with a new list. ctx bounds the stream. Watching a topic is not being in it: a
// topic that is only watched has no log and is not among [Hub.Topics], and a topic that nobody watches keeps no list.
func (t Topic[T]) Watch(ctx context.Context) *Stream[PresenceEvent] {
	if t.st == nil {
		return brokenStream[PresenceEvent](ErrClosed)
	}
	if err := t.st.hub.closedErr(); err != nil {
		return brokenStream[PresenceEvent](fmt.Errorf("watch %q: %w", t.st.name, err))
	}
	p := t.st.attendance()
	return openStream[PresenceEvent](ctx, t.st.hub, p.watch, p.unwatch)
}

// attendance is who is in one topic, as its watchers are told. It is made when it is first asked for and then stays as
// long as the topic's state; what grows with the members is there only while somebody watches, or with WithMember.
//
// Whoever changes a session's membership does so first and then tells, both under the session's order lock. Whoever
// makes a list sets told before it looks at the members. So a change that finds told unset comes before the list, and
// is in it; any other waits for mu, which the list holds, and is skipped if the list has it already. Of one session
// there is one such change at most. Lists for other nodes are made the same way, after the mesh has been set to say that
// the topic is watched; of a change that such a list has already the other node takes no notice, see presence_far.go.
//
// Lock order: a session's order lock, then mu, then those of the mesh and the engine.
type attendance struct {
	st   *topicState
	told atomic.Bool // changes have to be told here; stored under mu

	mu       sync.Mutex
	watchers int                          // guarded by mu
	log      *fanout.Topic                // of the changes; nil while nobody watches; guarded by mu
	listed   bool                         // watchers have got their list, so changes are told; guarded by mu
	in       map[*Session]json.RawMessage // nil while nobody watches, or with WithMember while it is empty; guarded by mu
	far      map[string]farMember         // of other nodes, by session; nil while nobody watches, or without a bus; guarded by mu
	held     *held                        // nil while nobody watches, or without grace; guarded by mu
}

// attendance returns the topic's.
func (st *topicState) attendance() *attendance {
	if a := st.present.Load(); a != nil {
		return a
	}
	a := &attendance{st: st}
	a.told.Store(a.always())
	st.present.CompareAndSwap(nil, a)
	return st.present.Load()
}

// always reports whether members are kept although nobody watches, since they have data.
func (a *attendance) always() bool { return a.st.hub.opts.member != nil }

// tell is called after each change of a membership, under the session's order lock. ended: it is over since the session
// is.
func (st *topicState) tell(kind PresenceKind, s *Session, data json.RawMessage, ended bool) {
	st.changed()
	far := st.watchedFar()
	a := st.present.Load()
	if a == nil && (far || st.hub.opts.member != nil) {
		a = st.attendance()
	}
	if a != nil && (far || a.told.Load()) {
		a.change(kind, s, data, ended)
	}
}

// change tells of a change here.
func (a *attendance) change(kind PresenceKind, s *Session, data json.RawMessage, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// Asked under mu: another node may have begun to watch since tell did, and been sent what is in a.in.
	if a.st.watchedFar() {
		a.tellFarLocked(s.member(data), kind == PresenceJoined, ended)
	}
	if a.log == nil && !a.always() {
		return // nobody watches any more
	}
	had, known := a.in[s]
	if known == (kind == PresenceJoined) {
		return // the list has seen it
	}
	if kind == PresenceJoined {
		if a.in == nil {
			a.in = make(map[*Session]json.RawMessage)
		}
		a.in[s] = data
	} else {
		data = had
		delete(a.in, s)
		if len(a.in) == 0 && a.log == nil {
			a.in = nil
		}
	}
	if a.log == nil {
		return
	}
	if m := []Member{s.member(data)}; kind == PresenceJoined {
		a.changedLocked(m, nil, false)
	} else {
		a.changedLocked(nil, m, ended)
	}
}

// changedLocked tells watchers of members that have come and gone, who are theirs from then on. ended: those that have
// gone have ended, and are told later when they may be held back.
func (a *attendance) changedLocked(joined, left []Member, ended bool) {
	if !a.listed {
		return // the list will tell
	}
	if a.held != nil {
		if ended {
			left = a.held.hold(left)
		}
		var back []Member
		joined, back = a.held.comeBack(joined)
		left = append(left, back...)
	}
	a.publishLocked(PresenceJoined, joined, nil)
	a.publishLocked(PresenceLeft, left, nil)
}

// publishLocked appends an event for the given subscribers, nil for all. A change of nobody is none.
func (a *attendance) publishLocked(kind PresenceKind, members []Member, only []uint64) {
	if len(members) == 0 && kind != PresenceList {
		return
	}
	e := &queue.Entry{Value: &PresenceEvent{Kind: kind, Members: members, Time: time.Now()}, Only: only}
	// It cannot fail: the log has no bound of its own, and no member that writes frames.
	if err := a.log.TryPublish(e); err != nil {
		panic("wshub: presence: " + err.Error())
	}
}

// hereLocked returns who is there on this node. Changes wait from here on, until mu is free.
func (a *attendance) hereLocked() []Member {
	told := a.told.Swap(true)
	defer a.told.Store(told)
	list := []Member{} // never null as JSON
	if a.in != nil || a.always() {
		for s, data := range a.in {
			list = append(list, s.member(data))
		}
		return list
	}
	for s := range a.st.members() {
		list = append(list, s.member(nil))
	}
	return list
}

// watchedLocked returns who is there as watchers know it: with those held back.
func (a *attendance) watchedLocked() []Member {
	list := a.hereLocked()
	for _, m := range a.far {
		list = append(list, m.Member)
	}
	if a.held != nil {
		list = a.held.appendTo(list)
	}
	return list
}

// watch makes sub a watcher: it gets the list, and every change after it.
func (a *attendance) watch(sub *fanout.Subscriber) (*fanout.Member, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.log == nil {
		a.beginLocked()
	}
	a.watchers++ // until unwatch, also after an error
	m, err := a.log.Join(sub, watchRule, nil, 0)
	if err != nil {
		return nil, err
	}
	if a.listed {
		a.publishLocked(PresenceList, a.watchedLocked(), []uint64{sub.ID()})
	}
	return m, nil
}

// beginLocked begins to keep the list.
func (a *attendance) beginLocked() {
	a.log = a.st.hub.engine.NewTopic(fanout.TopicConfig{Tag: a.st})
	a.told.Store(true) // before the members are looked at
	if !a.always() {
		in := make(map[*Session]json.RawMessage)
		for s := range a.st.members() {
			in[s] = nil
		}
		a.in = in
	}
	if grace := a.st.hub.opts.grace; grace > 0 {
		a.held = newHeld(grace, a.st.hub.engine.NewTimer(a.graceOver))
	}
	a.listed = !a.watchFarLocked()
}

// unwatch is called once for each watcher that has gone.
func (a *attendance) unwatch() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watchers--; a.watchers > 0 {
		return
	}
	a.log = nil
	if a.held != nil {
		a.held.timer.Stop()
		a.held = nil
	}
	a.unwatchFarLocked()
	if !a.always() {
		a.told.Store(false)
		a.in = nil
	} else if len(a.in) == 0 {
		a.in = nil
	}
}

// member returns s as lists show it.
func (s *Session) member(data json.RawMessage) Member {
	return Member{Session: s.id, User: s.User(), Node: s.hub.opts.node, Data: data}
}

// memberData asks the user's function what members are to know of s. A panic in it closes the session, whoever's
// goroutine this is.
func (s *Session) memberData() (data json.RawMessage, err error) {
	f := s.hub.opts.member
	if f == nil {
		return nil, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = s.broken("member", p, debug.Stack())
		}
	}()
	v := f(s)
	if v == nil {
		return nil, nil
	}
	if data, err = json.Marshal(v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMemberData, err)
	}
	if !utf8.Valid(data) { // a json.Marshaler's; no client could be sent it
		return nil, fmt.Errorf("%w: %w", ErrMemberData, ErrUTF8)
	}
	if len(data) > maxMemberData {
		return nil, fmt.Errorf("%w: %d bytes of JSON, want at most %d", ErrMemberData, len(data), maxMemberData)
	}
	return data, nil
}
