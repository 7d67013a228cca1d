package fanout

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
)

// Conn is the write side of a connection; *wire.Conn is one. Only the owner of the subscriber's write bit calls it,
// except WriteAll, which the drain goroutine calls while a frame is begun.
type Conn interface {
	TryWrite(b []byte) (int, error)
	WriteAll(b []byte, timeout time.Duration) (int, error)
	HasControl() bool
	TakeControl(dst []byte) (frames []byte, last bool)
	CloseSent()
	Compressed() bool
	CompressThreshold() int
}

// Feed is the sending side of a channel, for subscribers inside the process. Only the owner of the write bit calls
// TryPut, and only the drain goroutine, while a value is begun, Put. The engine does not close it: what it is made of
// belongs to whoever gave it to NewFeed.
type Feed interface {
	TryPut(e *queue.Entry) bool // never waits
	Put(e *queue.Entry) bool    // waits; false: the reader is gone
}

// Owner is told what happens to its subscriber. The hooks run under no lock and not while the write bit is held, in
// whatever goroutine noticed; they must not block.
type Owner interface {
	Slow(t *Topic)              // a policy gave the subscriber up: its data stopped. Once.
	Failed(err error)           // a write failed or timed out, or a filter panicked: its data stopped. Once.
	Flushed()                   // everything stamped before Seal was written, or all there was before Conclude decided. Once.
	CloseSent()                 // the close frame has left. Once.
	Dropped(t *Topic, n uint64) // a policy dropped n values of t
}

// ErrWriteTimeout is matched by the error of a frame that did not leave in time.
var ErrWriteTimeout = errors.New("fanout: write timed out")

// PanicError is what a filter panicked with.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("fanout: filter panicked: %v", e.Value) }

// Subscriber is one session or one stream: a write side, a mailbox and a cursor in each topic it is a member of.
type Subscriber struct {
	word    atomic.Uint32 // owned and again
	telling atomic.Int32  // goroutines that call hooks; raised by the owner of the write bit
	shut    atomic.Bool   // sealed or stopped: Send is refused
	limit   int32         // topics it may be a member of, 0: any number; guarded by the write bit
	state   state         // guarded by the write bit
	told    uint8         // which of the once-only hooks were collected; guarded by the write bit
	last    bool          // Conclude was called; guarded by the write bit

	// Immutable.
	e     *Engine
	id    uint64
	conn  Conn // nil for a feed
	owner Owner

	mail atomic.Pointer[queue.Mailbox] // made on first use

	// Guarded by the write bit.
	subs   []*Member
	begun  *begun    // the frame begun; nil while none is
	happen *happened // for the owner, once the bit is released; nil: nothing
	rare   *rare     // made on first use, and kept
}

// rare is what most subscribers have none of most of the time. It is guarded by the write bit, but for what is said.
type rare struct {
	feed  Feed   // immutable; nil for a connection
	many  *many  // beyond manySubs subscriptions, else nil
	seal  uint64 // nothing stamped later is written; 0: no seal
	timer timer  // of visitAt; its fields are guarded by timers.mu
}

// many is what a look at a subscriber of very many topics needs. It is guarded by the write bit.
type many struct {
	topics map[*Topic]*Member
	late   []*Member // may have something pending although their topics are quiet
	look   []*Member // of the look under way
}

// state of a subscriber's data.
type state uint8

const (
	flowing state = iota
	stopped       // no more data; control goes on
	silent        // nothing goes any more: the close frame was begun, or a write failed
)

// manySubs is the number of subscriptions up to which every look compares all cursors. Beyond it a look takes the
// topics with a pass due or under way and the subscriber's own lagging ones.
const manySubs = 64

// NewSubscriber returns a subscriber that writes to c.
func (e *Engine) NewSubscriber(c Conn, o Owner) *Subscriber {
	return &Subscriber{e: e, id: e.ids.Add(1), conn: c, owner: o}
}

// NewFeed returns a subscriber that puts values into f.
func (e *Engine) NewFeed(f Feed, o Owner) *Subscriber {
	s := e.NewSubscriber(nil, o)
	s.rarely().feed = f
	return s
}

// ID returns a number that no other subscriber of the engine has or had; never 0.
func (s *Subscriber) ID() uint64 { return s.id }

