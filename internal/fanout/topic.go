package fanout

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
)

// Errors of Join, Publish and Send. Append's errors (queue.ErrFull, queue.ErrKeys) pass through.
var (
	ErrMember    = errors.New("fanout: already a member")
	ErrFull      = errors.New("fanout: topic is full")
	ErrStopped   = errors.New("fanout: subscriber has ended")
	ErrRetired   = errors.New("fanout: topic is retired")
	ErrTooMany   = errors.New("fanout: subscriber has too many topics")
	ErrWantFrame = errors.New("fanout: a frame is wanted")
)

// TopicConfig is what a topic is made with.
type TopicConfig struct {
	Tag        any // the owner's, see Topic.Tag
	MaxPending int // entries the log may hold
	MaxBytes   int64
	MaxKeys    int
	MaxMembers int // that write frames; 0: no limit

	History      int
	HistoryAge   time.Duration
	HistoryByKey bool
}

// chunkSize is the number of members in a chunk. Of 16 to 256, 64 was as fast to visit as any and wastes least on the
// many topics of a handful.
const chunkSize = 64

// chunk holds members in places that never move: a worker that has passed a place never misses its member.
type chunk struct {
	used   atomic.Int32                      // places with a member; stored under Topic.mu, loaded by workers
	places [chunkSize]atomic.Pointer[Member] // stored under Topic.mu, loaded by workers
}

// Topic is a log and the members whose cursors point into it.
type Topic struct {
	// Immutable.
	e   *Engine
	log *queue.Log
	cfg TopicConfig

	dirty atomic.Bool // something was appended since the last pass read the head; stored under Engine.mu

	run struct { // guarded by Engine.mu
		active  bool   // on the active list
		index   int    // there
		passing bool   // a pass is under way
		head    uint64 // of the pass under way, or the last one
		chunks  []*chunk
		next    int // first chunk nobody took
		busy    int // workers at it
	}

	// Membership.
	mu       sync.Mutex
	chunks   atomic.Pointer[[]*chunk] // stored under mu; a stored slice is not changed, only extended
	holes    []hole                   // places that were left; guarded by mu
	filled   int                      // places of the last chunk that were ever taken; guarded by mu
	retired  bool                     // guarded by mu
	counted  uint64                   // members whose offers still count; guarded by mu
	starts   uint64                   // sum of their start offsets; guarded by mu
	finished uint64                   // offers of members that ended; guarded by mu
	n        atomic.Int64             // members; stored under mu, as are the four below
	sockets  atomic.Int64             // members that write frames
	blocks   atomic.Int64             // members with Block
	minBlock atomic.Int64             // the least N among them, until there are none
	minBytes atomic.Int64             // the least MaxBytes, likewise

	// Claims on the log.
	lagMu sync.Mutex
	lag   []*Member // members that may claim entries below done; guarded by lagMu
	done  uint64    // head of the last complete pass; guarded by lagMu
	grid  int64     // unix nanoseconds; the flush grid starts here; immutable
	tick  timer     // the next tick somebody waits for; guarded by Engine.timers.mu

	// Publishers that wait.
	pubMu   sync.Mutex // serialises the bound check and the append while members block
	spaceMu sync.Mutex
	space   chan struct{} // closed when room may have appeared; guarded by spaceMu
	waiting atomic.Int64  // publishers that wait, or are about to

	totals totals
}

// hole is a place that a member has left.
type hole struct {
	c     *chunk
	place int
}

// NewTopic returns a topic without members. It holds no goroutine and no timer.
func (e *Engine) NewTopic(cfg TopicConfig) *Topic {
	t := &Topic{e: e, cfg: cfg, grid: time.Now().UnixNano()}
	t.log = queue.NewLog(queue.Config{
		MaxEntries: cfg.MaxPending, MaxBytes: cfg.MaxBytes, MaxKeys: cfg.MaxKeys,
		History: cfg.History, HistoryAge: cfg.HistoryAge, HistoryByKey: cfg.HistoryByKey,
		Clock: &e.clock,
	})
	t.tick.index = -1
	t.tick.topic = t
	return t
}

