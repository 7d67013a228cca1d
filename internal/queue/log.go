package queue

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Config bounds a log and says what history it keeps. A bound of zero or less is no bound.
type Config struct {
	MaxEntries int   // entries that are claimed or history
	MaxBytes   int64 // their sizes
	MaxKeys    int   // keys that entries claimed by readers, or lines, use

	History      int           // newest entries without Only kept for Replay; 0: none
	HistoryAge   time.Duration // and not older than this; 0: of any age
	HistoryByKey bool          // History counts keys and keeps the newest of each; entries without a key are of one

	Clock *atomic.Uint64 // the hub's; nil: one of the log's own
}

// logKeep is the number of places that an empty log's ring may keep: 256 bytes spare a topic with small bursts its allocations.
const logKeep = 32

// Log is the bounded log of a topic: many producers, many readers. Create it with [NewLog]. All methods may be called by any
// goroutine; none waits for anything but a lock that is held for as long as it takes to look at or move the entries named.
//
// Offsets are in three parts: below tail they are gone, those in [tail, low) are kept for history alone, those in [low, head)
// are claimed by readers. tail <= low <= head, and none of them moves back.
//
// A mutex guards all but head. Readers that go without it would need entries to be reclaimed by epoch; since a reader is a worker
// that takes a whole range per lock, and there are few workers, there is nothing to win.
type Log struct {
	cfg  Config        // immutable after NewLog
	head atomic.Uint64 // stored by Append under mu, as the last step of each append; loaded by anyone

	mu    sync.Mutex
	ring  ring   // guarded by mu, as is all below; holds [tail, head)
	tail  uint64 // min(low, floor) when the ring holds history, else low
	low   uint64
	floor uint64 // the ring's history is [floor, head), for Replay without those with Only; may be above low
	aside uint64 // entries with Only in it, of which none is its first
	cum   int64  // sizes of everything ever appended
	slots table
	keyed keyHistory // used when cfg.HistoryByKey
}

// NewLog returns an empty log whose first offset is 0.
func NewLog(c Config) *Log {
	if c.Clock == nil {
		c.Clock = new(atomic.Uint64)
	}
	return &Log{cfg: c}
}

// Append takes e into the log, as its offset Head, and makes it visible to readers. It sets e's Offset, Stamp, Time, Cum and
// Slot; e must not be changed any more. It fails with [ErrFull] when the readers' claims leave no room, with [ErrKeys] when e has
// a key too many, with [ErrBadKey]; then nothing has changed and e may be appended again.
func (l *Log) Append(e *Entry) error {
	if e.Key != nil && !validKey(e.Key) {
		return ErrBadKey
	}
	l.mu.Lock()
	defer l.mu.Unlock()

	head := l.head.Load()
	if l.fullLocked(head, e.Size) {
		return ErrFull
	}
	id, err := l.slots.find(e.Key, l.cfg.MaxKeys)
	if err != nil {
		return err
	}
	// Nothing fails from here on.
	e.Offset, e.Slot, e.Cum = head, id, l.cum
	e.Time = time.Now().UnixNano()
	e.Stamp = l.cfg.Clock.Add(1)
	l.cum += int64(e.Size)
	l.ring.put(l.tail, head, e)
	head++

	l.slots.claim(id)
	switch {
	case l.keyHistory() && !aside(e): // what a few are told is not the state of its key
		l.listLocked(id, e)
	case l.ringHistory() && aside(e):
		l.aside++
	}
	l.boundHistoryLocked(head)
	// The entry is the readers' with this store, and not before.
	l.head.Store(head)
	return nil
}

// Head returns the offset that the next entry will get. It is an atomic load: see the package documentation for what a reader may
// conclude from it.
func (l *Log) Head() uint64 { return l.head.Load() }

// Read appends the entries [from, to) to dst and returns it. The caller's claim guarantees that they are there: Read panics when
// they are not, since a reader that is told to skip in silence would break the accounting.
func (l *Log) Read(dst []*Entry, from, to uint64) []*Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if head := l.head.Load(); from < l.tail || to > head {
		panic(fmt.Sprintf("queue: read of [%d, %d) in a log that holds [%d, %d)", from, to, l.tail, head))
	}
	return l.ring.copyTo(dst, from, to)
}

// Pending tells what is ahead of a cursor at from: the number of entries, their sizes, and the Time of the first, 0 when there
// are none. Entries that the log has let go of are in n, and neither in bytes nor in oldest.
func (l *Log) Pending(from uint64) (n int, bytes int64, oldest int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	if from >= head {
		return 0, 0, 0
	}
	n = int(head - from)
	if from = max(from, l.tail); from < head {
		first := l.ring.at(from)
		bytes, oldest = l.cum-first.Cum, first.Time
	}
	return n, bytes, oldest
}

// Trim tells that no reader claims anything below low any more. What history does not keep of it is let go, at a cost of the
// entries it passes. A low below an earlier one changes nothing; one above Head is a mistake of the caller's, and panics.
func (l *Log) Trim(low uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	if low <= l.low {
		return
	}
	if low > head {
		panic(fmt.Sprintf("queue: trim to %d of a log whose head is %d", low, head))
	}
	for ; l.low < low; l.low++ {
		id := l.ring.at(l.low).Slot
		l.slots.at(id).kept++ // before the claim goes, so that the slot stays in use
		l.slots.unclaim(id)
	}
	l.dropLocked(head)
}

// Retained returns how many entries the log keeps, be it for claims or for history, and their sizes.
func (l *Log) Retained() (entries int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	return int(head-l.tail) + l.slots.outside, l.bytesLocked(l.tail, head) + l.slots.outsideBytes
}

// Idle reports whether the log keeps nothing: no entry is claimed or history, and no slot is held. Whoever forgets an idle log
// loses only its offsets.
func (l *Log) Idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail == l.head.Load() && l.slots.idle()
}

// fullLocked reports whether the claims leave no room for one more entry of size bytes. History does not count: it gives way.
func (l *Log) fullLocked(head uint64, size int) bool {
	n := head - l.low
	if n == 0 {
		return false
	}
	return l.cfg.MaxEntries > 0 && n >= uint64(l.cfg.MaxEntries) ||
		l.cfg.MaxBytes > 0 && l.bytesLocked(l.low, head)+int64(size) > l.cfg.MaxBytes
}

// bytesLocked returns the sizes of the entries [from, head) of the ring.
func (l *Log) bytesLocked(from, head uint64) int64 {
	if from >= head {
		return 0
	}
	return l.cum - l.ring.at(from).Cum
}

// dropLocked lets go of the entries that are neither claimed nor of the ring's history.
func (l *Log) dropLocked(head uint64) {
	to := l.low
	if l.ringHistory() {
		to = min(to, l.floor)
	}
	if l.tail >= to {
		return
	}
	for ; l.tail < to; l.tail++ {
		e := l.ring.take(l.tail)
		s := l.slots.at(e.Slot)
		if s.newest == e { // from here on the table alone keeps it
			l.slots.addOutside(s, 1)
		}
		l.slots.unkeep(e.Slot)
	}
	l.ring.shrink(l.tail, head, logKeep)
}
