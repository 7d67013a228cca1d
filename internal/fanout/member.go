package fanout

import (
	"math"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
)

// ended is the cursor of a member that takes nothing any more: past every head.
const ended = math.MaxUint64

// cause says why a member's pending values will not be sent.
type cause uint8

const (
	causeLeft cause = iota
	causeEvicted
)

// Member is one subscription: a cursor in one topic's log.
type Member struct {
	// cursor is the first offset not yet decided, or taken into the backlog. The owner of the subscriber's write bit stores
	// it and never moves it back; workers load it to skip who is up to date, and to trim the log below all claims.
	cursor atomic.Uint64

	// Stored by the owner of the write bit, loaded by publishers that may have to wait, and ticks by workers.
	law   atomic.Pointer[Rule]  // see rule
	begun atomic.Pointer[begun] // the subscriber's frame begun if it is of this topic, else nil
	ticks atomic.Bool           // waits for the topic's next tick

	lagging atomic.Bool // on Topic.lag; stored under Topic.lagMu
	lagAt   int32       // index there; guarded by Topic.lagMu

	place uint8 // in chunk; immutable after Join, as are sub, topic and chunk

	// Guarded by the write bit, as is all below chunk.
	plain bool // neither filter nor pacing nor packing: equal cursors get equal bytes
	gone  bool // finish was called
	late  bool // on Subscriber.many.late

	sub   *Subscriber
	topic *Topic
	chunk *chunk

	start   uint64   // the first offset offered, replays aside; once gone, how many were offered
	backlog *backlog // nil until needed
	sent    uint64
	extra   *extra // nil until needed
}

// extra is what few members have.
type extra struct {
	where func(any) bool
	tally Tally // of what is not sent
}

// rule returns the effective policy. Owners of the write bit change it.
func (m *Member) rule() *Rule { return m.law.Load() }

// Topic returns the topic.
func (m *Member) Topic() *Topic { return m.topic }

// Subscriber returns the subscriber.
func (m *Member) Subscriber() *Subscriber { return m.sub }

// Tally returns the member's exact account.
func (m *Member) Tally() Tally {
	m.sub.lock()
	var a Tally
	if m.extra != nil {
		a = m.extra.tally
	}
	a.Sent = m.sent
	if m.gone {
		a.Offered += m.start
	} else {
		a.Offered += m.topic.log.Head() - m.start
	}
	m.sub.release(nil)
	a.Pending = a.Offered - a.decided()
	return a
}

// Update replaces the rule and the filter from the next value on that is not in the backlog; nothing is lost.
func (m *Member) Update(r *Rule, where func(any) bool) error {
	s := m.sub
	s.lock()
	if m.gone {
		s.release(nil)
		return ErrStopped
	}
	t := m.topic
	t.mu.Lock()
	if r.blocks() > 0 && m.rule().blocks() > 0 && t.blocks.Load() == 1 { // nobody else's bounds are among the least
		t.minBlock.Store(int64(r.blocks()))
		t.minBytes.Store(r.blockBytes())
	}
	t.countBlockLocked(r, 1) // first: with nobody counted in between, publishers would look at no bound
	t.countBlockLocked(m.rule(), -1)
	t.mu.Unlock()
	m.setRule(r, where)
	m.ticks.Store(false)
	if b := m.backlog; b != nil {
		b.limit, b.bytes, b.due = nil, nil, 0
		if !r.Coalesce {
			b.unline(m.topic.log)
		}
	}
	s.release(nil)
	m.topic.wake()
	return nil
}

func (m *Member) setRule(r *Rule, where func(any) bool) {
	m.law.Store(r)
	if where != nil || m.extra != nil {
		m.extras().where = where
	}
	m.plain = where == nil && !r.paced() && !r.Pack
}

