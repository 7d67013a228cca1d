package fanout

import (
	"golang.org/x/time/rate"

	"github.com/wshub-go/wshub/internal/queue"
)

// backlog is what a member holds besides its cursor: replayed values, the first values under DropNewest, or the line of
// keys under Coalesce; and the state of its pacing. It is guarded by the subscriber's write bit.
type backlog struct {
	held  []*queue.Entry // in [first, len): oldest first, all before the cursor
	first int
	size  int64
	since int64 // when the replay was offered, unix nanoseconds

	// The line of Coalesce: at[slot] is the place of the slot's entry, counted from the line's beginning, plus one; 0: the
	// slot is not in it. 4 bytes a slot beside the 8 of the reference: a reader with a filter may owe an older value than
	// the key's newest, so the reference cannot be left to the log's table.
	line   bool
	plain  int // entries at the front that are not in the line: replays, from before it began
	at     []uint32
	popped uint32 // places given up since the line began

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

func (b *backlog) len() int { return len(b.held) - b.first }

func (b *backlog) entries() []*queue.Entry { return b.held[b.first:] }

func (b *backlog) push(e *queue.Entry) {
	b.held = append(b.held, e)
	b.size += int64(e.Size)
}

// pop gives the n oldest up.
func (b *backlog) pop(l *queue.Log, n int) {
	for i, e := range b.held[b.first : b.first+n] {
		b.size -= int64(e.Size)
		if b.line && i >= b.plain {
			b.at[e.Slot] = 0
			l.Unhold(e.Slot)
		}
	}
	clear(b.held[b.first : b.first+n])
	b.first += n
	b.plain = max(0, b.plain-n)
	b.popped += uint32(n)
	switch {
	case b.first == len(b.held):
		b.held, b.first, b.plain = nil, 0, 0
		b.line, b.at, b.popped = false, nil, 0
	case b.first > len(b.held)/2:
		k := copy(b.held, b.held[b.first:])
		clear(b.held[k:])
		b.held, b.first = b.held[:k], 0
	}
	if b.popped >= 1<<31 {
		b.renumber()
	}
}

func (b *backlog) renumber() {
	b.popped = 0
	if b.line {
		for i, e := range b.entries()[b.plain:] {
			b.at[e.Slot] = uint32(b.plain+i) + 1
		}
	}
}

func (b *backlog) clear(l *queue.Log) {
	if n := b.len(); n > 0 {
		b.pop(l, n)
	}
}

// unline turns the line into plain held values.
func (b *backlog) unline(l *queue.Log) {
	for _, e := range b.entries()[b.plain:] {
		l.Unhold(e.Slot)
	}
	b.line, b.at, b.popped = false, nil, 0
}

// enter puts e at the end of the line, or in the place of its key's older value; it reports whether there was one.
func (b *backlog) enter(l *queue.Log, e *queue.Entry) (superseded bool) {
	for int(e.Slot) >= len(b.at) {
		b.at = append(b.at, 0)
	}
	if p := b.at[e.Slot]; p != 0 {
		i := b.first + int(p-1-b.popped)
		b.size += int64(e.Size) - int64(b.held[i].Size)
		b.held[i] = e
		return true
	}
	l.Hold(e.Slot)
	b.at[e.Slot] = uint32(b.len()) + b.popped + 1
	b.push(e)
	return false
}

// conflate takes everything up to head and bound into the line. What a later value of its key supersedes is coalesced.
func (m *Member) conflate(v *visitor, head, bound uint64) {
	l := m.topic.log
	b := m.backlogOf()
	if !b.line {
		b.line, b.plain, b.popped = true, b.len(), 0
	}
	m.absorb(v, head, bound, func(e *queue.Entry) {
		if b.enter(l, e) {
			m.coalesced(1)
		}
	})
	if b.len() == 0 {
		b.line = false
	}
}

// keepFirst takes what DropNewest has room for and drops the rest.
func (m *Member) keepFirst(v *visitor, head, bound uint64) {
	b := m.backlogOf()
	m.absorb(v, head, bound, func(e *queue.Entry) {
		n := b.len() + int(m.pending.Load())
		if n >= m.rule.N || n > 0 && m.rule.MaxBytes > 0 && b.size+int64(e.Size) > m.rule.MaxBytes {
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
		over := all - m.rule.N
		if over <= 0 && (all <= 1 || m.rule.MaxBytes <= 0 || bytes <= m.rule.MaxBytes) {
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
