package wshub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Mux calls a typed handler for each message of a client, by the event that the message names:
//
//	{"event":"chat.send","id":7,"data":{"room":"go","text":"hi"}}
//
// The data is what the handler takes, decoded as JSON; absent data is as null, which leaves T's zero value. A handler
// made by [Reply] answers
//
//	{"event":"chat.send","id":7,"data":{"seq":42}}
//
// with the id if the message had one: a JSON string or number of at most 128 bytes. Members that are not mentioned here
// are ignored, but for topic, which must be a string and is what [EnvelopeFrom] tells of it.
//
// What goes wrong is answered with
//
//	{"event":"error","id":7,"data":{"code":"not_found","message":"not found"}}
//
// and is an [EventError] with the event's Name, and the session lives. The code is unknown_event, bad_message (no
// envelope, [ErrDecode] or [ErrName]), unauthorized, forbidden, not_found, already_member, not_member, limit (what
// matches the error of that name), what [PublicError] says, that of a [*RejectError]'s Status, or else internal, which
// is logged. The message is the hub's own text for the code, except for errors marked by [Public], whose code may be
// failed, and a RejectError's Reason. These close the session as the result of a SessionFunc does, in place of an
// answer: a [*CloseError], a panic, the end of ctx, and that of the session or the hub.
//
// The zero Mux is ready, and must not be copied once it is used. All of its methods, [Handle] and [Reply] may be called
// at any time, also while messages are handled; finding a handler takes no lock. Messages of one session are handled
// one at a time ([Each]), those of several at once.
//
//	hub.Handler(wshub.Each(mux.Message))
type Mux struct {
	mu    sync.Mutex
	table atomic.Pointer[muxTable] // nil: empty; stored under mu
}

// muxTable is what a Mux knows. Immutable: changes make another one.
type muxTable struct {
	routes   map[string]*route
	fallback *route // nil: none
	mw       []MessageMiddleware
}

// route is a handler.
type route struct {
	name string      // the event; "" is the fallback
	bare MessageFunc // without middleware
	fn   MessageFunc
}

// Handle registers fn for messages of the given event. What goes well is not answered: a client that wants to know
// needs a [Reply], whose R may be struct{}. As with [net/http.ServeMux] it panics when it cannot work: for an event
// that is empty, no UTF-8, taken, or "error", and for a nil fn.
func Handle[T any](m *Mux, event string, fn func(ctx context.Context, s *Session, v T) error) {
	if fn == nil {
		panic("wshub: Handle: nil func")
	}
	m.add("Handle", event, func(ctx context.Context, s *Session, _ Message) error {
		var v T
		if err := routedFrom(ctx).decode(&v); err != nil {
			return err
		}
		return fn(ctx, s, v)
	})
}

// Reply registers fn for messages of the given event, and sends what it returns to the session. When fn fails, or its
// result does not encode, the client gets an error event instead. It panics as [Handle] does.
func Reply[Q, R any](m *Mux, event string, fn func(ctx context.Context, s *Session, q Q) (R, error)) {
	if fn == nil {
		panic("wshub: Reply: nil func")
	}
	head := eventHead(event, "")
	m.add("Reply", event, func(ctx context.Context, s *Session, _ Message) error {
		c := routedFrom(ctx)
		var q Q
		if err := c.decode(&q); err != nil {
			return err
		}
		r, err := fn(ctx, s, q)
		if err != nil {
			return err
		}
		return c.answer(ctx, s, head, &r)
	})
}

// Fallback sets what is called for messages that have no handler: binary, no envelope, or an event that nobody has
// registered. It gets the message as it came. Without one they are answered with an error. A later one replaces it; nil
// panics.
func (m *Mux) Fallback(fn MessageFunc) {
	if fn == nil {
		panic("wshub: Mux.Fallback: nil MessageFunc")
	}
	m.change(func(t *muxTable) {
		t.fallback = &route{bare: fn, fn: wrapEach(fn, t.mw)}
	})
}

// Use puts middleware around every handler and the fallback, whether they are registered before or after; the first one
// given is the outermost. It sees the errors that are about to be answered. [EnvelopeFrom] works in it. What it makes
// of ctx the handler gets, as long as it is derived from the one given; of the message it gets the data as it came, so
// what changes messages has to go around [Mux.Message].
func (m *Mux) Use(mw ...MessageMiddleware) {
	m.change(func(t *muxTable) {
		t.mw = slices.Concat(t.mw, mw)
		wrap := func(r *route) *route { return &route{r.name, r.bare, wrapEach(r.bare, t.mw)} }
		for name, r := range t.routes {
			t.routes[name] = wrap(r)
		}
		if t.fallback != nil {
			t.fallback = wrap(t.fallback)
		}
	})
}

