package wshub

import (
	"fmt"
	"hash/maphash"
	"iter"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/queue"
)

// registry finds topics by name. A name is bound to its definition for as long as somebody holds a [Topic] of it or the
// topic lives (it has members, streams or history); the garbage collector says when nobody does, so a million names
// that were used once cost nothing.
type registry struct {
	hub    *Hub
	seed   maphash.Seed
	shards [16]registryShard
	orders [64]sync.Mutex // by subscriber, see Session.order: membership changes of one session and their events keep one order

	past     pastTally
	streams  streamSet
	epochs   epochs
	families familySet
}

type registryShard struct {
	mu    sync.Mutex
	names map[string]weak.Pointer[topicState] // guarded by mu
	live  map[string]*topicState              // those with a log; guarded by mu
}

func (r *registry) init(h *Hub) {
	r.hub = h
	r.seed = maphash.MakeSeed()
	for i := range r.shards {
		r.shards[i].names = make(map[string]weak.Pointer[topicState])
		r.shards[i].live = make(map[string]*topicState)
	}
}

func (r *registry) shard(name string) *registryShard {
	return &r.shards[maphash.String(r.seed, name)%uint64(len(r.shards))]
}

// definition is what topics of one name, or of one family, have in common. Immutable.
type definition struct {
	typ     reflect.Type
	given   Policy // as passed to NewTopic or NewFamily
	policy  Policy // effective
	rule    *fanout.Rule
	encode  encodeFunc
	size    func(any) int      // what a value without a frame counts for in byte bounds
	own     func(*queue.Entry) // makes a value's bytes the hub's; nil: it has none
	key     func(any) any      // nil: no key
	keyOut  func(any) []byte   // its form for other nodes, see keyWire
	keyIn   func([]byte) any   // nil, both: keys do not travel
	decode  decodeFunc         // for values of other nodes; nil: the codec cannot
	kind    Kind               // of all messages; 0: either, or the codec's choice
	family  *familyState       // nil: a topic of its own
	event   string             // of AsEvent; "" without
	codec   bool               // WithCodec was given
	turns   bool               // with a DeliveryCodec
	history bool
	binary  bool
}

// topicState is what all Topic values of one name share.
type topicState struct {
	hub  *Hub
	name string
	def  *definition
	head string    // how the text of its events begins; "" without AsEvent
	turn turn      // nil without a DeliveryCodec
	far  *farTopic // nil without a bus

	epoch atomic.Uint64 // of log; 0 without a DeliveryCodec; stored under mu. With a bus it is that of st, and immutable
	next  uint64        // with a bus: the offset of the next value published here; guarded by turn

	live atomic.Pointer[fanout.Topic] // nil: nobody is in it; stored under mu
	log  atomic.Pointer[fanout.Topic] // what live is, or is about to be again: the account that past does not have yet
	pubs atomic.Int64                 // publishers between loading live and having appended, when there is history

	past fanout.Tally // of logs given up; guarded by registry.past.mu

	present atomic.Pointer[attendance] // nil until somebody asks for it

	mu     sync.Mutex
	expiry func() // cancels the timer that looks whether the history is over; guarded by mu
}

// get returns the state of a name, made from def when the name is free.
func (r *registry) get(name string, def *definition) (*topicState, error) {
	sh := r.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if st := sh.names[name].Value(); st != nil {
		if st.def != def && (st.def.typ != def.typ || st.def.given != def.given || st.def.family != def.family) {
			return nil, fmt.Errorf("%w: topic %q is of %s, not of %s", ErrTopicConflict, name, st.def, def)
		}
		return st, nil
	}
	st := &topicState{hub: r.hub, name: name, def: def}
	if def.event != "" {
		st.head = eventHead(def.event, name)
	}
	if def.turns {
		st.turn = newTurn()
	}
	if r.hub.mesh != nil {
		st.joinMesh()
	}
	sh.names[name] = weak.Make(st)
	runtime.AddCleanup(st, forget, forgotten{weak.Make(r.hub), name})
	return st, nil
}

// forgotten is a name whose state is gone. The hub is held weakly: what a cleanup holds is never collected before it
// has run, and a hub with a topic that lives for ever would not be either.
type forgotten struct {
	hub  weak.Pointer[Hub]
	name string
}

// forget runs after the last reference to a name's state is gone.
func forget(f forgotten) {
	h, name := f.hub.Value(), f.name
	if h == nil {
		return
	}
	sh := h.reg.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.names[name].Value() == nil {
		delete(sh.names, name)
	}
}

// String names a definition for errors.
func (d *definition) String() string {
	s := fmt.Sprintf("type %v with policy %q", d.typ, d.given.String())
	if d.family != nil {
		s += fmt.Sprintf(" in family %q", d.family.prefix)
	}
	return s
}

