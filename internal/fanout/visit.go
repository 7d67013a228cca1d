package fanout

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
	"github.com/wshub-go/wshub/internal/wire"
)

const (
	writeMax = 64 << 10 // bytes handed to one TryWrite, unless one frame is larger
	readMax  = 256      // entries taken from a log at a time
	feedMax  = 4        // entries offered to a channel at a time; its reader takes one
	batchMax = 8192     // entries of one write
)

// visitor is the scratch of one goroutine that owns write bits, one at a time. Its slices are reused.
type visitor struct {
	batches []batch
	scratch []*queue.Entry
	sources []source
	picks   []pick
	buf     []byte
	now     int64 // of this look; 0: not read yet
	full    bool  // the look under way is at all cursors
}

// source is one mailbox or cursor that has something to write.
type source struct {
	m        *Member        // nil: the mailbox
	entries  []*queue.Entry // oldest first
	next     int            // the first entry not picked and not refused
	refused  uint64         // by the filter, among entries[:next]
	quota    int            // entries that pacing still allows
	bytes    float64        // bytes that pacing still allows
	held     bool           // entries are the backlog's, not the log's
	more     bool           // there is more than entries, of any stamp
	picked   int            // entries picked and not committed
	commit   int            // entries[:commit] are decided by the write
	refusals uint64         // refused among entries[:commit]
	taken    int            // picked entries that have left or are begun
	size     int            // bytes of those
	sent     int            // picked entries that have left
}

// pick is an entry chosen for the write, in order.
type pick struct {
	src     int
	end     int    // source.next after it
	refused uint64 // source.refused after it
	entry   *queue.Entry
	frame   []byte // nil: packed into the frame of a later pick
}

func (v *visitor) time() int64 {
	if v.now == 0 {
		v.now = time.Now().UnixNano()
	}
	return v.now
}

// look writes whatever can be written and applies the policies to the rest. The caller owns the write bit and has
// cleared again before. A frame begun goes to *next, or to a goroutine of its own when next is nil.
func (v *visitor) look(s *Subscriber, next **begun, full bool) {
	v.now, v.full = 0, full
	if b := s.begun; b != nil && b.done.Load() {
		s.settle(b)
	}
	for s.begun == nil && s.state != silent {
		if s.conn != nil && s.conn.HasControl() {
			v.control(s)
			continue
		}
		if s.state != flowing || !v.round(s) {
			break
		}
	}
	switch {
	case s.begun == nil:
		s.behind = 0
	case s.behind == 0:
		s.behind = v.time()
	}
	if b := s.begun; b != nil {
		// The socket belongs to the drain goroutine. Only the policies go on.
		if s.state == flowing {
			v.overflow(s)
		}
		if !b.started {
			b.started = true
			if next != nil {
				*next = b
			} else {
				s.e.begin()
				go s.drain(b)
			}
		}
	}
	if mb := s.mail.Load(); s.state != flowing && mb != nil && mb.Len() > 0 {
		s.closeMail(causeLeft) // its first message came from a sender that had not seen the end
	}
	if s.seal != 0 && s.state != flowing && s.once(toldFlushed) {
		s.happen.flushed = true // nothing more will come
	}
	s.forgetLate()
	if len(v.scratch) > 0 {
		clear(v.scratch[:cap(v.scratch)])
		v.scratch = v.scratch[:0]
	}
}

// control writes close, pong and ping, in front of all data.
func (v *visitor) control(s *Subscriber) {
	frames, last := s.conn.TakeControl(v.buf[:0])
	v.buf = frames[:0]
	if last {
		// The first close frame wins; nothing follows it.
		s.stop(causeLeft)
		s.state = silent
	}
	if len(frames) == 0 {
		return
	}
	n, err := s.conn.TryWrite(frames)
	if err != nil {
		s.breakOff(err)
		return
	}
	if n < len(frames) {
		s.begun = &begun{rest: append([]byte(nil), frames[n:]...), last: last}
		return
	}
	if last {
		s.closeLeft()
	}
}

