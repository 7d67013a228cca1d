package wshub

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/wire"
)

// Reading is a role of a session, which one goroutine has at a time. Usually a reading goroutine takes it in Accept.
// When the session is served by [Each], and nothing is queued by the policy for received messages, Each takes it, and
// reads and handles on the SessionFunc's own goroutine: such a session has no other. While its function is busy nobody
// reads, so when that lasts, or the session closes, a reading goroutine relieves it, for good; it hears of a client
// that goes away and ends the function's context, and what it reads is queued as for everybody else. So it does when
// middleware keeps Each from beginning.
//
// Whoever changes the role from none or busy to reader starts the reading goroutine. The role is waiting while Each is
// in ReadMessage, which a close interrupts: then it is Each that starts the goroutine which concludes.
const (
	roleLater   int32 = iota // nobody may read before the session is open: who reads may end it
	roleNone                 // nobody reads yet: Each is to come
	roleReader               // a reading goroutine, or none any more
	roleWaiting              // Each, waiting for a message; only Each leaves it
	roleBusy                 // Each, handling one
)

// relief is how long Each may take to begin, and its function for a message, before a goroutine that reads is started
// beside it.
const relief = 50 * time.Millisecond

// reading is who reads.
type reading struct {
	role    atomic.Int32
	served  atomic.Uint64 // messages that Each has begun; stored by Each before the role is busy
	watched atomic.Bool   // the timer will look whether Each has begun, and is not busy with the same message still
	timer   *fanout.Timer // nil until first wanted; of who has set watched, as are seen and twice
	seen    uint64        // of served when watching began
	twice   bool          // the timer has found the same message once

	handling atomic.Bool // Each is at a message

	msgRate, byteRate *rate.Limiter // of WithInbound; nil without a limit; immutable after open
}

// beginReading starts the reading goroutine, unless somebody reads who can go on reading. It reports whether it did.
func (s *Session) beginReading() bool {
	r := &s.reading.role
	if !r.CompareAndSwap(roleNone, roleReader) && !r.CompareAndSwap(roleBusy, roleReader) {
		return false
	}
	go s.read() // owner: the session; see read
	return true
}

// watchBusy sees to it that Each is relieved when it is busy with one message for long. There is at most one timer under
// way, and none while no messages come. Each has stored the role before it looks at watched, and the timer does the
// opposite: one of the two sees the other. It is the same timer each time: one made for each message cost a slow
// talker's three allocations.
//
// The timer looks twice. After one look a process that had stood still for a moment gave every session that was busy
// then a second goroutine for good: up to 10 of 1,000 that echoed.
func (s *Session) watchBusy() {
	r := &s.reading
	if r.watched.Load() || !r.watched.CompareAndSwap(false, true) {
		return
	}
	if r.timer == nil {
		r.timer = s.hub.engine.NewTimer(s.relieve)
	}
	r.seen, r.twice = r.served.Load(), false
	r.timer.Start(nextLook(time.Now()))
}

// nextLook returns when the timer of a session looks next. It is the same time for many sessions, so that those which
// talk now and then do not each wake the engine up for it.
func nextLook(now time.Time) time.Time {
	const grid = relief / 10
	return now.Add(relief/2 - 1).Truncate(grid).Add(grid)
}

// relieve is called by the timer.
func (s *Session) relieve() {
	r := &s.reading
	role := r.role.Load()
	if r.served.Load() == r.seen && (role == roleBusy || role == roleNone) {
		if !r.twice {
			r.twice = true
			r.timer.Start(nextLook(time.Now()))
			return
		}
		// Should Each have come to another message since, it is relieved too early, and nothing is lost but the saving.
		if s.beginReading() {
			return
		}
	}
	r.watched.Store(false)
	if r.role.Load() == roleBusy {
		s.watchBusy()
	}
}

// queues reports whether the policy may keep messages, or give up a client, while the handler is busy.
func (in *inbound) queues() bool {
	return in.coalesce || in.overflow != overflowBlock || in.wait < forever
}

// each calls fn for each message, see [Each].
func (s *Session) each(ctx context.Context, fn MessageFunc) error {
	r := &s.reading
	if !s.hub.inbound.queues() && r.role.CompareAndSwap(roleNone, roleWaiting) {
		if over, err := s.serve(ctx, fn); over {
			return err
		}
	}
	for m := range s.Messages() {
		if err := s.handle(ctx, fn, m); err != nil {
			return err
		}
	}
	return nil
}

// serve is Each on the goroutine that calls it, until somebody else reads: then over is false. As in receive, what it
// does with a message is in functions of its own.
func (s *Session) serve(ctx context.Context, fn MessageFunc) (over bool, err error) {
	for {
		op, data, err := s.conn.ReadMessage()
		a := comesLast
		if err == nil {
			a = s.arrived(len(data))
		}
		switch a {
		case comesIn:
			if on, err := s.serveOne(ctx, fn, op, data); !on {
				return err != nil, err
			}
		case comesLast:
			s.reading.role.Store(roleReader)
			s.readEnded(err)
			go s.leaveOff(err) // owner: the session; see conclude
			return true, nil
		}
	}
}

// serveOne handles a message that Each has read. on is false when Each does not read any more: because of err, or because
// somebody else does.
func (s *Session) serveOne(ctx context.Context, fn MessageFunc, op wire.Opcode, data []byte) (on bool, err error) {
	r, m := &s.reading, s.received(op, data)
	r.served.Add(1)
	r.role.Store(roleBusy)
	s.watchBusy()
	if err := s.handle(ctx, fn, m); err != nil {
		return false, err
	}
	return r.role.CompareAndSwap(roleBusy, roleWaiting), nil
}

// handle calls fn, and tells who ends the context meanwhile to wait. A panic passes.
func (s *Session) handle(ctx context.Context, fn MessageFunc, m Message) error {
	s.reading.handling.Store(true)
	defer s.reading.handling.Store(false)
	return fn(ctx, s, m)
}