// open returns the topic's log, made when there is none.
func (st *topicState) open() *fanout.Topic {
	if t := st.live.Load(); t != nil {
		return t
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if t := st.live.Load(); t != nil {
		return t
	}
	l, p := &st.hub.opts.limits, st.def.policy
	t := st.hub.engine.NewTopic(fanout.TopicConfig{
		Tag:        st,
		MaxPending: l.Pending, MaxBytes: l.PendingBytes, MaxKeys: l.Keys, MaxMembers: l.SessionsPerTopic,
		History: p.history, HistoryAge: p.keptFor(), HistoryByKey: p.history > 0 && p.conflate && st.def.key != nil,
	})
	sh := st.hub.reg.shard(st.name)
	sh.mu.Lock()
	sh.live[st.name] = st
	sh.mu.Unlock()
	if st.def.turns && st.far == nil {
		st.epoch.Store(st.hub.reg.epochs.next())
	}
	if st.far != nil {
		st.far.Want()
	}
	st.log.Store(t)
	st.live.Store(t)
	return t
}

// vacate lets the topic vanish when nobody is in it and nothing is kept.
func (st *topicState) vacate() {
	st.mu.Lock()
	defer st.mu.Unlock()
	t := st.live.Load()
	if t == nil || t.Len() > 0 || st.expiry != nil || !t.Retire() {
		return
	}
	// Nobody can join any more: a publisher that finds no log misses nobody.
	st.live.Store(nil)
	if st.def.history {
		// A publisher that has found the log is counted; one that has not waits for mu.
		next := t.Log().Expire(time.Now())
		if st.pubs.Load() > 0 || !t.Log().Idle() {
			t.Unretire()
			st.live.Store(t)
			st.lookAgainLocked(next)
			return
		}
	}
	if st.far != nil {
		st.far.Unwant()
	}
	r := &st.hub.reg
	r.past.bury(st, t) // while registry.all still finds it, so that no sum misses it
	sh := r.shard(st.name)
	sh.mu.Lock()
	delete(sh.live, st.name)
	sh.mu.Unlock()
}

// lookAgainLocked has vacate called when the oldest of the history has aged; of a history without age, or of a closed
// hub, never. Callers hold mu.
func (st *topicState) lookAgainLocked(next time.Time) {
	if st.def.policy.keptFor() == 0 || st.hub.closedErr() != nil {
		return
	}
	if next.IsZero() { // a publisher or a worker is still at it
		next = time.Now().Add(time.Second)
	}
	st.expiry = st.hub.engine.At(next, func() {
		st.mu.Lock()
		st.expiry = nil
		st.mu.Unlock()
		st.vacate()
	})
}

// stopTimers cancels what lookAgainLocked has armed: a closed hub needs no history, and a timer would keep all of it.
func (r *registry) stopTimers() {
	for st := range r.all() {
		st.mu.Lock()
		if st.expiry != nil {
			st.expiry()
			st.expiry = nil
		}
		st.mu.Unlock()
	}
}

// living returns the topic of the given full name if it has members, streams or history.
func (r *registry) living(name string) *topicState {
	sh := r.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.live[name]
}

// all ranges over the topics that live.
func (r *registry) all() iter.Seq[*topicState] {
	return func(yield func(*topicState) bool) {
		for i := range r.shards {
			sh := &r.shards[i]
			sh.mu.Lock()
			states := make([]*topicState, 0, len(sh.live))
			for _, st := range sh.live {
				states = append(states, st)
			}
			sh.mu.Unlock()
			for _, st := range states {
				if !yield(st) {
					return
				}
			}
		}
	}
}

// len returns how many topics live.
func (r *registry) len() (n int) {
	for i := range r.shards {
		sh := &r.shards[i]
		sh.mu.Lock()
		n += len(sh.live)
		sh.mu.Unlock()
	}
	return n
}

// newEveryone returns the topic that each session is a member of from its admission on, which is Accept's without
// [WithAdmission].
func (h *Hub) newEveryone() *fanout.Topic {
	l := &h.opts.limits
	return h.engine.NewTopic(fanout.TopicConfig{MaxPending: l.Pending, MaxBytes: l.PendingBytes, MaxKeys: l.Keys})
}

// newEvents returns the topic of the hub's events, which only streams are members of.
func (h *Hub) newEvents() *fanout.Topic {
	return h.engine.NewTopic(fanout.TopicConfig{MaxPending: h.opts.limits.Pending, MaxBytes: h.opts.limits.PendingBytes, MaxKeys: 1})
}

// TopicInfo describes a topic that lives on this node.
type TopicInfo struct {
	Name    string // the full name
	Family  string // its family's prefix, "" when it is in none
	Type    string // the Go type of its values
	Policy  Policy // the effective one
	Members int    // sessions
	Streams int
	Tally   Tally
}

func (st *topicState) info() (TopicInfo, bool) {
	t := st.log.Load() // not live, which vacate takes away to look and puts back
	if t == nil {
		return TopicInfo{}, false
	}
	i := TopicInfo{
		Name: st.name, Type: st.def.typ.String(), Policy: st.def.policy,
		Members: t.Sockets(), Streams: t.Len() - t.Sockets(), Tally: tally(st.tally()),
	}
	if st.def.family != nil {
		i.Family = st.def.family.prefix
	}
	return i, true
}

// Topics ranges over the topics of this node that have members, streams or history. Topics that appear or vanish
// meanwhile may or may not be seen.
func (h *Hub) Topics() iter.Seq[TopicInfo] {
	return func(yield func(TopicInfo) bool) {
		for st := range h.reg.all() {
			if i, ok := st.info(); ok && !yield(i) {
				return
			}
		}
	}
}

// Topic describes the topic of the given full name, if it has members, streams or history on this node.
func (h *Hub) Topic(name string) (TopicInfo, bool) {
	if st := h.reg.living(name); st != nil {
		return st.info()
	}
	return TopicInfo{}, false
}
