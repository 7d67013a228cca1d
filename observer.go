package wshub

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/queue"
)

// Observer is told what happens on this node, by the function of each kind of event; see [WithObserver]. A nil function
// is told nothing and costs nothing. [Hub.Events] tells the same to a program that would rather range over it.
//
// The functions of one Observer are called one at a time, with the events in the order of Events, soon after they have
// happened. Nobody waits for them, no publisher and no client, and while nothing happens no goroutine runs for them.
// They may take their time and call anything of the hub, but for a [Hub.Shutdown] without an end, which would wait for
// itself. Who falls behind by more than a quarter of [Limits].Pending, by default 16,384 events, misses the oldest;
// [HubStats].ObserverMissed counts them. A panic is logged, once a minute, and changes nothing else. [runtime.Goexit]
// must not be called, and so no test's FailNow.
type Observer struct {
	Connected    func(Event)
	Joined       func(Event)
	Left         func(Event)
	Disconnected func(Event)
	Dropped      func(Event)
	Evicted      func(Event)
	Error        func(Event)
	Refused      func(Event)
	Served       func(Event)
	Handled      func(Event)
	Bus          func(Event)
	Gap          func(Event)
}

// funcs returns o's functions by kind.
func (o Observer) funcs() [eventKinds]func(Event) {
	return [eventKinds]func(Event){
		EventConnected: o.Connected, EventJoined: o.Joined, EventLeft: o.Left, EventDisconnected: o.Disconnected,
		EventDropped: o.Dropped, EventEvicted: o.Evicted, EventError: o.Error,
		EventRefused: o.Refused, EventServed: o.Served, EventHandled: o.Handled,
		EventBus: o.Bus, EventGap: o.Gap,
	}
}

// kindSet is a set of event kinds.
type kindSet uint32

func (s kindSet) has(k EventKind) bool { return s&(1<<k) != 0 }

// observers are those of a hub.
type observers struct {
	all   []*observing // immutable after New, as is kinds
	kinds kindSet      // what any of them wants
	open  atomic.Int32 // those that have not ended: as many members of Hub.events are no streams
}

// observing is one Observer: its feed, and the owner of its subscriber. The engine's drain goroutine calls the
// functions, so that it takes one event at a time and delays nobody.
type observing struct {
	hub    *Hub
	funcs  [eventKinds]func(Event)
	sub    *fanout.Subscriber
	member *fanout.Member
	once   sync.Once // ends it
}

// observe makes o a reader of the hub's events, unless it wants none.
func (h *Hub) observe(o Observer) {
	x := &observing{hub: h, funcs: o.funcs()}
	var kinds kindSet
	for k, f := range x.funcs {
		if f != nil {
			kinds |= 1 << k
		}
	}
	if kinds == 0 {
		return
	}
	l := h.opts.limits
	// Far from what the log holds at most: an observer that lags takes no room from those who read Events.
	rule := &fanout.Rule{Overflow: fanout.DropOldest, N: max(l.Pending/4, 1), MaxBytes: max(l.PendingBytes/4, 1)}
	x.sub = h.engine.NewFeed(x, x)
	where := func(v any) bool { return kinds.has(v.(*Event).Kind) }
	m, err := h.events.Join(x.sub, rule, where, 0)
	if err != nil { // it cannot fail: the subscriber is new, and the topic has no limit
		panic("wshub: observe: " + err.Error())
	}
	x.member = m
	h.observers.all = append(h.observers.all, x)
	h.observers.kinds |= kinds
	h.observers.open.Add(1)
}

// TryPut leaves all events to Put: the caller is a worker, or whoever emits.
func (x *observing) TryPut(*queue.Entry) bool { return false }

// Put calls the function for the event.
func (x *observing) Put(e *queue.Entry) bool {
	x.call(*e.Value.(*Event))
	return true
}

func (x *observing) call(ev Event) {
	defer func() {
		if p := recover(); p != nil { // not an event: it would be told to the function that has just failed
			x.hub.logPanic("observer", nil, p, debug.Stack())
		}
	}()
	x.funcs[ev.Kind](ev)
}

// The hooks of its subscriber.

func (x *observing) Slow(*fanout.Topic)            {}
func (x *observing) Failed(error)                  {}
func (x *observing) Flushed()                      {}
func (x *observing) CloseSent()                    {}
func (x *observing) Dropped(*fanout.Topic, uint64) {} // counted by missed

// end tells the observer nothing more, a call under way apart.
func (x *observing) end() {
	x.once.Do(func() {
		x.hub.observers.open.Add(-1) // first: with one too few emit looks closer, with one too many it would miss a stream
		x.sub.Detach()
	})
}

func (o *observers) end() {
	for _, x := range o.all {
		x.end()
	}
}

// behind reports whether somebody has not been told everything yet.
func (o *observers) behind() bool {
	for _, x := range o.all {
		if x.member.Tally().Pending > 0 {
			return true
		}
	}
	return false
}

// missed returns how many events were not told. Of those that were pending when Shutdown ended an observer nobody has
// asked whether it has a function for them: they count.
func (o *observers) missed() (n uint64) {
	for _, x := range o.all {
		a := x.member.Tally()
		n += a.Dropped + a.Undelivered
	}
	return n
}

// wanted reports whether anybody reads events of the kind.
func (h *Hub) wanted(k EventKind) bool {
	n := h.events.Len()
	return n > 0 && (h.observers.kinds.has(k) || n > int(h.observers.open.Load()))
}