// Message handles one message, and answers it where an answer is due, for which it may wait as [Session.Send] does. It
// is a [MessageFunc]; an error closes the session.
func (m *Mux) Message(ctx context.Context, s *Session, msg Message) error {
	c := &routed{Context: ctx}
	r, err := m.route(c, msg)
	if err == nil {
		err = r.fn(c, s, msg)
	}
	if err == nil {
		return nil
	}
	return c.fail(s, err)
}

// add registers a handler.
func (m *Mux) add(what, event string, fn MessageFunc) {
	if err := checkEvent(event); err != nil {
		panic(fmt.Sprintf("wshub: %s: %v", what, err))
	}
	m.change(func(t *muxTable) {
		if t.routes[event] != nil {
			panic(fmt.Sprintf("wshub: %s: event %q is taken", what, event))
		}
		t.routes[event] = &route{event, fn, wrapEach(fn, t.mw)}
	})
}

// change replaces the table by a copy that f has changed.
func (m *Mux) change(f func(*muxTable)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := muxTable{routes: make(map[string]*route)}
	if t := m.table.Load(); t != nil {
		next = muxTable{maps.Clone(t.routes), t.fallback, t.mw}
	}
	f(&next)
	m.table.Store(&next)
}

// route finds the handler of a message and notes in c what its envelope says.
func (m *Mux) route(c *routed, msg Message) (*route, error) {
	t := m.table.Load()
	if t == nil {
		t = new(muxTable)
	}
	err := error(errNotEnvelope)
	if msg.Kind == KindText {
		var p packet
		p, err = parsePacket(msg.Data)
		if p.event != "" {
			c.known, c.data = true, p.data
			c.env = Envelope{Event: p.event, Topic: p.topic, ID: p.id}
			r := t.routes[p.event]
			if r != nil {
				c.name = r.name
			}
			switch {
			case err != nil:
				return nil, err
			case r != nil:
				return r, nil
			}
			err = ErrUnknownEvent
		}
	}
	if t.fallback != nil {
		return t.fallback, nil
	}
	return nil, err
}

// routed is the context of one message in a Mux.
type routed struct {
	context.Context
	known bool // there is an envelope
	env   Envelope
	data  json.RawMessage
	name  string // the registered event; "": none
}

type routedKey struct{}

// Value returns c itself for routedKey.
func (c *routed) Value(key any) any {
	if key == (routedKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// routedFrom returns the innermost routed of ctx, or nil.
func routedFrom(ctx context.Context) *routed {
	c, _ := ctx.Value(routedKey{}).(*routed)
	return c
}

var errForeignContext = errors.New("wshub: middleware has given a handler another context than the message's")

// decode decodes the message's data. c may be nil.
func (c *routed) decode(v any) error {
	switch {
	case c == nil:
		return errForeignContext
	case c.data == nil:
		return Message{Data: []byte("null")}.Decode(v)
	}
	return Message{Data: c.data}.Decode(v)
}

// answer sends an event that begins with head, with the message's id and v's JSON.
func (c *routed) answer(ctx context.Context, s *Session, head string, v any) error {
	x := encoders.Get().(*encoder)
	defer x.free()
	if err := x.event(head, c.env.ID, v); err != nil {
		return err
	}
	return s.Send(ctx, Message{Kind: KindText, Data: x.buf.Bytes()})
}

// errorHead begins the answer to what went wrong.
var errorHead = eventHead(errorEvent, "")

// fail answers a message that was not handled, or returns what closes the session.
func (c *routed) fail(s *Session, err error) error {
	var closeErr *CloseError
	if errors.As(err, &closeErr) || errors.Is(err, ErrPanic) || c.Err() != nil || errors.Is(err, ErrClosed) && s.hub.closedErr() != nil {
		return err
	}
	code, text, fault := errorAnswer(err)
	data := struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{code, text}
	sendErr := c.answer(c.Context, s, errorHead, &data)
	if sendErr != nil && errors.Is(err, ErrSessionClosed) {
		return err // of this session
	}
	s.emit(Event{Kind: EventError, Name: c.name, Cause: err})
	if fault {
		s.hub.log("mux event "+c.name, slog.LevelError, "message failed", "event", c.name, "session", s.id, "err", err)
	}
	return sendErr
}
