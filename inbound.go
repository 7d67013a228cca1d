package wshub

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/wshub-go/wshub/internal/wire"
)

// ErrTooManyMessages is the cause of a session whose client sent more than the policy of [WithInbound] allows. It
// matches [ErrLimit]; the session is closed with 1008.
var ErrTooManyMessages = fmt.Errorf("%w: too many messages", ErrLimit)

// inbound is the policy of WithInbound in the terms of who reads. Immutable after New.
type inbound struct {
	n        int           // messages that wait for the handler
	bytes    int64         // their bytes; one message always waits
	overflow overflowKind  // what happens to one more
	wait     time.Duration // Evict: the grace; Block: the longest pause
	coalesce bool          // one message waits, the latest

	limit     rate.Limit // messages a second, 0: no limit
	burst     int
	byteLimit rate.Limit // bytes a second, 0: no limit
	byteBurst int
}

// newInbound checks the policy given and compiles it.
func newInbound(given Policy) (inbound, error) {
	p := defaultInbound().With(given)
	if err := p.validate(policyScope{place: placeInbound, given: given}); err != nil {
		return inbound{}, err
	}
	in := inbound{n: p.n, bytes: p.maxBytes, overflow: p.overflow, wait: p.age, coalesce: p.conflate}
	if in.coalesce {
		in.n = 1
	}
	if p.rate != rate.Inf {
		in.limit, in.burst = p.rate, p.burst
	}
	if p.rateBytes != rate.Inf {
		in.byteLimit, in.byteBurst = p.rateBytes, p.burstBytes
	}
	return in, nil
}

// reader is what the reading goroutine keeps beside the session; only it uses it.
type reader struct {
	s     *Session
	rule  *inbound
	ch    chan Message // Messages, once something was put there
	last  []put        // the messages put into Messages since it was empty, at most the last rule.n: a ring
	count int          // how many that were
}

// put is a message in Messages, or that was.
type put struct {
	at   time.Duration // when it came in, since the session was accepted
	size int
}

// read is the reading goroutine: it takes the client's messages in until the session closes, and brings the session to
// its end. The session owns it; it ends after the closing handshake, whose every wait is bounded.
func (s *Session) read() {
	err := s.receive()
	s.readEnded(err)
	s.leaveOff(err)
}

// leaveOff is what comes after reading.
func (s *Session) leaveOff(err error) {
	defer s.letGo()
	s.conclude(err)
}

// receive reads until the session closes or reading fails. A nil error means that a close was decided elsewhere.
//
// Between two messages it waits in ReadMessage, and no deeper than a goroutine's first 2 KiB of stack: what works on a
// message is in functions of its own, whose frames are gone then.
func (s *Session) receive() error {
	r := reader{s: s, rule: &s.hub.inbound}
	for {
		op, data, err := s.conn.ReadMessage()
		if err != nil {
			return err
		}
		switch s.arrived(len(data)) {
		case comesIn:
			if !r.receive(op, data) {
				return nil
			}
		case comesLast:
			return nil
		}
	}
}

// entry is what becomes of a message that was read.
type entry int

const (
	comesIn   entry = iota // it is for the handler
	comesNot               // the rate does not let it in
	comesLast              // nor that: the session closes
)

// arrived counts a message of n bytes and applies the rate to it. Only who has the role of reading calls it.
//
//go:noinline
func (s *Session) arrived(n int) entry {
	s.hub.counts.received.Add(1)
	s.hub.counts.receivedBytes.Add(uint64(n))
	switch {
	case s.onlySends():
		s.lose()
		s.unexpected()
		return comesLast
	case s.within(n):
		return comesIn
	case s.ended():
		return comesLast
	}
	return comesNot
}

// received makes a message of what was read; the bytes are the receiver's.
func (s *Session) received(op wire.Opcode, data []byte) Message {
	m := Message{Kind: KindBinary, Data: data, Time: s.conn.Complete()}
	if op == wire.OpText {
		m.Kind = KindText
	}
	return m
}

