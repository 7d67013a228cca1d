package wshub

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wshub-go/wshub/internal/queue"
	"github.com/wshub-go/wshub/internal/wire"
)

// Sender is what a message can be sent to: a [*Session] or an [Audience]. Send must not keep the message's bytes: those
// of [SendEvent] are used again once it has returned.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// SendJSON sends v as JSON in a text message. The error is that of [JSON] when v cannot be encoded, otherwise Send's.
func SendJSON(ctx context.Context, to Sender, v any) error {
	m, err := JSON(v)
	if err != nil {
		return err
	}
	return to.Send(ctx, m)
}

// SendEvent sends v as the data of an event, in the envelope that a [Mux] takes and [AsEvent] gives topics:
//
//	{"event":"presence","data":{"kind":"joined","members":[]}}
//
// A [Message] must be text that is JSON, and is the data as it stands. The error is json's when v cannot be encoded,
// tells when the event is empty, no UTF-8 or "error", and is otherwise Send's.
func SendEvent(ctx context.Context, to Sender, event string, v any) error {
	if err := checkEvent(event); err != nil {
		return fmt.Errorf("wshub: send event: %w", err)
	}
	if m, ok := v.(Message); ok {
		v = &m
	}
	x := encoders.Get().(*encoder)
	defer x.free()
	if err := x.event(eventHead(event, ""), nil, v); err != nil {
		return fmt.Errorf("wshub: send event %q: %w", event, err)
	}
	return to.Send(ctx, Message{Kind: KindText, Data: x.buf.Bytes()})
}

// Audience is a set of sessions, evaluated at each call: [Hub.Everyone], [Hub.User] or [Hub.To]. It is a small
// immutable value. The zero Audience is nobody.
//
// With [WithBus] it has the sessions of all nodes of the cluster; exceptions are sessions of this node. What is asked of
// other nodes happens there soon after the call, if it does: the bus may lose it, and nobody tells. So nobody to send
// to, to close, or to take out of a topic is no error then, as long as there may be somebody elsewhere: the zero
// Audience, User(""), and [Hub.To] an id of this node, of a node that is not known, or of no node, still are.
type Audience struct {
	h      *Hub
	kind   audienceKind
	id     string   // of the user or session
	except []uint64 // subscriber ids; never changed, copied to grow
}

type audienceKind uint8

const (
	everyone audienceKind = iota + 1
	ofUser
	oneSession
)

// Everyone returns all sessions.
func (h *Hub) Everyone() Audience { return Audience{h: h, kind: everyone} }

// User returns the sessions of a user. User("") is nobody.
func (h *Hub) User(id string) Audience { return Audience{h: h, kind: ofUser, id: id} }

// To returns the session with the given id.
func (h *Hub) To(sessionID string) Audience { return Audience{h: h, kind: oneSession, id: sessionID} }

// Except returns the audience without the given sessions. nil, ended ones and those of another hub are ignored.
func (a Audience) Except(sessions ...*Session) Audience {
	except := slices.Clone(a.except)
	for _, s := range sessions {
		if s != nil && a.h != nil && s.hub == a.h {
			except = append(except, s.sub.ID())
		}
	}
	a.except = except
	return a
}

// String names the audience.
func (a Audience) String() string {
	name := "nobody"
	switch a.kind {
	case everyone:
		name = "everyone"
	case ofUser:
		name = fmt.Sprintf("user %q", a.id)
	case oneSession:
		name = "session " + a.id
	}
	if len(a.except) > 0 {
		name += " with exceptions"
	}
	return name
}

// Send sends a message to each session of the audience. The message's bytes are not retained. Everyone is reached as
// the members of a topic are, under the hub's policy: Send waits, bounded by ctx, only while its log is full or, with
// [Block], a session has its fill. Others are reached as by [Session.Send]: Send waits for those for whom too much is
// pending, after it has reached the rest. Sessions that close meanwhile are passed over. Errors: [ErrNoSession] for
// nobody to send to, [ErrSessionClosed] for [Hub.To] a session that is closing, [ErrKind] and [ErrUTF8] for a message
// that no client may get, [ErrClosed], and [ErrPendingFull] when ctx ended the wait: of everyone nobody has got the
// message then, of a user's sessions those that had room.
//
// Messages to everyone come to other nodes in the order in which they were sent, and a gap in them is told, see
// [EventGap]; with [RequireBus] in the hub's policy the error is as of [Topic.Publish]. Messages to users and sessions
// come in their order too, without anybody who tells of a gap.
func (a Audience) Send(ctx context.Context, m Message) error {
	if err := a.send(ctx, m); err != nil {
		return fmt.Errorf("send to %v: %w", a, err)
	}
	return nil
}

