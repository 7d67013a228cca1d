package wshub

import "errors"

// ErrUnexpectedMessage is the cause of a session whose client sent a message after [Session.CloseRead]. The session is
// closed with 1008.
var ErrUnexpectedMessage = errors.New("wshub: unexpected message")

// CloseRead says that the session only sends. From then on a message of the client, one that nobody has taken yet
// included, closes the session at once with 1008, and [ErrUnexpectedMessage] is its cause. Messages gives nothing more
// and is closed when the session ends; pings, pongs and the client's close work as ever. A SessionFunc that does not
// range over Messages calls it first and waits for its context, which otherwise would wait up to 5 s for messages to be
// taken. It does not wait and may be called more than once.
func (s *Session) CloseRead() {
	s.mute.Store(true)
	if !s.mark(sendOnly) {
		return
	}
	s.beginReading()
	if s.discard() > 0 {
		s.unexpected()
	}
}

// discard takes all that waits in Messages, counts it as unread, and returns how much it was. It holds mu, since end
// counts what is there under it, and waits for nothing.
func (s *Session) discard() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for more := s.msgs != nil; more; {
		select {
		case _, more = <-s.msgs:
			if more {
				n++
			}
		default:
			more = false
		}
	}
	if !s.unlisted { // otherwise end has counted
		s.hub.counts.unread.Add(uint64(n))
	}
	return n
}

// unexpected closes a session that only sends, because of a message, which nobody takes.
func (s *Session) unexpected() {
	s.decide(verdict{code: StatusPolicyViolation, reason: "unexpected message", cause: ErrUnexpectedMessage}, atOnce)
}

// onlySends reports whether CloseRead was called.
func (s *Session) onlySends() bool { return s.mute.Load() }