// round writes one batch: everything pending that is stamped up to the clock, in the order of stamps, up to writeMax
// bytes. It reports whether another round may find more.
func (v *visitor) round(s *Subscriber) (more bool) {
	// The clock first, then the heads: what was published before anything stamped up to the clock began is seen.
	bound := s.e.clock.Load()
	if s.seal != 0 && s.seal < bound {
		bound = s.seal
	}
	v.sources = v.sources[:0]
	later := false // something is pending beyond the bound
	for _, m := range s.lookAt(v.full) {
		later = v.offer(s, m, bound) || later
		if s.state != flowing || s.filterFailed() {
			return s.state != silent
		}
	}
	if mb := s.mail.Load(); mb != nil && mb.Len() > 0 {
		if e := mb.Peek(); e.Stamp <= bound {
			src := v.addSource()
			src.entries, src.more = append(src.entries, e), mb.Len() > 1
		} else {
			later = true
		}
	}
	if len(v.sources) == 0 {
		if s.seal != 0 && s.once(toldFlushed) {
			s.happen.flushed = true
		}
		return later && s.seal == 0
	}
	v.choose(s, bound)
	if s.filterFailed() {
		return true
	}
	n, err := v.write(s)
	if err != nil {
		s.breakOff(err)
		return false
	}
	return v.commit(s, n) && s.begun == nil
}

// filterFailed ends the data if a filter has panicked.
func (s *Subscriber) filterFailed() bool {
	if s.happen == nil || s.happen.panic == nil {
		return false
	}
	s.fail(s.happen.panic)
	s.happen.panic = nil
	return true
}

func (v *visitor) addSource() *source {
	if len(v.sources) < cap(v.sources) {
		v.sources = v.sources[:len(v.sources)+1]
	} else {
		v.sources = append(v.sources, source{})
	}
	src := &v.sources[len(v.sources)-1]
	*src = source{entries: src.entries[:0], quota: int(^uint(0) >> 1), bytes: -1}
	return src
}

// offer makes a source of what m has pending and may send now; it reports whether there is more beyond the bound.
func (v *visitor) offer(s *Subscriber, m *Member, bound uint64) (later bool) {
	t := m.topic
	head := t.log.Head()
	held := m.backlog != nil && m.backlog.len() > 0
	if m.cursor.Load() >= head && !held {
		if m.lagging.Load() {
			t.dropLag(m)
		}
		if m.backlog != nil {
			m.backlog.due = 0
		}
		return false
	}
	if m.rule.Coalesce && (held || m.rule.paced()) {
		m.conflate(v, head, bound)
		held = m.backlog.len() > 0
	}
	cursor := m.cursor.Load()
	src := v.addSource()
	if held {
		src.held = true
		n := readMax
		if s.feed != nil {
			n = feedMax
		}
		if m.rule.Limit > 0 {
			n = min(n, m.rule.Burst)
		}
		src.entries = m.backlog.next(src.entries, n)
		later = cursor < head
		// What comes after the line of Coalesce is beyond the bound.
		src.more = m.backlog.len() > len(src.entries) || later && !m.rule.Coalesce
	} else if cursor < head {
		if s.feed != nil {
			src.entries = t.log.Read(src.entries, cursor, min(head, cursor+feedMax))
		} else {
			src.entries = t.enough(src.entries, cursor, head)
		}
		src.more = head > cursor+uint64(len(src.entries))
		later = src.entries[0].Stamp > bound
	}
	switch {
	case !held && (later || cursor >= head):
		v.sources = v.sources[:len(v.sources)-1]
		if later && s.seal != 0 {
			m.finish(causeLeft) // all that is left was published after the seal
		} else if !later && m.lagging.Load() {
			t.dropLag(m)
		}
	case m.rule.paced() && s.seal == 0 && !v.allow(m, src):
		v.sources = v.sources[:len(v.sources)-1]
		v.bound(m, head, bound)
		return false // a timer has been set
	default:
		src.m = m
	}
	return later
}

// choose merges the sources by stamp into picks.
func (v *visitor) choose(s *Subscriber, bound uint64) {
	v.picks = v.picks[:0]
	size := 0
	for {
		best := -1
		var first *queue.Entry
		for i := range v.sources {
			src := &v.sources[i]
			e := src.peek(bound)
			if e == nil && src.dry() {
				return // what it has next may come before what the others have
			}
			if e != nil && (first == nil || e.Stamp < first.Stamp) {
				best, first = i, e
			}
		}
		if first == nil {
			return
		}
		var frame []byte
		if s.conn != nil {
			frame = first.Frame.Wire()
			if s.conn.Compressed() {
				frame = first.Frame.Deflated(s.conn.CompressThreshold())
			}
			if size > 0 && size+len(frame) > writeMax {
				return
			}
			size += len(frame)
		} else if len(v.picks) >= feedMax {
			return
		}
		src := &v.sources[best]
		src.take(first)
		v.picks = append(v.picks, pick{src: best, end: src.next, refused: src.refused, entry: first, frame: frame})
	}
}

