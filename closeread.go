package wshub

import "errors"

// ErrUnexpectedMessage is the cause of a session whose client sent a message after [Session.CloseRead]. The session is
// closed with 1008.
var ErrUnexpectedMessage = errors.New("wshub: unexpected message")

// CloseRead says that the session only sends. From then on a message of the client, one that nobody has taken yet
// included, closes the session at once with 1008, and [ErrUnexpectedMessage] is its cause. Messages gives nothing more and is
// closed when the session ends; pings, pongs and the client's close work as ever. A SessionFunc that does not range over
// Messages calls it first and waits for its context, which otherwise would wait up to 5 s for messages to be taken. It
// does not wait and may be called more than once.
func (s *Session) CloseRead() {
	if !s.mark(sendOnly) {
		return
	}
	s.beginReading()
	// While it is retained the session does not end, which would count what is unread too.
	retained := s.retain()
	n := s.discard()
	if !retained {
		return // and has counted
	}
	if n > 0 {
		s.unexpected(n)
	}
	s.letGo()
}

// discard takes all that waits in Messages and returns how much it was.
func (s *Session) discard() (n int) {
	s.mu.Lock()
	ch := s.msgs
	s.mu.Unlock()
	for ch != nil {
		select {
		case _, ok := <-ch:
			if !ok {
				return n
			}
			n++
		default:
			return n
		}
	}
	return n
}

// unexpected closes a session that does not read because of n messages, which nobody takes.
func (s *Session) unexpected(n int) {
	s.hub.counts.unread.Add(uint64(n))
	s.decide(verdict{code: StatusPolicyViolation, reason: "unexpected message", cause: ErrUnexpectedMessage}, atOnce)
}

// onlySends reports whether CloseRead was called.
func (s *Session) onlySends() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage&sendOnly != 0
}

// retain makes the caller a holder, who has to let go, unless the session has none left or none yet.
func (s *Session) retain() bool {
	for {
		n := s.holders.Load()
		if n == 0 {
			return false
		}
		if s.holders.CompareAndSwap(n, n+1) {
			return true
		}
	}
}
