package wshub

import (
	"errors"
	"time"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/wire"
)

// closeWait bounds, each, how long a close of ours waits for the client's close frame, how long messages that arrived
// before the end keep the context alive, and how long a SessionFunc whose context has ended so may go on before the
// close.
const closeWait = 5 * time.Second

// A verdict is why a session closes. The first one stands.
type verdict struct {
	code   StatusCode
	reason string
	cause  error // nil for a normal close
	how    manner
	unless stage // it comes too late for a session that has come this far
}

// closedWith returns the verdict of a plain close.
func closedWith(code StatusCode, reason string) verdict {
	v := verdict{code: code, reason: wire.TruncateReason(reason)}
	switch code {
	case StatusNormalClosure, StatusGoingAway, StatusNoStatusRcvd:
	default:
		v.cause = &CloseError{Code: v.code, Reason: v.reason}
	}
	return v
}

// manner is how a session gets from the verdict to its end.
type manner uint8

const (
	graceful manner = iota // what is pending goes out, then the close frame
	asked                  // as graceful, after the SessionFunc has returned
	atOnce                 // the close frame goes out, what is pending does not
	gone                   // the client has sent its close frame, or broken the protocol: as asked, what came before is answered
	lost                   // there is nobody to send a close frame to
)

// stage says how far closing has come.
type stage uint16

const (
	decided  stage = 1 << iota // the verdict is known
	sealed                     // the subscriber takes nothing more
	flushed                    // what was pending has left
	sent                       // the close frame has left
	failed                     // a write failed: nothing leaves any more
	aborted                    // somebody wants the end now
	returned                   // the SessionFunc has returned
	byHand                     // there is no SessionFunc
	admitted                   // no longer subject to WithAdmission's timeout; never set once decided
	sendOnly                   // CloseRead was called
)

// mark adds to the stage and reports whether that was new. It wakes who reads.
func (s *Session) mark(st stage) bool {
	s.mu.Lock()
	fresh := s.stage&st != st
	s.stage |= st
	wake := s.wake
	s.mu.Unlock()
	if wake != nil {
		select {
		case wake <- struct{}{}:
		default: // it has not taken the last one yet, and looks at all of stage when it does
		}
	}
	return fresh
}

// waker returns the channel on which who reads hears of stages marked after the call, and the stage now.
func (s *Session) waker() (<-chan struct{}, stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	return s.wake, s.stage
}

// await waits until one of the wanted stages was reached, at most for d, and returns the stage. Only who has the role
// of reading calls it: a wake-up is for one.
func (s *Session) await(want stage, d time.Duration) stage {
	wake, st := s.waker()
	if st&want != 0 {
		return st
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-wake:
			if _, st = s.waker(); st&want != 0 {
				return st
			}
		case <-timer.C:
			_, st = s.waker()
			return st
		}
	}
}

// decide closes the session for the given reason, unless it is closing already, or has come as far as the verdict's
// unless. It does not wait. Who reads sees it through to the end, see conclude.
func (s *Session) decide(v verdict, how manner) bool {
	v.how = how
	s.mu.Lock()
	if s.stage&(decided|v.unless) != 0 {
		s.mu.Unlock()
		return false
	}
	s.verdict = v
	s.stage |= decided
	s.mu.Unlock()
	s.shut.Store(true)
	switch how {
	case graceful:
		s.seal()
	case atOnce:
		s.force()
	case lost:
		s.sub.Stop()
	}
	s.conn.Interrupt()
	s.mark(decided)
	s.beginReading() // if nobody reads who would see it to the end
	return true
}

// seal lets what was published and sent before leave, and nothing after.
func (s *Session) seal() {
	if s.mark(sealed) {
		s.sub.Seal() // hooks.Flushed goes on
	}
}

// force gives up what is pending and sends the close frame at once.
func (s *Session) force() {
	s.mark(sealed)
	s.sub.Stop()
	v := s.why()
	s.conn.QueueClose(int(v.code), v.reason)
}

// expel closes the session at once, also one that is closing gently: what it closes for stands then.
func (s *Session) expel(v verdict) {
	if !s.decide(v, atOnce) {
		s.force()
	}
}

// abort ends the connection without any wait.
func (s *Session) abort() {
	s.mark(failed | aborted)
	s.conn.CloseNow()
}