// peek returns the next entry that may be picked, passing over what the filter refuses.
func (src *source) peek(bound uint64) *queue.Entry {
	for src.next < len(src.entries) {
		e := src.entries[src.next]
		if e.Stamp > bound || src.quota <= 0 {
			return nil
		}
		if !src.held && src.m != nil && !src.m.admits(e) {
			src.next++
			src.refused++
			continue
		}
		if src.bytes >= 0 && float64(min(e.Size, src.m.rule.ByteBurst)) > src.bytes {
			return nil
		}
		return e
	}
	return nil
}

// dry reports whether more of the source has to be read before it is known what comes next.
func (src *source) dry() bool { return src.more && src.next == len(src.entries) && src.quota > 0 }

func (src *source) take(e *queue.Entry) {
	src.next++
	src.picked++
	src.quota--
	if src.bytes >= 0 {
		src.bytes -= float64(min(e.Size, src.m.rule.ByteBurst))
	}
}

// write hands the picks over in one call and returns the bytes, or for a feed the values, that were taken.
func (v *visitor) write(s *Subscriber) (int, error) {
	if len(v.picks) == 0 {
		return 0, nil
	}
	if s.feed != nil {
		for i := range v.picks {
			if !s.feed.TryPut(v.picks[i].entry) {
				return i, nil
			}
		}
		return len(v.picks), nil
	}
	v.pack()
	if len(v.picks) == 1 {
		return s.conn.TryWrite(v.picks[0].frame)
	}
	buf := v.buf[:0]
	for i := range v.picks {
		buf = append(buf, v.picks[i].frame...)
	}
	v.buf = buf[:0]
	return s.conn.TryWrite(buf)
}

// pack joins adjacent texts of a subscription that packs into one frame, kept by the last of them.
func (v *visitor) pack() {
	for i := 0; i < len(v.picks); {
		m := v.sources[v.picks[i].src].m
		if m == nil || !m.rule.Pack || v.picks[i].entry.Frame.Op() != wire.OpText {
			i++
			continue
		}
		j := i + 1
		for j < len(v.picks) && v.picks[j].src == v.picks[i].src && v.picks[j].entry.Frame.Op() == wire.OpText {
			j++
		}
		if j > i+1 {
			var text []byte
			for k := i; k < j; k++ {
				if k > i {
					text = append(text, m.rule.Sep...)
				}
				text = append(text, v.picks[k].entry.Frame.Payload()...)
				v.picks[k].frame = nil
			}
			v.picks[j-1].frame = wire.AppendFrame(nil, wire.OpText, text)
		}
		i = j
	}
}

// commit decides what the write has decided: n bytes (or values) of the picks were taken. Cursors move past what has
// left and past the frame begun, never further.
// It reports whether anything was decided.
func (v *visitor) commit(s *Subscriber, n int) (moved bool) {
	for i := 0; i < len(v.picks); {
		j := i // picks[i:j+1] share a frame
		for v.picks[j].frame == nil && s.feed == nil {
			j++
		}
		size := len(v.picks[j].frame)
		if s.feed != nil {
			size = 1
		}
		src := &v.sources[v.picks[j].src]
		src.commit, src.refusals = v.picks[j].end, v.picks[j].refused
		count := j - i + 1
		src.picked -= count
		src.taken += count
		for k := i; k <= j; k++ {
			src.size += v.picks[k].entry.Size
		}
		if n < size {
			b := &begun{member: src.m, entry: v.picks[j].entry, count: uint32(count)}
			for k := i; k <= j; k++ {
				b.size += int64(v.picks[k].entry.Size)
			}
			if s.feed == nil {
				b.rest = v.picks[j].frame[n:]
			}
			if src.m != nil {
				src.m.pending.Store(b.count)
			}
			s.begun = b
			if src.m == nil {
				s.popMail()
			}
			moved = true
			break
		}
		n -= size
		if src.m == nil {
			s.popMail()
			s.e.direct.sent.Add(1)
			s.e.recycle(v.picks[j].entry)
			moved = true
		} else {
			src.sent += count
		}
		i = j + 1
	}
	for i := range v.sources {
		src := &v.sources[i]
		m := src.m
		if m == nil {
			continue
		}
		if src.picked == 0 { // everything picked has left or is begun: so has what the filter refused after it
			src.commit, src.refusals = src.next, src.refused
		}
		if src.commit > 0 {
			moved = true
			if m.rule.paced() {
				v.spend(m, src)
			}
			if src.held {
				m.backlog.pop(m.topic.log, src.commit)
			} else {
				m.cursor.Store(src.entries[0].Offset + uint64(src.commit))
			}
		}
		m.filtered(src.refusals)
		if src.sent > 0 {
			m.sent += uint64(src.sent)
			m.topic.totals.sent.Add(uint64(src.sent))
		}
		if m.lagging.Load() {
			m.topic.dropLag(m)
		}
	}
	for i := range v.sources {
		clear(v.sources[i].entries)
		v.sources[i].m = nil
	}
	clear(v.picks)
	return moved
}

