package queue

import (
	"sync"
	"sync/atomic"
	"time"
)

// mailboxKeep is the number of places that an empty mailbox's ring may keep; there is a mailbox per session, so they are few.
const mailboxKeep = ringMin

// Mailbox is the queue of the direct messages of one session: any number of goroutines push, the owner of the session's write bit
// reads and pops. It is bounded in entries and in bytes and keeps no memory to speak of while it is empty. The zero Mailbox is
// ready, has no bounds and a clock of its own; [NewMailbox] returns one with bounds and the hub's clock. It must not be copied
// after first use. All methods may be called by any goroutine and none waits. What Read has returned stays the oldest as long as
// nobody else calls Pop or Close: both are for the owner of the write bit.
type Mailbox struct {
	maxN     int          // immutable after NewMailbox, as is maxBytes
	maxBytes int64        //
	n        atomic.Int64 // head - tail; stored under mu, loaded by anyone

	mu     sync.Mutex
	clock  *atomic.Uint64 // guarded by mu, as is all below; nil: none made yet
	ring   ring           // holds [tail, head)
	tail   uint64
	head   uint64
	cum    int64 // sizes of everything ever pushed
	bytes  int64 // sizes of what is in the ring
	closed bool
	room   chan struct{} // nil while nobody has asked; whoever takes it from here closes it, after unlocking mu
}

// NewMailbox returns an empty mailbox for at most maxN entries of maxBytes bytes together; zero or less is no bound.
func NewMailbox(maxN int, maxBytes int64, clock *atomic.Uint64) *Mailbox {
	return &Mailbox{maxN: maxN, maxBytes: maxBytes, clock: clock}
}

// Push takes e in and sets its Offset, Stamp, Time and Cum; e must not be changed any more. An empty mailbox admits one entry
// however large; beyond, an entry that would exceed a bound is refused with [ErrFull]. A closed one refuses all with [ErrClosed].
// A refused entry may be pushed again.
func (m *Mailbox) Push(e *Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if n := m.head - m.tail; n > 0 {
		if m.maxN > 0 && n >= uint64(m.maxN) || m.maxBytes > 0 && m.bytes+int64(e.Size) > m.maxBytes {
			return ErrFull
		}
	}
	if m.clock == nil {
		m.clock = new(atomic.Uint64)
	}
	e.Offset, e.Cum = m.head, m.cum
	e.Time = time.Now().UnixNano()
	e.Stamp = m.clock.Add(1)
	m.cum += int64(e.Size)
	m.bytes += int64(e.Size)
	m.ring.put(m.tail, m.head, e)
	m.head++
	m.n.Add(1) // the entry is the owner's from here on
	return nil
}

// Read appends up to n entries to dst, oldest first, and removes none.
func (m *Mailbox) Read(dst []*Entry, n int) []*Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := m.tail; i < m.head && n > 0; i++ {
		dst = append(dst, m.ring.at(i))
		n--
	}
	return dst
}

// Pop removes the oldest entry and wakes who waits for room. It reports whether there was one. Only the owner of the write bit
// calls it.
func (m *Mailbox) Pop() bool {
	room, ok := m.pop()
	if room != nil {
		close(room)
	}
	return ok
}

func (m *Mailbox) pop() (room chan struct{}, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.head == m.tail {
		return nil, false
	}
	m.bytes -= int64(m.ring.take(m.tail).Size)
	m.tail++
	m.n.Add(-1)
	m.ring.shrink(m.tail, m.head, mailboxKeep)
	room, m.room = m.room, nil
	return room, true
}

// Len returns the number of entries. It is an atomic load, and never less than what finished calls of Push have added and nobody
// has removed.
func (m *Mailbox) Len() int { return int(m.n.Load()) }

// Wake wakes who waits for room although there may be none: they are to look at what their owner has to tell, such as that
// nothing more is taken.
func (m *Mailbox) Wake() {
	m.mu.Lock()
	room := m.room
	m.room = nil
	m.mu.Unlock()
	if room != nil {
		close(room)
	}
}

// Room returns a channel that is closed when, after the call, an entry is removed, Wake is called or the mailbox is closed. To
// wait without losing a wake-up, call Room, then Push, and wait only if that returned ErrFull; all who wait are woken, and the
// first to push wins.
func (m *Mailbox) Room() <-chan struct{} {
	room, closed := m.roomOf()
	if closed {
		// Nobody else has it. One for all mailboxes would be a channel of the package, which outlives every synctest bubble.
		close(room)
	}
	return room
}

func (m *Mailbox) roomOf() (room chan struct{}, closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return make(chan struct{}), true
	}
	if m.room == nil {
		m.room = make(chan struct{})
	}
	return m.room, false
}

// Close drops what is left, returns how many entries that were, refuses all that comes later and wakes who waits for room. Only
// the first call finds anything.
func (m *Mailbox) Close() (left int) {
	left, room := m.drop()
	if room != nil {
		close(room)
	}
	return left
}

func (m *Mailbox) drop() (left int, room chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	left = int(m.head - m.tail)
	m.closed = true
	m.ring, m.tail, m.bytes = ring{}, m.head, 0
	m.n.Add(-int64(left))
	room, m.room = m.room, nil
	return left, room
}