// countBlockLocked keeps the number of members that block and the least bounds among them. Those stay until nobody
// blocks, or only one does and it is updated: too small only makes publishers wait for the pass under way sooner.
func (t *Topic) countBlockLocked(r *Rule, d int64) {
	if r.blocks() == 0 {
		return
	}
	n := t.blocks.Load() + d
	if n == 0 || d > 0 && n == 1 {
		t.minBlock.Store(math.MaxInt64)
		t.minBytes.Store(math.MaxInt64)
	}
	if d > 0 {
		t.minBlock.Store(min(t.minBlock.Load(), int64(r.blocks())))
		t.minBytes.Store(min(t.minBytes.Load(), r.blockBytes()))
	}
	t.blocks.Store(n)
}

// Join makes s a member of t: it is offered every value whose Publish begins after Join returned, after up to replay
// values of the history, without a gap or a repeat between them.
func (t *Topic) Join(s *Subscriber, r *Rule, where func(any) bool, replay int) (*Member, error) {
	s.lock()
	if m := s.memberOf(t); m != nil {
		s.release(nil)
		return m, ErrMember
	}
	if s.state != flowing || s.seal() != 0 {
		s.release(nil)
		return nil, ErrStopped
	}
	if s.limit > 0 && len(s.subs) >= int(s.limit) {
		s.release(nil)
		return nil, ErrTooMany
	}
	m := &Member{sub: s, topic: t}
	m.setRule(r, where)
	if err := t.insert(m, replay); err != nil {
		s.release(nil)
		return nil, err
	}
	s.subs = append(s.subs, m)
	if w := s.many(); w != nil {
		w.topics[t] = m
	} else if len(s.subs) > manySubs {
		w = &many{topics: make(map[*Topic]*Member, 2*len(s.subs))}
		s.rarely().many = w
		for _, m := range s.subs {
			w.topics[m.topic] = m
			s.markLate(m)
		}
	}
	// The claim taken by insert goes with this look at all cursors: a pass that had read the members before insert has
	// missed this one.
	s.markLate(m)
	s.release(nil)
	return m, nil
}

// insert gives m a place and its first offset. The claim on the log comes first, then the place, then the offset: a pass
// that sees the place finds a valid cursor, and nothing from the cursor on can be trimmed. Callers own the write bit.
func (t *Topic) insert(m *Member, replay int) error {
	t.lagMu.Lock()
	held, from := t.log.Replay(replay, time.Now())
	m.cursor.Store(from)
	t.addLagLocked(m)
	t.lagMu.Unlock()

	t.mu.Lock()
	err := error(nil)
	switch {
	case t.retired:
		err = ErrRetired
	case t.cfg.MaxMembers > 0 && m.sub.conn != nil && t.sockets.Load() >= int64(t.cfg.MaxMembers):
		err = ErrFull
	}
	if err != nil {
		t.mu.Unlock()
		m.cursor.Store(ended)
		t.dropLag(m)
		return err
	}
	t.place(m)
	if m.sub.conn != nil {
		t.sockets.Add(1)
	}
	t.countBlockLocked(m.rule(), 1)
	t.n.Add(1)
	// Without a replay the first offset is the head now: every publisher that holds an earlier one has not returned. A
	// replay that found nothing goes on from where it looked, or it would miss what the history has had since; of a topic
	// without history there may be no frames from there on.
	if replay == 0 || t.cfg.History == 0 {
		from = t.log.Head()
		m.cursor.Store(from)
	}
	m.start = from
	t.counted++
	t.starts += from
	t.mu.Unlock()

	if len(held) > 0 {
		b := m.backlogOf()
		b.since = time.Now().UnixNano()
		// Offered before any is filtered, so that no account shows more decided than offered.
		m.account().Offered += uint64(len(held))
		t.totals.offered.Add(uint64(len(held)))
		for _, e := range held {
			if m.admits(e) {
				b.push(e)
			} else {
				m.filtered(1)
			}
		}
	}
	return nil
}

// place stores m in a hole, or at the end. Callers hold mu.
func (t *Topic) place(m *Member) {
	chunks := t.chunkList()
	var h hole
	switch n := len(t.holes); {
	case n > 0:
		h = t.holes[n-1]
		t.holes = t.holes[:n-1]
	case len(chunks) > 0 && t.filled < chunkSize:
		h = hole{chunks[len(chunks)-1], t.filled}
		t.filled++
	default:
		h = hole{new(chunk), 0}
		t.filled = 1
		more := append(chunks, h.c) // beyond the length that others have loaded
		t.chunks.Store(&more)       // not chunks, which would be allocated at each join
	}
	m.chunk, m.place = h.c, uint8(h.place)
	h.c.used.Add(1)
	h.c.places[h.place].Store(m)
}