func (a Audience) send(ctx context.Context, m Message) error {
	if a.h == nil {
		return ErrNoSession
	}
	if err := a.h.closedErr(); err != nil {
		return err
	}
	if a.kind == everyone {
		return a.publish(ctx, m)
	}
	if a.kind == oneSession { // the common case, without a slice
		s := a.h.table.get(a.id)
		if s == nil {
			return a.sendFar(m)
		}
		if !a.has(s) {
			return ErrNoSession
		}
		e := a.h.engine.Entry()
		if err := m.fill(e); err != nil {
			return err
		}
		return sendError(s.sub.Send(ctx, e))
	}
	sessions := a.sessions()
	if len(sessions) == 0 {
		return a.sendFar(m)
	}
	// First those that take it at once, so that one that lags delays nobody else.
	var full []*Session
	var entries []*queue.Entry
	reached := 0
	for _, s := range sessions {
		e := a.h.engine.Entry()
		if err := m.fill(e); err != nil {
			return err
		}
		switch err := s.sub.TrySend(e); {
		case errors.Is(err, queue.ErrFull):
			full, entries = append(full, s), append(entries, e)
		case err == nil:
			reached++
		}
	}
	if a.h.mesh != nil { // before any wait; m was checked above
		a.h.mesh.Send(a.to(), m.payload())
	}
	for i, s := range full {
		switch err := sendError(s.sub.Send(ctx, entries[i])); {
		case err == nil:
			reached++
		case !errors.Is(err, ErrSessionClosed):
			return err
		}
	}
	if reached == 0 && a.h.mesh == nil {
		return ErrNoSession // all of them closed meanwhile
	}
	return nil
}

// publish sends to everyone.
func (a Audience) publish(ctx context.Context, m Message) error {
	if a.h.mesh != nil {
		return a.publishFar(ctx, m)
	}
	// Looking who is there costs as much as there are sessions: only when the exceptions may be all of them.
	if n := a.h.Len(); n == 0 || n <= len(a.except) && a.count() == 0 {
		return ErrNoSession
	}
	e := &queue.Entry{Except: a.except}
	if err := m.fill(e); err != nil {
		return err
	}
	return sendError(a.h.everyone.Publish(ctx, e))
}

// Close closes each session of the audience at once: what is pending for it is not sent. It is the call to kick with;
// [Session.Close] is the polite one. A session that is closing already is cut off too, and keeps what it closes for. It
// does not wait; sessions of other nodes close soon after. Nobody to close is [ErrNoSession]; the code is checked as by
// Session.Close.
func (a Audience) Close(ctx context.Context, code StatusCode, reason string) error {
	if !code.valid() {
		return fmt.Errorf("close %v: %w", a, badCode(code))
	}
	sessions := a.sessions()
	far := a.far(len(sessions)) && a.h.mesh.Kick(a.to(), uint16(code), wire.TruncateReason(reason))
	for _, s := range sessions {
		s.expel(closedWith(code, reason))
	}
	if len(sessions) == 0 && !far {
		return fmt.Errorf("close %v: %w", a, ErrNoSession)
	}
	return nil
}

// Leave ends the membership of each session of the audience in the topic of the given full name, as [Topic.Leave] does.
// It does not wait; sessions of other nodes leave soon after. Nobody in the audience is [ErrNoSession], nobody of it in
// the topic [ErrNotMember].
func (a Audience) Leave(ctx context.Context, topic string) error {
	if err := a.leave(topic); err != nil {
		return fmt.Errorf("%v leaves %q: %w", a, clip(topic), err)
	}
	return nil
}

func (a Audience) leave(topic string) error {
	sessions := a.sessions()
	far := a.far(len(sessions)) && validateName(topic) == nil && a.h.mesh.Leave(a.to(), topic)
	if len(sessions) == 0 && !far {
		return ErrNoSession
	}
	n := 0
	if st := a.h.reg.living(topic); st != nil {
		for _, s := range sessions {
			if st.leave(s) {
				n++
			}
		}
	}
	if n == 0 && !far {
		return ErrNotMember
	}
	return nil
}

// Count returns the number of sessions in the audience. Without a bus it does not wait, and the error is nil.
//
// In a cluster that of everyone does not wait either: it is as the other nodes have last told, see [WithPresence]. For
// [Hub.User] and [Hub.To] Count asks them, and waits until all have answered, or are gone. When ctx ends first, the
// count is of those that have answered, and the error is ctx's; do not give it a context without an end.
func (a Audience) Count(ctx context.Context) (int, error) {
	n := a.count()
	if a.h == nil || a.h.mesh == nil || a.h.closedErr() != nil {
		return n, nil
	}
	more, err := a.countFar(ctx)
	if err != nil {
		err = fmt.Errorf("count %v: %w", a, err)
	}
	return n + more, err
}

func (a Audience) count() int {
	if a.kind == everyone && len(a.except) == 0 {
		return a.h.Len()
	}
	return len(a.sessions())
}

// has reports whether s is not excepted.
func (a Audience) has(s *Session) bool { return !slices.Contains(a.except, s.sub.ID()) }

// sessions returns who is in the audience now.
func (a Audience) sessions() []*Session {
	var all []*Session
	switch {
	case a.h == nil:
	case a.kind == everyone:
		for s := range a.h.table.all {
			all = append(all, s)
		}
	case a.kind == ofUser && a.id != "":
		all = a.h.table.ofUser(nil, a.id)
	case a.kind == oneSession:
		if s := a.h.table.get(a.id); s != nil {
			all = append(all, s)
		}
	}
	if len(a.except) > 0 {
		all = slices.DeleteFunc(all, func(s *Session) bool { return !a.has(s) })
	}
	return all
}
