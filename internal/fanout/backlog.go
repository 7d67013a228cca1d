package fanout

import (
	"golang.org/x/time/rate"

	"github.com/wshub-go/wshub/internal/queue"
)

// backlog is what a member holds besides its cursor: replayed values or the first values under DropNewest, then the
// line of Coalesce; and the state of its pacing. It is guarded by the subscriber's write bit.
type backlog struct {
	held  []*queue.Entry // in [first, len): oldest first, all before the cursor
	first int
	size  int64 // bytes of what is held
	since int64 // when the replay was offered, or the first value was kept, unix nanoseconds

	line line

	limit *rate.Limiter
	bytes *rate.Limiter
	due   int64 // the tick that Flush waits for; 0: none
}

func (m *Member) backlogOf() *backlog {
	if m.backlog == nil {
		m.backlog = new(backlog)
	}
	return m.backlog
}

// len returns the number of values.
func (b *backlog) len() int { return len(b.held) - b.first + b.line.len() }

// holds reports whether the backlog has values. Callers own the write bit.
func (m *Member) holds() bool { return m.backlog != nil && m.backlog.len() > 0 }

// owes reports whether m has values that are not begun. Callers own the write bit.
func (m *Member) owes() bool { return m.holds() || m.cursor.Load() < m.topic.log.Head() }

// next appends the first n values to dst.
func (b *backlog) next(dst []*queue.Entry, n int) []*queue.Entry {
	k := min(n, len(b.held)-b.first)
	return b.line.next(append(dst, b.held[b.first:b.first+k]...), n-k)
}

func (b *backlog) push(e *queue.Entry) {
	b.held = append(b.held, e)
	b.size += int64(e.Size)
}

// keep is push for a value that expel may have to know the age of.
func (b *backlog) keep(e *queue.Entry) {
	if b.len() == 0 {
		b.since = e.Time
	}
	b.push(e)
}

// pop gives the first n values up.
func (b *backlog) pop(l *queue.Log, n int) {
	k := min(n, len(b.held)-b.first)
	for _, e := range b.held[b.first : b.first+k] {
		b.size -= int64(e.Size)
	}
	clear(b.held[b.first : b.first+k])
	b.first += k
	switch {
	case b.first == len(b.held):
		b.held, b.first = nil, 0
	case b.first > len(b.held)/2:
		i := copy(b.held, b.held[b.first:])
		clear(b.held[i:])
		b.held, b.first = b.held[:i], 0
	}
	if n > k {
		b.line.sent(l, n-k)
	}
}

// clear gives everything up.
func (b *backlog) clear(l *queue.Log) {
	b.held, b.first, b.size = nil, 0, 0
	b.line.clear(l)
}

// unline makes plain held values of the line, for a member that does not coalesce any more.
func (b *backlog) unline(l *queue.Log) {
	for _, e := range b.line.next(nil, b.line.len()) {
		b.push(e)
	}
	b.line.clear(l)
}

// conflate takes everything up to head and bound into the line. What a later value of its key supersedes is coalesced.
func (m *Member) conflate(v *visitor, head, bound uint64) {
	l := m.topic.log
	b := m.backlogOf()
	m.absorb(v, head, bound, func(e *queue.Entry) {
		if b.line.enter(l, e) {
			m.coalesced(1)
		}
	})
}

// keepFirst takes what DropNewest has room for and drops the rest.
func (m *Member) keepFirst(v *visitor, head, bound uint64) {
	b := m.backlogOf()
	m.absorb(v, head, bound, func(e *queue.Entry) {
		n, size := b.len(), b.size+int64(e.Size)
		if f := m.begun.Load(); f != nil {
			n, size = n+int(f.count), size+f.size
		}
		if n >= m.rule().N || n > 0 && m.rule().MaxBytes > 0 && size > m.rule().MaxBytes {
			m.dropped(1)
			return
		}
		b.push(e)
	})
}

// keepLast drops the oldest until the rest is within the bounds of DropOldest.
func (m *Member) keepLast(v *visitor, head uint64) {
	l := m.topic.log
	held := 0
	if m.backlog != nil {
		held = m.backlog.len()
	}
	for {
		cursor := m.cursor.Load()
		n, bytes, _ := l.Pending(cursor)
		if cursor >= head {
			n, bytes = 0, 0
		}
		all := held + n
		if m.backlog != nil {
			bytes += m.backlog.size
		}
		over := all - m.rule().N
		if over <= 0 && (all <= 1 || m.rule().MaxBytes <= 0 || bytes <= m.rule().MaxBytes) {
			return
		}
		over = max(over, 1)
		if held > 0 {
			k := min(over, held)
			m.backlog.pop(l, k)
			held -= k
			m.dropped(uint64(k))
			continue
		}
		v.scratch = l.Read(v.scratch[:0], cursor, cursor+uint64(min(over, readMax)))
		var skipped uint64
		for _, e := range v.scratch {
			if m.admits(e) {
				skipped++
			}
		}
		m.filtered(uint64(len(v.scratch)) - skipped)
		m.dropped(skipped)
		m.cursor.Store(cursor + uint64(len(v.scratch)))
	}
}

// absorb hands the values from the cursor on, up to head and stamped up to bound, to take, and moves the cursor.
func (m *Member) absorb(v *visitor, head, bound uint64, take func(*queue.Entry)) {
	l := m.topic.log
	for {
		cursor := m.cursor.Load()
		if cursor >= head {
			return
		}
		v.scratch = l.Read(v.scratch[:0], cursor, min(head, cursor+readMax))
		var refused uint64
		for i, e := range v.scratch {
			if e.Stamp > bound {
				m.filtered(refused)
				m.cursor.Store(cursor + uint64(i))
				return
			}
			if m.admits(e) {
				take(e)
			} else {
				refused++
			}
		}
		m.filtered(refused)
		m.cursor.Store(cursor + uint64(len(v.scratch)))
	}
}

func (m *Member) filtered(n uint64) {
	if n > 0 {
		m.account().Filtered += n
		m.topic.totals.filtered.Add(n)
	}
}

func (m *Member) coalesced(n uint64) {
	m.account().Coalesced += n
	m.topic.totals.coalesced.Add(n)
}

func (m *Member) dropped(n uint64) {
	if n > 0 {
		m.account().Dropped += n
		m.topic.totals.dropped.Add(n)
		m.sub.noteDrop(m.topic, n)
	}
}
