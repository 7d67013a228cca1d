package wshub

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Identity is who a session is, as [Authenticate] found out.
type Identity struct {
	User    string    // the user's id; "" for nobody in particular
	Expires time.Time // when the session closes with 1008; zero: never
	Claims  any       // whatever else authentication knows; the hub hands it through
}

// expired reports whether the identity is over at now, by the wall clock: it is what a token means, and the engine's
// timers.
func (i Identity) expired(now time.Time) bool {
	return !i.Expires.IsZero() && !i.Expires.Round(0).After(now)
}

// Identity returns who the session is.
func (s *Session) Identity() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ident
}

// User returns the user's id, "" when there is none.
func (s *Session) User() string { return s.Identity().User }

// SetUser makes id the session's user; "" makes it nobody's. The rest of its identity stays, and so do its memberships,
// which [Session.Renew] would ask about again. It fails with [ErrTooManySessionsPerUser] when the user has as many
// sessions as [Limits] allow, and with [ErrSessionClosed] once the session is closing. Call it with ids that
// authentication vouches for, never with one out of a message.
func (s *Session) SetUser(id string) error {
	order := s.order()
	order.Lock()
	defer order.Unlock()
	s.mu.Lock()
	admits, err := s.setUserLocked(id)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("set user %q: %w", id, err)
	}
	if admits {
		s.enroll()
	}
	return nil
}

// setUserLocked is SetUser under the order lock and mu. When the user is what admits the session, enroll has to follow.
func (s *Session) setUserLocked(id string) (admits bool, err error) {
	t := &s.hub.table
	switch {
	case s.unlisted || s.stage&decided != 0:
		return false, ErrSessionClosed
	case id == s.ident.User:
		return false, nil
	}
	if id != "" && !t.reserveUser(id, s.hub.opts.limits.SessionsPerUser) {
		return false, ErrTooManySessionsPerUser
	}
	if s.ident.User != "" {
		t.removeUser(s, s.ident.User)
	}
	if id != "" {
		t.addUser(s, id)
		admits = s.stage&admitted == 0 && s.admitLocked()
	}
	s.ident.User = id
	return admits, nil
}

// Renew gives the session another identity, whole, as after its client has sent a new token; the old one's Expires no
// longer counts. [Authorize] is then asked again about each topic that the session is in, one after the other, and the
// session leaves those it may not be in any more. The error joins these refusals, which match [ErrUnauthorized]; a
// SessionFunc that returns it closes its session with 1008, one that does not goes on without those topics. Renew waits
// for Authorize and for nothing else; ctx is Authorize's.
//
// Nothing has changed when the error is [ErrSessionClosed], [ErrTooManySessionsPerUser], or [ErrExpired], for an
// identity that is over already: the session then still closes when its old identity expires.
func (s *Session) Renew(ctx context.Context, ident Identity) error {
	// Under the order lock: a join that was authorized for the old identity has happened by now, or will ask again.
	order := s.order()
	order.Lock()
	admits, err := s.setIdentity(ident)
	if admits {
		s.enroll()
	}
	members := s.sub.Members()
	order.Unlock()
	if err != nil {
		return fmt.Errorf("renew session %s: %w", s.id, err)
	}
	var errs []error
	for _, m := range members {
		st, ok := m.Topic().Tag().(*topicState)
		if !ok {
			continue
		}
		if err := s.reauthorize(ctx, st); err != nil {
			errs = append(errs, fmt.Errorf("renew session %s: left %q: %w", s.id, st.name, err))
		}
	}
	return errors.Join(errs...)
}

// reauthorize asks again whether s may be in the topic, and makes it leave if not. The error says that it has left.
func (s *Session) reauthorize(ctx context.Context, st *topicState) error {
	order := s.order()
	for {
		identity := s.identities()
		err := s.authorize(ctx, st.name)
		if err == nil {
			return nil // or it is somebody else by now: whose Renew asks for itself
		}
		order.Lock()
		stale, left := s.identities() != identity, false
		if !stale {
			left = st.leaveLocked(s)
		}
		order.Unlock()
		switch {
		case left:
			return err
		case !stale:
			return nil // it has left by itself
		}
	}
}

// setIdentity replaces the identity and the timer of its end. When its user is what admits the session, enroll has to
// follow. Callers hold the order lock.
func (s *Session) setIdentity(ident Identity) (admits bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ident.expired(time.Now()) {
		return false, ErrExpired
	}
	if admits, err = s.setUserLocked(ident.User); err != nil {
		return false, err
	}
	s.ident = ident
	s.renewals++
	s.expireLocked()
	return admits, nil
}

// identities returns how often the session's identity was replaced.
func (s *Session) identities() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewals
}

// expireLocked arms the timer that closes the session when its identity expires, in place of an earlier one.
func (s *Session) expireLocked() {
	if s.expiry != nil {
		s.expiry()
		s.expiry = nil
	}
	at := s.ident.Expires
	if s.unlisted || at.IsZero() || time.Until(at) > maxAge { // tokens for ever end in the year 9999, beyond an int64 of nanoseconds
		return
	}
	identity := s.renewals
	s.expiry = s.hub.engine.At(at, func() {
		if s.identities() == identity { // Renew has not replaced it since the timer fired
			s.expel(verdict{code: StatusPolicyViolation, reason: "identity expired", cause: ErrExpired})
		}
	})
}