// Limit bounds the topics the subscriber may be a member of from now on; 0 is no bound.
func (s *Subscriber) Limit(n int) {
	s.lock()
	s.limit = int32(min(n, math.MaxInt32))
	s.release(nil)
}

// Owner returns the owner given.
func (s *Subscriber) Owner() Owner { return s.owner }

// Visit looks at the control lane, the mailbox and all cursors and writes what can be written, unless somebody is at
// it, who will look again. It never waits.
func (s *Subscriber) Visit() {
	if s.acquire() {
		s.release(nil)
	}
}

// Send pushes a direct message, made from Entry, and visits. It waits while the mailbox is full, bounded by ctx and by
// the subscriber's end. The entry belongs to the engine afterwards, also after an error.
func (s *Subscriber) Send(ctx context.Context, e *queue.Entry) error {
	for {
		err := s.TrySend(e)
		if err != queue.ErrFull {
			return err
		}
		room := s.mailbox().Room()
		if err := s.TrySend(e); err != queue.ErrFull {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// TrySend is Send that returns queue.ErrFull instead of waiting; the entry stays the caller's then.
func (s *Subscriber) TrySend(e *queue.Entry) error {
	if s.shut.Load() {
		return ErrStopped
	}
	// Counted before the owner of the write bit can send it, so that no account shows more sent than offered.
	s.e.direct.offered.Add(1)
	if err := s.mailbox().Push(e); err != nil {
		s.e.direct.offered.Add(^uint64(0))
		if err == queue.ErrFull {
			return err
		}
		return ErrStopped
	}
	s.Visit()
	return nil
}

func (s *Subscriber) mailbox() *queue.Mailbox {
	if m := s.mail.Load(); m != nil {
		return m
	}
	s.mail.CompareAndSwap(nil, queue.NewMailbox(s.e.cfg.MailboxCount, s.e.cfg.MailboxBytes, &s.e.clock))
	return s.mail.Load()
}

// Seal ends the subscriber gracefully: what is stamped later is not written, Send is refused, pacing no longer holds
// back, and the owner's Flushed is called once all that was stamped before has left.
func (s *Subscriber) Seal() {
	s.shut.Store(true)
	if mb := s.mail.Load(); mb != nil {
		mb.Wake() // who waits for room finds shut
	}
	s.lock()
	if r := s.rarely(); r.seal == 0 {
		r.seal = s.e.clock.Load()
	}
	s.release(nil)
}

// Conclude says that nothing more is published to the subscriber's topics or sent to it: the owner's Flushed is called
// once nothing is pending, unless the data stops before. Unlike after Seal, policies and pacing go on until then.
func (s *Subscriber) Conclude() {
	s.lock()
	s.last = true
	s.release(nil)
}

// caughtUp reports whether nothing is pending, while no frame is begun. Callers own the write bit.
func (s *Subscriber) caughtUp() bool {
	for _, m := range s.subs {
		if m.owes() {
			return false
		}
	}
	mb := s.mail.Load()
	return mb == nil || mb.Len() == 0
}

// Stop ends the subscriber's data at once: what is pending counts as undelivered. The control lane goes on.
func (s *Subscriber) Stop() {
	s.shut.Store(true)
	s.lock()
	s.stop(causeLeft)
	s.release(nil)
}

// Detach stops the data and leaves every topic.
func (s *Subscriber) Detach() {
	s.shut.Store(true)
	s.lock()
	s.stop(causeLeft)
	subs, rare := s.subs, s.rare
	s.subs = nil
	if rare != nil {
		rare.many = nil
	}
	s.release(nil)
	for _, m := range subs {
		m.topic.remove(m)
	}
	if rare != nil {
		s.e.timers.mu.Lock()
		s.e.dropTimerLocked(&rare.timer)
		s.e.timers.mu.Unlock()
	}
}

// Told returns when the hooks for what happened before the call have returned. It must not be called by a hook.
func (s *Subscriber) Told() {
	for s.telling.Load() > 0 {
		runtime.Gosched() // hooks do not block
	}
}

// Members returns the subscriptions there are.
func (s *Subscriber) Members() []*Member {
	s.lock()
	subs := append([]*Member(nil), s.subs...)
	s.release(nil)
	return subs
}

// Member returns the subscription to t, or nil.
func (s *Subscriber) Member(t *Topic) *Member {
	s.lock()
	m := s.memberOf(t)
	s.release(nil)
	return m
}

// seal returns the last stamp that is written, 0 when there is no seal. Callers own the write bit.
func (s *Subscriber) seal() uint64 {
	if s.rare == nil {
		return 0
	}
	return s.rare.seal
}

// many is nil up to manySubs subscriptions. Callers own the write bit.
func (s *Subscriber) many() *many {
	if s.rare == nil {
		return nil
	}
	return s.rare.many
}

// rarely returns rare, which it makes. Callers own the write bit.
func (s *Subscriber) rarely() *rare {
	if s.rare == nil {
		s.rare = &rare{timer: timer{index: -1, sub: s}}
	}
	return s.rare
}

// memberOf returns the subscription to t. Callers own the write bit.
func (s *Subscriber) memberOf(t *Topic) *Member {
	if w := s.many(); w != nil {
		return w.topics[t]
	}
	for _, m := range s.subs {
		if m.topic == t {
			return m
		}
	}
	return nil
}

// stop ends the data. Callers own the write bit.
func (s *Subscriber) stop(c cause) {
	if s.state >= stopped {
		return
	}
	s.state = stopped
	s.shut.Store(true)
	for _, m := range s.subs {
		m.finish(c)
	}
	s.closeMail(c)
	if b := s.begun; b != nil {
		b.fate = c
	}
}

// closeMail drops what the mailbox holds. Callers own the write bit.
func (s *Subscriber) closeMail(c cause) {
	mb := s.mail.Load()
	if mb == nil {
		return
	}
	if left := uint64(mb.Close()); c == causeEvicted {
		s.e.direct.evicted.Add(left)
	} else {
		s.e.direct.undelivered.Add(left)
	}
}

// fail ends the data because of err. Callers own the write bit.
func (s *Subscriber) fail(err error) {
	s.stop(causeLeft)
	if s.once(toldFailed) {
		s.happen.failed = err
	}
}

// breakOff ends everything: a write failed, so nothing more can be written. Callers own the write bit.
func (s *Subscriber) breakOff(err error) {
	s.fail(err)
	s.state = silent
}

// visitAt has the subscriber visited at the given time (unix nanoseconds), or earlier if that was asked for before.
// Callers own the write bit.
func (s *Subscriber) visitAt(at int64) {
	t := &s.rarely().timer
	ts := &s.e.timers
	ts.mu.Lock()
	if t.index < 0 || at < t.at {
		s.e.dropTimerLocked(t)
		t.at = at
		s.e.addTimerLocked(t)
	}
	ts.mu.Unlock()
}

// lookAt returns the members that may have something pending: all, unless they are very many; then those of topics with
// a pass due or under way, which are all topics with values not offered yet, and the late ones. A look because of the
// again mark is full. Callers own the write bit and have read the clock.
func (s *Subscriber) lookAt(full bool) []*Member {
	w := s.many()
	if w == nil || full {
		return s.subs
	}
	w.look = append(w.look[:0], w.late...)
	e := s.e
	e.mu.Lock()
	if len(e.active) >= len(s.subs) {
		e.mu.Unlock()
		return s.subs
	}
	for _, t := range e.active {
		if m := w.topics[t]; m != nil && !m.late {
			w.look = append(w.look, m)
		}
	}
	e.mu.Unlock()
	// A topic whose pass has met this subscriber owned may have become quiet since. It has left the mark before.
	if s.word.Load()&again != 0 {
		return s.subs
	}
	return w.look
}

// markLate notes that m may have something pending although its topic is quiet. Callers own the write bit.
func (s *Subscriber) markLate(m *Member) {
	if w := s.many(); w != nil && !m.late {
		m.late = true
		w.late = append(w.late, m)
	}
}

// forgetLate drops those that have nothing pending and claim nothing. Callers own the write bit.
func (s *Subscriber) forgetLate() {
	w := s.many()
	if w == nil || len(w.late) == 0 {
		return
	}
	w.late = slices.DeleteFunc(w.late, func(m *Member) bool {
		m.late = !m.gone && (m.lagging.Load() || m.begun.Load() != nil || m.owes())
		return !m.late
	})
}
