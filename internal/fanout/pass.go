package fanout

import (
	"github.com/wshub-go/wshub/internal/queue"
)

// batch is a run of frames as bytes, shared by all members of a pass that stand at the same place and take the same
// form.
type batch struct {
	from, to   uint64
	compressed bool
	picky      bool // an entry has Except or Only
	bytes      []byte
	buf        []byte // backs bytes when the batch is more than one frame; reused
	entries    []*queue.Entry
}

// maxBatches is how many different places a stride remembers.
const maxBatches = 8

// pass visits the members of some chunks, which are offered everything below head. The members of a chunk are copied
// before any is visited, and the loads of their cursors overlap.
func (v *visitor) pass(t *Topic, head uint64, chunks []*chunk) {
	var members [chunkSize]*Member
	var sent uint64
	for _, c := range chunks {
		if c.used.Load() == 0 {
			continue
		}
		n := 0
		for i := range c.places {
			if m := c.places[i].Load(); m != nil && (m.cursor.Load() < head || m.ticks.Load()) {
				members[n] = m
				n++
			}
		}
		for _, m := range members[:n] {
			s := m.sub
			if !s.word.CompareAndSwap(0, owned) {
				// The claim first, then the mark: the owner that sees the mark sees the claim, and the pass may end.
				t.addLag(m)
				s.Visit()
				continue
			}
			k, done := v.quick(t, m, head)
			sent += k
			if !done {
				s.release(nil)
			} else if !s.word.CompareAndSwap(owned, 0) {
				s.word.Store(owned) // clears again; the next look comes after
				s.release(nil)
			}
		}
		clear(members[:n])
	}
	if sent > 0 {
		t.totals.sent.Add(sent)
	}
	for i := range v.batches {
		b := &v.batches[i]
		clear(b.entries)
		b.entries, b.bytes = b.entries[:0], nil
	}
	v.batches = v.batches[:0]
}

// quick writes shared batches to a member that has nothing else pending, in any topic or its mailbox, and no policy of
// its own. Otherwise, and after a short write, it returns false and the usual look has to follow. The head was read
// before the other cursors and the mailbox are: what came earlier than anything below head is seen. The caller owns the
// write bit.
func (v *visitor) quick(t *Topic, m *Member, head uint64) (sent uint64, done bool) {
	s := m.sub
	if s.state != flowing || s.begun != nil || !m.plain || m.gone || s.conn == nil {
		return 0, false
	}
	if r := s.rare; r != nil && (r.seal != 0 || r.many != nil) {
		return 0, false
	}
	if m.holds() {
		return 0, false
	}
	if mb := s.mail.Load(); mb != nil && mb.Len() > 0 {
		return 0, false
	}
	if len(s.subs) > 1 {
		for _, o := range s.subs {
			if o != m && o.owes() {
				return 0, false
			}
		}
	}
	cursor := m.cursor.Load()
	for cursor < head {
		b := v.batch(t, cursor, head, s.conn)
		if b.picky && !b.whole(s.id) {
			return sent, false
		}
		n, err := s.conn.TryWrite(b.bytes)
		if err != nil {
			s.breakOff(err)
			return sent, false
		}
		if n < len(b.bytes) {
			return sent + b.short(m, n), false
		}
		sent += b.to - b.from
		m.sent += b.to - b.from
		cursor = b.to
		m.cursor.Store(cursor)
	}
	if m.lagging.Load() {
		t.dropLag(m)
	}
	return sent, true
}

// batch returns the batch that begins at from, at most writeMax bytes unless its first frame is larger.
func (v *visitor) batch(t *Topic, from, head uint64, c Conn) *batch {
	compressed := c.Compressed() // all of a hub with one threshold
	for i := range v.batches {
		if b := &v.batches[i]; b.from == from && b.compressed == compressed {
			return b
		}
	}
	switch {
	case len(v.batches) == maxBatches:
		// The oldest place is the one the fewest members still stand at.
		b := v.batches[0]
		copy(v.batches, v.batches[1:])
		v.batches[maxBatches-1] = b
	case len(v.batches) < cap(v.batches):
		v.batches = v.batches[:len(v.batches)+1]
	default:
		v.batches = append(v.batches, batch{})
	}
	b := &v.batches[len(v.batches)-1]
	b.from, b.compressed, b.picky = from, compressed, false
	clear(b.entries) // of the place it was for before
	entries := t.enough(b.entries[:0], from, head)
	buf := b.buf[:0]
	n := 0
	for i, e := range entries {
		frame := e.Frame.Wire()
		if compressed {
			frame = e.Frame.Deflated(c.CompressThreshold())
		}
		if i == 0 {
			b.bytes = frame
		} else {
			if len(b.bytes)+len(frame) > writeMax {
				break
			}
			if i == 1 {
				buf = append(buf, b.bytes...)
			}
			buf = append(buf, frame...)
			b.bytes = buf
		}
		b.picky = b.picky || e.Except != nil || e.Only != nil
		n++
	}
	clear(entries[n:])
	b.entries, b.buf = entries[:n], buf[:0]
	b.to = from + uint64(n)
	return b
}

// enough reads the entries from an offset on that fill one write, as far as there are so many. Runs of tiny frames are
// why it goes by bytes: with 256 entries a write, a client that had 100,000 frames of seven bytes pending took 390 writes
// and now takes 11.
func (t *Topic) enough(dst []*queue.Entry, from, head uint64) []*queue.Entry {
	for n := uint64(0); ; {
		at := from + n
		dst = t.log.Read(dst, at, min(head, at+readMax))
		n = uint64(len(dst))
		last := dst[n-1]
		if from+n == head || n >= batchMax || last.Cum+int64(last.Size)-dst[0].Cum >= writeMax {
			return dst
		}
	}
}

// whole reports whether the subscriber may get every entry.
func (b *batch) whole(id uint64) bool {
	for _, e := range b.entries {
		if !addressed(e, id) {
			return false
		}
	}
	return true
}

// short decides what a write of n bytes has decided: the cursor returns to the first frame not begun. The caller owns
// the write bit.
func (b *batch) short(m *Member, n int) (sent uint64) {
	s := m.sub
	for i, e := range b.entries {
		frame := e.Frame.Wire()
		if b.compressed {
			frame = e.Frame.Deflated(s.conn.CompressThreshold())
		}
		if n >= len(frame) {
			n -= len(frame)
			sent++
			continue
		}
		s.begun = &begun{rest: frame[n:], member: m, entry: e, size: int64(e.Size), count: 1}
		m.begun.Store(s.begun)
		m.sent += sent
		m.cursor.Store(b.from + uint64(i) + 1)
		return sent
	}
	return sent
}