// readEnded decides the close that the end of reading asks for, unless one was decided before.
func (s *Session) readEnded(err error) {
	if err == nil || errors.Is(err, wire.ErrInterrupted) {
		return // whoever interrupted has decided
	}
	if peer, ok := errors.AsType[*wire.PeerClose](err); ok {
		s.decide(closedWith(StatusCode(peer.Code), peer.Reason), gone)
	} else if broken, ok := errors.AsType[*wire.ProtocolError](err); ok {
		s.decide(verdict{code: StatusCode(broken.Code), reason: broken.Reason, cause: protocolError(broken)}, gone)
	} else {
		s.decide(verdict{code: StatusAbnormalClosure, cause: fmt.Errorf("wshub: connection lost: %w", err)}, lost)
	}
}

func peerClosed(err error) bool {
	_, ok := errors.AsType[*wire.PeerClose](err)
	return ok
}

func protocolBroken(err error) bool {
	_, ok := errors.AsType[*wire.ProtocolError](err)
	return ok
}

// limiters returns what the rates of the policy are applied with, for one session; nil for no limit.
func (in *inbound) limiters() (msgs, bytes *rate.Limiter) {
	if in.limit > 0 {
		msgs = rate.NewLimiter(in.limit, in.burst)
	}
	if in.byteLimit > 0 {
		bytes = rate.NewLimiter(in.byteLimit, in.byteBurst)
	}
	return msgs, bytes
}

// within applies the rate to a message of n bytes. false: it is not delivered, because it was dropped and counted, or
// because the session closes.
func (s *Session) within(n int) bool {
	if s.reading.msgRate == nil && s.reading.byteRate == nil {
		return true
	}
	rule, now := &s.hub.inbound, time.Now()
	switch {
	case rule.coalesce || rule.overflow == overflowBlock:
		return s.delay(now, n)
	case s.allow(now, n):
		return true
	case rule.overflow == overflowEvict:
		s.tooMany()
		return false
	}
	s.dropped(1)
	return false
}

// allow takes the tokens for a message of n bytes, or none.
func (s *Session) allow(now time.Time, n int) bool {
	msgs, bytes := s.reading.msgRate, s.reading.byteRate
	if bytes != nil {
		n = min(n, s.hub.inbound.byteBurst) // a message over the burst takes all of it
		if msgs != nil && bytes.TokensAt(now) < float64(n) {
			return false
		}
	}
	if msgs != nil && !msgs.AllowN(now, 1) {
		return false
	}
	return bytes == nil || bytes.AllowN(now, n)
}

// delay takes the tokens for a message of n bytes and waits until they are due. A message that waits has not been
// taken: false, with the session closing, when CloseRead is called meanwhile.
func (s *Session) delay(now time.Time, n int) bool {
	rule := &s.hub.inbound
	var d time.Duration
	if msgs := s.reading.msgRate; msgs != nil {
		d = msgs.ReserveN(now, 1).DelayFrom(now)
	}
	if bytes := s.reading.byteRate; bytes != nil {
		d = max(d, bytes.ReserveN(now, min(n, rule.byteBurst)).DelayFrom(now))
	}
	if d <= 0 {
		return true
	}
	if d > rule.wait && !rule.coalesce {
		s.tooMany()
		return false
	}
	if s.await(decided|sendOnly, d)&(decided|sendOnly) == 0 {
		return true
	}
	s.lose()
	s.unexpected() // unless the session closes: then this changes nothing
	return false
}

// receive delivers what was read. false: the session closes.
//
//go:noinline
func (r *reader) receive(op wire.Opcode, data []byte) bool {
	m := r.s.received(op, data)
	return r.deliver(&m)
}

// deliver puts m into Messages as the policy says. false: the session closes.
func (r *reader) deliver(m *Message) bool {
	if r.ch == nil {
		r.ch, _ = r.s.inbox()
	}
	ch := r.ch
	for !r.s.ended() {
		if r.s.onlySends() {
			r.s.lose()
			r.s.unexpected()
			return false
		}
		if r.fits(ch, m) {
			select {
			case ch <- *m:
				return r.delivered(m)
			default:
			}
		}
		switch {
		case r.rule.coalesce, r.rule.overflow == overflowDropOldest:
			select {
			case <-ch: // nobody else sends, so there is room now
				r.s.dropped(1)
			default:
			}
		case r.rule.overflow == overflowDropNewest:
			r.s.dropped(1)
			return true
		default:
			return r.hold(ch, m)
		}
	}
	r.s.lose()
	return false
}