// why returns the verdict.
func (s *Session) why() verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verdict
}

// hooks is the session as its subscriber sees it. It is a type of its own so that the methods are not Session's.
type hooks Session

// Slow closes a session that a policy gave up.
func (o *hooks) Slow(t *fanout.Topic) {
	s := (*Session)(o)
	name := topicName(t)
	s.hub.counts.evicted.Add(1)
	s.emit(Event{Kind: EventEvicted, Topic: name})
	s.expel(verdict{code: StatusTryAgainLater, reason: "too slow", cause: slowError(name)})
}

// Failed closes a session that cannot be written to, or whose filter panicked.
func (o *hooks) Failed(err error) {
	s := (*Session)(o)
	var p *fanout.PanicError
	if errors.As(err, &p) {
		s.hub.logFilter(s, p)
		err = panicError(p.Value)
		s.emit(Event{Kind: EventError, Cause: err})
		s.expel(verdict{code: StatusInternalError, reason: "internal error", cause: err})
		return
	}
	s.decide(verdict{code: StatusAbnormalClosure, cause: writeError(err)}, lost)
	s.mark(failed)
}

// Flushed sends the close frame of a graceful close.
func (o *hooks) Flushed() {
	s := (*Session)(o)
	v := s.why()
	s.conn.QueueClose(int(v.code), v.reason)
	s.mark(flushed)
}

// CloseSent lets conclude wait for the client's close frame.
func (o *hooks) CloseSent() { (*Session)(o).mark(sent) }

// Dropped tells the events of what a policy dropped.
func (o *hooks) Dropped(t *fanout.Topic, n uint64) {
	s := (*Session)(o)
	s.emit(Event{Kind: EventDropped, Topic: topicName(t), N: n})
}

// conclude runs once reading has ended, on the reading goroutine or on one that Each has started for it: it ends
// Messages and the context, brings the closing handshake to its end and closes the connection. Each of its waits is
// bounded.
func (s *Session) conclude(readErr error) {
	v := s.why()
	s.endMessages()
	switch v.how {
	case lost:
		s.conn.CloseNow()
		s.awaitTaken()
		s.cancel(v.err())
		return
	case asked, gone:
		s.awaitTaken()
		s.cancel(v.err())
		s.await(returned|byHand|sealed|failed|aborted, closeWait)
		s.seal()
	}
	s.cancel(v.err())
	s.handshake(readErr)
	s.conn.CloseNow()
}

// handshake sees the close frame out and waits for the client's.
func (s *Session) handshake(readErr error) {
	if readErr != nil && !errors.Is(readErr, wire.ErrInterrupted) && !peerClosed(readErr) && !protocolBroken(readErr) {
		return // the connection failed
	}
	d := s.hub.opts.writeTimeout
	if s.await(flushed|sent|failed, d)&(flushed|sent|failed) == 0 {
		s.force()
	}
	if st := s.await(sent|failed, d); st&sent != 0 && st&failed == 0 {
		s.conn.AwaitClose(closeWait)
	}
}

// err returns what the context's cause is.
func (v verdict) err() error {
	if v.cause != nil {
		return v.cause
	}
	return &CloseError{Code: v.code, Reason: v.reason}
}

// endMessages closes Messages. Only conclude calls it, once, and nobody sends after.
func (s *Session) endMessages() {
	s.mu.Lock()
	s.deaf = true
	ch := s.msgs
	s.mu.Unlock()
	if ch != nil {
		close(ch)
	}
}

// awaitTaken waits until the messages that arrived before the end were taken, and with Each handled, the SessionFunc
// has returned, or the session is expelled, at most for closeWait: a handler that works them off needs its context.
// Nobody tells that the last was taken, so this looks, ever less often; sessions that end with nothing unread do not
// wait.
func (s *Session) awaitTaken() {
	busy := func() bool { return s.unread() > 0 || s.reading.handling.Load() }
	end := time.Now().Add(closeWait)
	for nap := time.Millisecond; busy() && time.Now().Before(end); nap = min(2*nap, 50*time.Millisecond) {
		if s.await(returned|sealed|aborted, nap)&(returned|sealed|aborted) != 0 {
			return
		}
	}
}
