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
// TryPut; Put is called by the drain goroutine while a value is begun; Close by whoever stops the subscriber, last.
type Feed interface {
	TryPut(e *queue.Entry) bool // never waits
	Put(e *queue.Entry) bool    // waits; false: the reader is gone
}

// Owner is told what happens to its subscriber. The hooks run under no lock and not while the write bit is held, in
// whatever goroutine noticed; they must not block.
type Owner interface {
	Slow(t *Topic)              // a policy gave the subscriber up: its data stopped. Once.
	Failed(err error)           // a write failed or timed out, or a filter panicked: its data stopped. Once.
	Flushed()                   // everything stamped before Seal was written. Once.
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

// The write word. Whoever changes it from 0 to owned owns the subscriber: its cursors, its backlog, its socket. Who
// finds it owned sets again and leaves. Only the owner clears again, and does so before it looks; it gives up by
// changing owned to 0, and when that fails somebody has set again, so it looks once more, at all cursors.
const (
	owned = 1 << iota
	again
)

// Subscriber is one session or one stream: a write side, a mailbox and a cursor in each topic it is a member of.
type Subscriber struct {
	word  atomic.Uint32
	state state       // guarded by the write bit
	told  uint8       // which of the once-only hooks were collected; guarded by the write bit
	shut  atomic.Bool // sealed or stopped: Send is refused
	limit int32       // topics it may be a member of, 0: any number; guarded by the write bit

	e     *Engine
	id    uint64
	conn  Conn // nil for a feed
	feed  Feed // nil for a connection
	owner Owner

	mail atomic.Pointer[queue.Mailbox] // made on first use

	// Guarded by the write bit.
	subs   []*Member
	many   *many     // beyond manySubs subscriptions, else nil
	begun  *begun    // the frame begun; nil while none is
	behind int64     // since when it has not caught up, unix nanoseconds; 0: it has
	seal   uint64    // nothing stamped later is written; 0: no seal
	happen *happened // for the owner, once the bit is released; nil: nothing
	timer  *timer    // made on first use; its fields are guarded by timers.mu
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

// begun is the frame (or several packed into one) that a short write left unfinished, or the value a feed waits with. It
// belongs to the drain goroutine from started to done.
type begun struct {
	rest    []byte
	entry   *queue.Entry // the last it stands for; nil for control
	size    int64        // of all it stands for
	member  *Member      // nil: control or a direct message
	count   uint32       // entries it stands for
	last    bool         // holds the close frame
	started bool         // guarded by the write bit
	fate    cause        // what it counts as should it not leave; guarded by the write bit
	err     error
	done    atomic.Bool // the drain goroutine's last step: hands begun back to whoever owns the write bit
}

// happened collects what the owner is told after the bit is released.
type happened struct {
	slow    *Topic
	failed  error
	flushed bool
	closed  bool
	dropped []droppedIn
	panic   error // of a filter, in the look under way
}

type droppedIn struct {
	t *Topic
	n uint64
}

const (
	toldSlow = 1 << iota
	toldFailed
	toldFlushed
	toldClosed
)

// once reports whether the hook is due for the first time. Callers own the write bit.
func (s *Subscriber) once(hook uint8) bool {
	if s.told&hook != 0 {
		return false
	}
	s.told |= hook
	if s.happen == nil {
		s.happen = new(happened)
	}
	return true
}

func (s *Subscriber) noteDrop(t *Topic, n uint64) {
	if s.happen == nil {
		s.happen = new(happened)
	}
	for i := range s.happen.dropped {
		if d := &s.happen.dropped[i]; d.t == t {
			d.n += n
			return
		}
	}
	s.happen.dropped = append(s.happen.dropped, droppedIn{t, n})
}

// tell calls the hooks. It runs without the write bit.
func (s *Subscriber) tell(h *happened) {
	for _, d := range h.dropped {
		s.owner.Dropped(d.t, d.n)
	}
	if h.slow != nil {
		s.owner.Slow(h.slow)
	}
	if h.failed != nil {
		s.owner.Failed(h.failed)
	}
	if h.flushed {
		s.owner.Flushed()
	}
	if h.closed {
		s.owner.CloseSent()
	}
}

// NewSubscriber returns a subscriber that writes to c.
func (e *Engine) NewSubscriber(c Conn, o Owner) *Subscriber {
	return &Subscriber{e: e, id: e.ids.Add(1), conn: c, owner: o}
}

// NewFeed returns a subscriber that puts values into f.
func (e *Engine) NewFeed(f Feed, o Owner) *Subscriber {
	s := e.NewSubscriber(nil, o)
	s.feed = f
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

// acquire takes the write bit, or leaves the mark that makes its owner look again.
func (s *Subscriber) acquire() bool {
	for {
		switch w := s.word.Load(); {
		case w == 0:
			if s.word.CompareAndSwap(0, owned) {
				return true
			}
		case w&again != 0: // not cleared yet: the owner's next look comes after this load
			return false
		default:
			if s.word.CompareAndSwap(owned, owned|again) {
				return false
			}
		}
	}
}

// lock takes the write bit for a call that cannot leave its work to another. Visits never wait, so neither does this
// for long.
func (s *Subscriber) lock() {
	for !s.word.CompareAndSwap(0, owned) {
		runtime.Gosched()
	}
}

// release looks at everything, gives the write bit up and tells the owner what happened. A drain goroutine passes where
// it takes the next frame begun; others pass nil, and a goroutine is started for one.
func (s *Subscriber) release(next **begun) {
	v := s.e.visitors.Get().(*visitor)
	full := false
	var list []*happened
	for {
		v.look(s, next, full)
		if s.happen != nil {
			list = append(list, s.happen)
			s.happen = nil
		}
		if s.word.CompareAndSwap(owned, 0) {
			break
		}
		s.word.Store(owned) // clears again; the next look comes after
		full = true
	}
	s.e.visitors.Put(v)
	for _, h := range list {
		s.tell(h)
	}
}

// drain waits until the frame begun has left, and takes the next one if there is. Owner: the subscriber's engine; it
// ends when the subscriber has caught up, somebody else owns the write bit, or the write fails.
func (s *Subscriber) drain(b *begun) {
	defer s.e.end()
	for b != nil {
		if s.feed != nil {
			if !s.feed.Put(b.entry) {
				b.err = ErrStopped
			}
		} else if _, err := s.conn.WriteAll(b.rest, s.e.cfg.WriteTimeout); err != nil {
			b.err = err
		}
		b.done.Store(true)
		b = nil
		if s.acquire() {
			s.release(&b)
		}
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
	s.lock()
	if s.seal == 0 {
		s.seal = s.e.clock.Load()
	}
	s.release(nil)
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
	subs, timer := s.subs, s.timer
	s.subs, s.many = nil, nil
	s.release(nil)
	for _, m := range subs {
		m.topic.remove(m)
	}
	if timer != nil {
		s.e.timers.mu.Lock()
		s.e.dropTimerLocked(timer)
		s.e.timers.mu.Unlock()
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

// Len returns the number of subscriptions.
func (s *Subscriber) Len() int {
	s.lock()
	n := len(s.subs)
	s.release(nil)
	return n
}

// memberOf returns the subscription to t. Callers own the write bit.
func (s *Subscriber) memberOf(t *Topic) *Member {
	if s.many != nil {
		return s.many.topics[t]
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
	if s.timer == nil {
		s.timer = &timer{index: -1, sub: s}
	}
	ts := &s.e.timers
	ts.mu.Lock()
	if s.timer.index < 0 || at < s.timer.at {
		s.e.dropTimerLocked(s.timer)
		s.timer.at = at
		s.e.addTimerLocked(s.timer)
	}
	ts.mu.Unlock()
}

// lookAt returns the members that may have something pending: all, unless they are very many; then those of topics with
// a pass due or under way, which are all topics with values not offered yet, and the late ones. A look because of the
// again mark is full. Callers own the write bit and have read the clock.
func (s *Subscriber) lookAt(full bool) []*Member {
	w := s.many
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
	if s.many != nil && !m.late {
		m.late = true
		s.many.late = append(s.many.late, m)
	}
}

// forgetLate drops those that have nothing pending and claim nothing. Callers own the write bit.
func (s *Subscriber) forgetLate() {
	w := s.many
	if w == nil || len(w.late) == 0 {
		return
	}
	w.late = slices.DeleteFunc(w.late, func(m *Member) bool {
		m.late = !m.gone && (m.lagging.Load() || m.cursor.Load() < m.topic.log.Head() || m.pending.Load() > 0 || m.backlog != nil && m.backlog.len() > 0)
		return !m.late
	})
}
