package wshub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/wshub-go/wshub/internal/fanout"
)

// order returns the lock under which what the hub knows of s changes: its memberships, their events, its admission.
func (s *Session) order() *sync.Mutex {
	r := &s.hub.reg
	return &r.orders[s.sub.ID()%uint64(len(r.orders))]
}

// join makes s a member.
func (st *topicState) join(ctx context.Context, s *Session, rule *fanout.Rule, where func(any) bool, replay int) error {
	h := st.hub
	if err := h.closedErr(); err != nil {
		return err
	}
	if s == nil || s.hub != h {
		return ErrNoSession
	}
	var data json.RawMessage
	order := s.order()
	for {
		identity := s.identities()
		err := s.authorize(ctx, st.name)
		if err != nil {
			return err
		}
		if data, err = s.memberData(); err != nil {
			return err
		}
		st.await(ctx)
		order.Lock()
		if s.identities() == identity {
			break
		}
		order.Unlock() // what was authorized is somebody else by now
		st.vacate()    // which may not be let in
	}
	defer order.Unlock()
	for {
		t := st.open()
		m, err := t.Join(s.sub, rule, where, replay)
		switch {
		case err == nil && !s.admit():
			m.Leave()
			st.tell(PresenceLeft, s, nil, false) // to a watcher whose list has seen it
			st.vacate()
			return ErrSessionClosed
		case err == nil:
			st.tell(PresenceJoined, s, data, false)
			s.emit(Event{Kind: EventJoined, Topic: st.name})
			return nil
		case errors.Is(err, fanout.ErrRetired):
			runtime.Gosched() // vanished between open and Join; the next open makes another
			continue
		}
		st.vacate()
		return joinError(err)
	}
}

// authorize asks the user's function whether s may join. A panic in it closes the session, whoever's goroutine this is.
func (s *Session) authorize(ctx context.Context, topic string) (err error) {
	f := s.hub.opts.authorize
	if f == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = s.broken("authorize", p, debug.Stack())
		}
	}()
	if err = f(ctx, s, topic); err != nil && !errors.Is(err, ErrUnauthorized) {
		err = fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	return err
}

// broken closes the session because of a panic in user code, whoever's goroutine this is, and returns the error.
func (s *Session) broken(where string, value any, stack []byte) error {
	err := s.panicked(where, value, stack)
	if s.decide(verdict{code: StatusInternalError, reason: "internal error", cause: err}, graceful) {
		s.emit(Event{Kind: EventError, Cause: err})
	}
	return err
}

// member returns the membership of s, or nil.
func (st *topicState) member(s *Session) *fanout.Member {
	t := st.live.Load()
	if t == nil || s == nil || s.hub != st.hub {
		return nil
	}
	return s.sub.Member(t)
}

// leave ends the membership of s and reports whether there was one.
func (st *topicState) leave(s *Session) bool {
	order := s.order()
	order.Lock()
	defer order.Unlock()
	return st.leaveLocked(s)
}

// leaveLocked is leave. Callers hold the session's order lock.
func (st *topicState) leaveLocked(s *Session) bool {
	m := st.member(s)
	if m == nil || !m.Leave() {
		return false
	}
	st.tell(PresenceLeft, s, nil, s.ended())
	s.emit(Event{Kind: EventLeft, Topic: st.name})
	st.vacate()
	return true
}

// leaveAll ends all memberships of s but that of everyone.
func (h *Hub) leaveAll(s *Session) {
	for _, m := range s.sub.Members() {
		if st, ok := m.Topic().Tag().(*topicState); ok {
			st.leave(s)
		}
	}
}

// sessionTopics ranges over the names of the topics that s is a member of.
func (h *Hub) sessionTopics(s *Session) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, m := range s.sub.Members() {
			if st, ok := m.Topic().Tag().(*topicState); ok && !yield(st.name) {
				return
			}
		}
	}
}

// topicName returns the name of an engine's topic; "" for those that are the hub's own.
func topicName(t *fanout.Topic) string {
	if st, ok := t.Tag().(*topicState); ok {
		return st.name
	}
	return ""
}