// overflow applies the policies to everything pending while a frame is begun.
func (v *visitor) overflow(s *Subscriber) {
	bound := s.e.clock.Load()
	if s.seal != 0 && s.seal < bound {
		bound = s.seal
	}
	for _, m := range s.lookAt(v.full) {
		if head := m.topic.log.Head(); m.cursor.Load() < head || m.backlog != nil || m.pending.Load() > 0 {
			v.bound(m, head, bound)
		}
		if s.state != flowing || s.filterFailed() {
			return
		}
	}
}

// bound applies m's policy to what it has pending and cannot be written now.
func (v *visitor) bound(m *Member, head, bound uint64) {
	s := m.sub
	defer s.markLate(m)
	switch {
	case m.rule.Coalesce:
		m.conflate(v, head, bound)
	case m.rule.Overflow == DropNewest:
		m.keepFirst(v, head, bound)
	case m.rule.Overflow == DropOldest:
		m.keepLast(v, head)
		m.topic.wake()
	default:
		v.expel(m, head)
	}
	// So far the pass under way claims what is left, or m does. After a seal something may be left whatever the policy:
	// values beyond it. With Block the frame begun is enough: publishers count it.
	switch cursor := m.cursor.Load(); {
	case cursor < head || cursor != ended && m.rule.blocks() > 0:
		m.topic.addLag(m)
	case m.lagging.Load():
		m.topic.dropLag(m)
	}
}

// expel gives the subscriber up when m's bounds and its grace are over, or looks again when they will be.
func (v *visitor) expel(m *Member, head uint64) {
	s, r := m.sub, m.rule
	n, bytes, oldest := 0, int64(0), int64(0)
	if cursor := m.cursor.Load(); cursor < head {
		n, bytes, oldest = m.topic.log.Pending(cursor)
	}
	if b := m.backlog; b != nil && b.len() > 0 {
		n, bytes, oldest = n+b.len(), bytes+b.size, b.since
	}
	if k := int(m.pending.Load()); k > 0 {
		n += k
		bytes += s.begun.size
		oldest = s.begun.entry.Time
	}
	over := n > r.N || n > 1 && r.MaxBytes > 0 && bytes > r.MaxBytes
	if r.Overflow == Block {
		over = n >= r.N || n > 1 && r.MaxBytes > 0 && bytes > r.MaxBytes
	}
	if !over {
		return
	}
	// A value that waited for a worker is our delay, not the subscriber's: its age counts from when it fell behind.
	if at := max(oldest, s.behind) + int64(r.Age); v.time() < at {
		s.visitAt(at)
		return
	}
	s.stop(causeEvicted)
	if s.once(toldSlow) {
		s.happen.slow = m.topic
	}
}

// settle takes the frame begun back from the drain goroutine.
func (s *Subscriber) settle(b *begun) {
	s.begun = nil
	m := b.member
	if m != nil {
		m.pending.Store(0)
	}
	switch {
	case b.err == nil && m != nil:
		m.sent += uint64(b.count)
		m.topic.totals.sent.Add(uint64(b.count))
	case b.err == nil && b.entry != nil:
		s.e.direct.sent.Add(1)
		s.e.recycle(b.entry)
	case m != nil:
		m.undo(b.fate, uint64(b.count))
	case b.entry != nil && b.fate == causeEvicted:
		s.e.direct.evicted.Add(1)
	case b.entry != nil:
		s.e.direct.undelivered.Add(1)
	}
	if m != nil {
		m.topic.wake()
	}
	if b.err != nil {
		err := b.err
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%w: %w", ErrWriteTimeout, err)
		}
		s.breakOff(err)
		return
	}
	if b.last {
		s.closeLeft()
	}
}

// closeLeft notes that the close frame has left entirely.
func (s *Subscriber) closeLeft() {
	s.conn.CloseSent()
	if s.once(toldClosed) {
		s.happen.closed = true
	}
}

// popMail removes the message just picked. Close may have dropped and counted it meanwhile; callers own the write bit,
// and so does who closes.
func (s *Subscriber) popMail() { s.mail.Load().Pop() }