// Tag returns what TopicConfig.Tag was.
func (t *Topic) Tag() any { return t.cfg.Tag }

// Len returns the number of members.
func (t *Topic) Len() int { return int(t.n.Load()) }

// Sockets returns the number of members that write frames.
func (t *Topic) Sockets() int { return int(t.sockets.Load()) }

// Log returns the topic's log.
func (t *Topic) Log() *queue.Log { return t.log }

// WantsFrame reports whether a value published now needs its frame: a member writes frames, or history keeps them.
func (t *Topic) WantsFrame() bool { return t.sockets.Load() > 0 || t.cfg.History > 0 }

// Tally returns the account of all members there are and were.
func (t *Topic) Tally() Tally { return t.totals.tally(t.offered) }

func (t *Topic) offered() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counted*t.log.Head() - t.starts + t.finished + t.totals.offered.Load()
}

// Retire takes the topic out of use if it has no member: Join returns ErrRetired from then on.
func (t *Topic) Retire() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n.Load() > 0 {
		return false
	}
	t.retired = true
	return true
}

// Unretire takes Retire back.
func (t *Topic) Unretire() {
	t.mu.Lock()
	t.retired = false
	t.mu.Unlock()
}

// Members ranges over the members there are; joins and leaves meanwhile may or may not be seen.
func (t *Topic) Members() iter.Seq[*Member] {
	return func(yield func(*Member) bool) {
		for _, c := range t.chunkList() {
			for i := range c.places {
				if m := c.places[i].Load(); m != nil && !yield(m) {
					return
				}
			}
		}
	}
}

func (t *Topic) chunkList() []*chunk {
	if p := t.chunks.Load(); p != nil {
		return *p
	}
	return nil
}

