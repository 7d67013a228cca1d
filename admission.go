package wshub

import (
	"errors"
	"fmt"
	"time"

	"github.com/wshub-go/wshub/internal/fanout"
)

// ErrNotAdmitted is the cause of a session that had neither a user nor a topic within the time of [WithAdmission]. It
// matches [ErrUnauthorized]; the session is closed with 1008.
var ErrNotAdmitted = fmt.Errorf("%w: not admitted in time", ErrUnauthorized)

// Admission is one step, from the mark on the stage to the EventConnected, under the session's order lock: whoever
// joins or gets a user beside it returns when the session can be found, and the end of a session waits for the step and
// finds all that it has put anywhere.

// hold keeps a new session out of everything until it is admitted, and closes it if that takes too long. Nobody else
// knows the session yet.
func (s *Session) hold() {
	s.patience = s.hub.engine.At(time.Now().Add(s.hub.opts.admission), func() {
		v := verdict{code: StatusPolicyViolation, reason: "not admitted in time", cause: ErrNotAdmitted, unless: admitted}
		s.decide(v, atOnce)
	})
	s.hub.table.hold(s)
}

// admit lets s in, unless it is already. It fails once the session is closing: a session that ends without it was never
// there. Callers hold the order lock.
func (s *Session) admit() bool {
	s.mu.Lock()
	stage := s.stage
	ok := s.admitLocked()
	s.mu.Unlock()
	if ok && stage&admitted == 0 {
		s.enroll()
	}
	return ok
}

// admitLocked is the decision of admit. When it is what admits, enroll has to follow. Callers hold the order lock and
// mu.
func (s *Session) admitLocked() bool {
	if s.stage&admitted != 0 {
		return true
	}
	if s.stage&decided != 0 {
		return false
	}
	s.stage |= admitted
	return true
}

// enroll makes an admitted session a member of everyone, found by its id, and announced. Callers hold the order lock,
// or nobody else knows the session.
func (s *Session) enroll() {
	h := s.hub
	s.dropPatience()
	// Everyone has no limit of its own. A session that a policy or its client has closed since needs no message.
	if _, err := h.everyone.Join(s.sub, h.rule, nil, 0); err != nil && !errors.Is(err, fanout.ErrStopped) {
		panic("wshub: join everyone: " + err.Error())
	}
	h.table.add(s, func() { s.emit(Event{Kind: EventConnected}) })
	s.announced()
}

// settleAdmission waits for an admission under way and drops the timer of one that has not come. None begins once the
// session is closing.
func (s *Session) settleAdmission() {
	order := s.order()
	order.Lock()
	defer order.Unlock()
	s.dropPatience()
}

// dropPatience cancels the timer of WithAdmission.
func (s *Session) dropPatience() {
	s.mu.Lock()
	patience := s.patience
	s.patience = nil
	s.mu.Unlock()
	if patience != nil {
		patience()
	}
}