// remove gives the place of a finished member up.
func (t *Topic) remove(m *Member) {
	t.mu.Lock()
	m.chunk.places[m.place].Store(nil)
	m.chunk.used.Add(-1)
	t.holes = append(t.holes, hole{m.chunk, int(m.place)})
	if m.sub.conn != nil {
		t.sockets.Add(-1)
	}
	if t.n.Add(-1) == 0 {
		t.chunks.Store(nil)
		t.holes, t.filled = nil, 0
		t.dropTick() // under mu: the next member is not here yet
	}
	t.mu.Unlock()
	t.wake()
}

// Leave ends the membership; when it returns nothing more is sent, except the rest of a frame already begun. What is
// pending counts as undelivered. It reports whether there was a membership.
func (m *Member) Leave() bool {
	s := m.sub
	s.lock()
	i := slices.Index(s.subs, m)
	if i < 0 {
		s.release(nil)
		return false
	}
	m.finish(causeLeft)
	s.subs = slices.Delete(s.subs, i, i+1)
	if w := s.many(); w != nil {
		delete(w.topics, m.topic)
	}
	s.release(nil)
	m.topic.remove(m)
	return true
}

// finish closes the account: what is pending, but for the frame begun, counts as evicted or undelivered. Callers own
// the write bit.
func (m *Member) finish(c cause) {
	if m.gone {
		return
	}
	m.gone = true
	t := m.topic
	t.mu.Lock()
	end := t.log.Head()
	t.counted--
	t.starts -= m.start
	m.start = end - m.start
	t.finished += m.start
	t.countBlockLocked(m.rule(), -1)
	t.mu.Unlock()

	pending := end - m.cursor.Load()
	if b := m.backlog; b != nil {
		pending += uint64(b.len())
		b.clear(t.log)
	}
	m.cursor.Store(ended)
	m.ticks.Store(false)
	t.dropLag(m)
	m.undo(c, pending)
	t.wake()
}

// undo counts n values that will not be sent.
func (m *Member) undo(c cause, n uint64) {
	if n == 0 {
		return
	}
	if c == causeEvicted {
		m.account().Evicted += n
		m.topic.totals.evicted.Add(n)
	} else {
		m.account().Undelivered += n
		m.topic.totals.undelivered.Add(n)
	}
}

func (m *Member) account() *Tally {
	return &m.extras().tally
}

func (m *Member) extras() *extra {
	if m.extra == nil {
		m.extra = new(extra)
	}
	return m.extra
}

// admits reports whether e is for m. A filter that panics fails the subscriber, and admits nothing.
func (m *Member) admits(e *queue.Entry) bool {
	if !addressed(e, m.sub.id) {
		return false
	}
	return m.extra == nil || m.extra.where == nil || m.passes(e.Value)
}

func (m *Member) passes(v any) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			ok = false
			s := m.sub
			if s.happen == nil {
				s.happen = new(happened)
			}
			s.happen.panic = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return m.extra.where(v)
}

// addressed reports whether Except and Only leave the subscriber in.
func addressed(e *queue.Entry, id uint64) bool {
	return !slices.Contains(e.Except, id) && (e.Only == nil || slices.Contains(e.Only, id))
}

// hasFill reports whether Block makes publishers wait for m. Any goroutine may call it.
func (m *Member) hasFill(head uint64) bool {
	r := m.rule()
	fill := uint64(r.blocks())
	if fill == 0 {
		return false
	}
	var n uint64
	var bytes int64
	if b := m.begun.Load(); b != nil {
		n, bytes = uint64(b.count), b.size
	}
	if c := m.cursor.Load(); c < head {
		_, more, _ := m.topic.log.Pending(c)
		n, bytes = n+head-c, bytes+more
	}
	return n >= fill || bytes >= r.blockBytes()
}