// Publish appends e, which must carry its value and, when WantsFrame, its frame, and returns; workers do the rest. It
// waits, bounded by ctx, while the log is full or a member with Block has its fill. An error means that nothing was
// appended. With e's frame missing and wanted it is ErrWantFrame.
func (t *Topic) Publish(ctx context.Context, e *queue.Entry) error {
	err := t.TryPublish(e)
	if err != queue.ErrFull {
		return err
	}
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	for {
		t.spaceMu.Lock()
		if t.space == nil {
			t.space = make(chan struct{})
		}
		space := t.space
		t.spaceMu.Unlock()
		// Room that appeared before waiting was raised or space was read is found here.
		if err := t.TryPublish(e); err != queue.ErrFull {
			return err
		}
		select {
		case <-space:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// TryPublish is Publish that returns queue.ErrFull instead of waiting.
func (t *Topic) TryPublish(e *queue.Entry) error {
	if e.Frame.IsZero() {
		return t.tryPublishValue(e)
	}
	if t.blocks.Load() > 0 {
		t.pubMu.Lock()
		defer t.pubMu.Unlock()
		if t.blocked() {
			return queue.ErrFull
		}
	}
	return t.append(e)
}

// tryPublishValue appends an entry without a frame. It keeps members out meanwhile, so that no member is ever offered
// an entry it cannot write.
func (t *Topic) tryPublishValue(e *queue.Entry) error {
	if t.blocks.Load() > 0 {
		t.pubMu.Lock()
		defer t.pubMu.Unlock()
		if t.blocked() {
			return queue.ErrFull
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.WantsFrame() {
		return ErrWantFrame
	}
	return t.append(e)
}

func (t *Topic) append(e *queue.Entry) error {
	err := t.log.Append(e)
	if err == queue.ErrFull {
		// A claim that moved on or went while others stayed has trimmed nothing: looking at all claims each time would cost
		// more than looking here, once it matters.
		t.trim()
		err = t.log.Append(e)
	}
	if err != nil {
		return err
	}
	t.mark()
	return nil
}

// mark gives the topic to the workers. The dirty bit is looked at after the append: a pass that cleared it before reads a
// head without the entry, finds the bit set again at its end, and starts over. It is set under the engine's lock together
// with the active list: whoever finds it set may return, since the topic can be found there.
func (t *Topic) mark() {
	if !t.dirty.Load() {
		t.e.schedule(t)
	}
}

// blocked reports whether a member with Block has as many values, or bytes, pending as it may.
func (t *Topic) blocked() bool {
	head := t.log.Head()
	t.lagMu.Lock()
	defer t.lagMu.Unlock()
	if head > t.done { // not offered to everybody yet
		_, bytes, _ := t.log.Pending(t.done)
		if head-t.done >= uint64(t.minBlock.Load()) || bytes >= t.minBytes.Load() {
			return true
		}
	}
	for _, m := range t.lag {
		if m.hasFill(head) {
			return true
		}
	}
	return false
}

// wake lets waiting publishers look again.
func (t *Topic) wake() {
	if t.waiting.Load() == 0 {
		return
	}
	t.spaceMu.Lock()
	if t.space != nil {
		close(t.space)
		t.space = nil
	}
	t.spaceMu.Unlock()
}

// passed ends a pass: everything below head was offered, and claimed by none but the members in lag.
func (t *Topic) passed(head uint64) {
	t.lagMu.Lock()
	t.done = max(t.done, head)
	t.trimLocked()
	t.lagMu.Unlock()
	t.wake()
}

// trimLocked lets the log forget what nobody claims. Callers hold lagMu, so no claim below can appear meanwhile.
func (t *Topic) trimLocked() {
	low := t.done
	for _, m := range t.lag {
		low = min(low, m.cursor.Load())
	}
	t.log.Trim(low)
}

// addLag registers m's claim on everything from its cursor on.
func (t *Topic) addLag(m *Member) {
	t.lagMu.Lock()
	t.addLagLocked(m)
	t.lagMu.Unlock()
}

func (t *Topic) addLagLocked(m *Member) {
	if !m.lagging.Load() && m.cursor.Load() != ended {
		m.lagAt = int32(len(t.lag))
		t.lag = append(t.lag, m)
		m.lagging.Store(true)
	}
}

// dropLag gives m's claim up if its cursor has reached the head and no frame is begun, or it has ended. The head is read
// under lagMu: a worker that found m's subscriber owned has registered the claim for a later head under the same lock,
// before or after this. The log is trimmed when the last claim goes; while others stay, the next pass or the next
// publisher without room does it.
func (t *Topic) dropLag(m *Member) {
	t.lagMu.Lock()
	cursor := m.cursor.Load()
	if m.lagging.Load() && cursor >= t.log.Head() && (m.begun.Load() == nil || cursor == ended) {
		last := len(t.lag) - 1
		moved := t.lag[last]
		t.lag[m.lagAt] = moved
		moved.lagAt = m.lagAt
		t.lag[last] = nil
		t.lag = t.lag[:last]
		m.lagging.Store(false)
		if last == 0 {
			t.lag = nil
			t.trimLocked()
		}
	}
	t.lagMu.Unlock()
	t.wake()
}

// trim lets the log forget what nobody claims.
func (t *Topic) trim() {
	t.lagMu.Lock()
	t.trimLocked()
	t.lagMu.Unlock()
}

// boundary returns the first tick of the grid of interval d after now, both in unix nanoseconds.
func (t *Topic) boundary(now int64, d time.Duration) int64 {
	past := (now - t.grid) % int64(d)
	if past < 0 { // the clock was set back
		past += int64(d)
	}
	return after(now-past, d)
}

// tickAt has the topic visited at the given time. One item serves all members.
func (t *Topic) tickAt(at int64) {
	ts := &t.e.timers
	ts.mu.Lock()
	if t.tick.index < 0 || at < t.tick.at {
		t.e.dropTimerLocked(&t.tick)
		t.tick.at = at
		t.e.addTimerLocked(&t.tick)
	}
	ts.mu.Unlock()
}

// dropTick takes tickAt back. It would keep a topic, and its engine, for as long as an interval.
func (t *Topic) dropTick() {
	ts := &t.e.timers
	ts.mu.Lock()
	t.e.dropTimerLocked(&t.tick)
	ts.mu.Unlock()
}

func (t *Topic) ticked() { t.mark() }