// hold pauses until there is room for m, and gives the client up when that takes too long.
func (r *reader) hold(ch chan Message, m *Message) bool {
	patience := r.rule.wait
	if r.rule.overflow == overflowEvict {
		patience -= r.longest(ch)
	}
	if r.pause(ch, m, max(patience, 0)) {
		return r.delivered(m)
	}
	r.s.tooMany() // unless the session closes: then this changes nothing
	return false
}

// delivered notes that m is in Messages. CloseRead marks before it empties Messages, and this looks after m was put
// there: one of the two finds m, unless somebody took it before. false: the session closes.
func (r *reader) delivered(m *Message) bool {
	r.note(m)
	if !r.s.onlySends() {
		return true
	}
	if r.s.discard() > 0 {
		r.s.unexpected()
	}
	return !r.s.ended()
}

// pause stops reading until ch has taken m (true), d is over, or the session closes.
func (r *reader) pause(ch chan Message, m *Message, d time.Duration) bool {
	wake, st := r.s.waker()
	var over <-chan time.Time
	if d < forever {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	for nap := time.Millisecond; st&decided == 0; nap = min(2*nap, 50*time.Millisecond) {
		// While too many bytes wait there may be room in the channel: nobody tells when a message was taken, so this
		// looks, ever less often.
		out, look := ch, (<-chan time.Time)(nil)
		if !r.fits(ch, m) {
			out, look = nil, time.After(nap)
		}
		select {
		case out <- *m:
			return true
		case <-look:
		case <-wake:
		case <-over:
			return false
		}
		_, st = r.s.waker()
	}
	return false
}

// fits reports whether the bytes that wait leave room for m.
func (r *reader) fits(ch chan Message, m *Message) bool {
	waiting := r.waiting(ch)
	if waiting == 0 {
		return true
	}
	total := int64(len(m.Data))
	for i := 1; i <= waiting; i++ {
		total += int64(r.last[(r.count-i)%len(r.last)].size)
	}
	return total <= r.rule.bytes
}

// waiting returns how many of the last messages nobody has taken. It forgets those before when there are none.
func (r *reader) waiting(ch chan Message) int {
	n := min(len(ch), len(r.last))
	if n == 0 {
		r.last, r.count = r.last[:0], 0
	}
	return n
}

// note remembers m as the newest in Messages.
func (r *reader) note(m *Message) {
	p := put{m.Time.Sub(r.s.connected), len(m.Data)}
	if len(r.last) < r.rule.n {
		r.last = append(r.last, p)
	} else {
		r.last[r.count%r.rule.n] = p
	}
	r.count++
}

// longest returns for how long the oldest message has waited.
func (r *reader) longest(ch chan Message) time.Duration {
	waiting := r.waiting(ch)
	if waiting == 0 {
		return 0
	}
	return time.Since(r.s.connected) - r.last[(r.count-waiting)%len(r.last)].at
}

// dropped counts messages that the policy skipped.
func (s *Session) dropped(n uint64) {
	if s.hub.inbound.coalesce {
		s.hub.counts.inboundCoalesced.Add(n)
		return
	}
	s.hub.counts.inboundDropped.Add(n)
	s.emit(Event{Kind: EventDropped, N: n})
}

// lose counts the message at hand, which nobody can take any more.
func (s *Session) lose() { s.hub.counts.unread.Add(1) }

// tooMany closes a session whose client sends more than the policy allows, with the message at hand.
func (s *Session) tooMany() {
	s.lose()
	s.decide(verdict{code: StatusPolicyViolation, reason: "too many messages", cause: ErrTooManyMessages}, atOnce)
}

// unread returns how many messages nobody has taken.
func (s *Session) unread() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.msgs)
}
