package wshub

import (
	"context"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
)

// EventKind says what an [Event] tells.
type EventKind uint8

// The kinds of events. The events of one session come in the order connected, joined and left as they happened,
// disconnected; nothing about a session follows its EventDisconnected.
//
// An EventBus tells each change, with a Cause that matches [ErrBus] when there is more to say, but not that a bus is not
// connected yet; and that N messages did not leave, or that the bus says it has lost them, with Name as it was. With [ErrNodeConflict] as its Cause it tells that another node has
// the id of this one, which is Origin. An EventGap tells once which values are missing: N of those that Origin has
// numbered From to To, of Topic, or of what it sent to [Hub.Everyone], which is "". An EventDropped whose Session is set
// and whose Topic is "" may also be a message that another node sent to the session, and that had no room.
const (
	EventConnected    EventKind = iota + 1 // a session was accepted, and admitted if [WithAdmission] asks for it
	EventJoined                            // it joined Topic
	EventLeft                              // it left Topic, by itself or because it ended
	EventDisconnected                      // it has ended: Code, Reason, Cause, and Took since it was accepted
	EventDropped                           // a policy dropped N values of Topic; "" is [Hub.Everyone], or the messages that the session sent
	EventEvicted                           // a policy gave the session up because of Topic, "" is [Hub.Everyone]; its EventDisconnected follows
	EventError                             // user code failed or panicked: Cause, and Name in a Mux
	EventRefused                           // an upgrade was refused: Status, Cause
	EventServed                            // a SessionFunc with [Metrics] has returned: Took, Cause
	EventHandled                           // a MessageFunc with [MetricsEach] has returned: Name, Took, Cause
	EventBus                               // the bus of [WithBus] is as Name says, "up", "down" or "closed"; see below
	EventGap                               // N values that the node Origin has published of Topic did not come; see below

	eventKinds = EventGap + 1
)

var eventNames = [...]string{
	EventConnected:    "connected",
	EventJoined:       "joined",
	EventLeft:         "left",
	EventDisconnected: "disconnected",
	EventDropped:      "dropped",
	EventEvicted:      "evicted",
	EventError:        "error",
	EventRefused:      "refused",
	EventServed:       "served",
	EventHandled:      "handled",
	EventBus:          "bus",
	EventGap:          "gap",
}

// String returns the kind's name in lower case.
func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return "unknown"
}

// Event is something that happened on this node. Kind and Time are always set, Session and User when it is about a
// session; what else its kind does not mention is zero.
type Event struct {
	Kind    EventKind
	Time    time.Time
	Session string        // the session's id; "" for a stream's
	User    string        // its user at that time
	Topic   string        // the topic's full name
	Code    StatusCode    // the close code
	Reason  string        // the close reason
	Cause   error         // why, nil when there is nothing more to say than Code and Reason
	N       uint64        // how many values
	Name    string        // the Mux's event; how the bus is
	Status  int           // of the answer to a refused upgrade
	Took    time.Duration // how long it was, or took
	Origin  string        // the id of another node; "" while it has not said it
	From    uint64        // the first and
	To      uint64        // the last number of values that a node has published of a topic, from 1
}

// Events returns a stream of what happens from now on. The policy says what becomes of events that the reader is too
// slow for, as it does for [Topic.Subscribe]; the zero Policy is the hub's. What happens does not wait for who reads of
// it, so [Block] is as [Evict] here. With an invalid policy, or on a closed hub, the stream is closed from the start
// and its Err tells. ctx bounds the subscription, not the call. Events cost nothing while nobody listens, and a reader
// may call anything of the hub.
func (h *Hub) Events(ctx context.Context, p Policy) *Stream[Event] {
	return newStream[Event](ctx, h, h.events, p, nil)
}

// eventSize is what an event counts for in byte bounds: the struct's size on 64-bit machines, rounded up.
const eventSize = 208

// emit tells whoever listens. It never waits.
func (h *Hub) emit(ev Event) {
	if h.wanted(ev.Kind) {
		h.tell(ev)
	}
}

func (h *Hub) tell(ev Event) {
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	if err := h.events.TryPublish(&queue.Entry{Value: &ev, Size: eventSize}); err != nil {
		h.counts.eventsLost.Add(1)
	}
}

// emit tells whoever listens something about the session: nothing before it is admitted, and nothing but its
// EventDisconnected once it ends, as of a [Mux] that some goroutine goes on calling. What happens to one that is known
// to everyone, but not announced yet, waits. It publishes under mu, so that nothing slips behind the end.
func (s *Session) emit(ev Event) {
	if !s.hub.wanted(ev.Kind) {
		return
	}
	ev.Session, ev.Time = s.id, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage&admitted == 0 || s.unlisted && ev.Kind != EventDisconnected {
		return
	}
	ev.User = s.ident.User
	if s.early != nil && ev.Kind != EventConnected {
		*s.early = append(*s.early, ev)
		return
	}
	s.hub.emit(ev)
}

// announced is called once EventConnected is out: what has waited for it follows, before anything later.
func (s *Session) announced() {
	for {
		s.mu.Lock()
		waiting := *s.early
		if len(waiting) == 0 {
			s.early = nil
			s.mu.Unlock()
			return
		}
		*s.early = nil
		s.mu.Unlock()
		for _, ev := range waiting {
			s.hub.emit(ev)
		}
	}
}
