package fanout

import (
	"math"

	"github.com/wshub-go/wshub/internal/queue"
)

// source is one mailbox or cursor that has something to write.
type source struct {
	m        *Member        // nil: the mailbox
	entries  []*queue.Entry // oldest first
	next     int            // the first entry not picked and not refused
	refused  uint64         // by the filter, among entries[:next]
	asked    int            // entries[:asked] have been through the filter: the last may wait at next, admitted
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

func (v *visitor) addSource() *source {
	if len(v.sources) < cap(v.sources) {
		v.sources = v.sources[:len(v.sources)+1]
	} else {
		v.sources = append(v.sources, source{})
	}
	src := &v.sources[len(v.sources)-1]
	*src = source{entries: src.entries[:0], quota: math.MaxInt, bytes: -1}
	return src
}

// dropSource takes the last source back.
func (v *visitor) dropSource() {
	last := len(v.sources) - 1
	clear(v.sources[last].entries)
	v.sources[last].m = nil
	v.sources = v.sources[:last]
}

// forget lets go of all that the sources and picks refer to; the scratch may lie in the pool for long.
func (v *visitor) forget() {
	for len(v.sources) > 0 {
		v.dropSource()
	}
	clear(v.picks)
	v.picks = v.picks[:0]
}

// offer makes a source of what m has pending and may send now; it reports whether there is more beyond the bound.
func (v *visitor) offer(s *Subscriber, m *Member, bound uint64) (later bool) {
	t := m.topic
	head := t.log.Head()
	held := m.holds()
	if m.cursor.Load() >= head && !held {
		if m.lagging.Load() {
			t.dropLag(m)
		}
		if m.backlog != nil {
			m.backlog.due = 0
		}
		return false
	}
	if m.rule().Coalesce && (held || m.rule().paced()) {
		m.conflate(v, head, bound)
		held = m.backlog.len() > 0
	}
	cursor := m.cursor.Load()
	src := v.addSource()
	if held {
		src.held = true
		n := readMax
		if s.conn == nil {
			n = feedMax
		}
		if m.rule().Limit > 0 {
			n = min(n, m.rule().Burst)
		}
		src.entries = m.backlog.next(src.entries, n)
		later = cursor < head
		// What comes after the line of Coalesce is beyond the bound.
		src.more = m.backlog.len() > len(src.entries) || later && !m.rule().Coalesce
	} else if cursor < head {
		if s.conn == nil {
			src.entries = t.log.Read(src.entries, cursor, min(head, cursor+feedMax))
		} else {
			src.entries = t.enough(src.entries, cursor, head)
		}
		src.more = head > cursor+uint64(len(src.entries))
		later = src.entries[0].Stamp > bound
	}
	switch {
	case !held && (later || cursor >= head):
		v.dropSource()
		if later && s.seal() != 0 {
			m.finish(causeLeft) // all that is left was published after the seal
		} else if !later && m.lagging.Load() {
			t.dropLag(m)
		}
	case m.rule().paced() && s.seal() == 0 && !v.allow(m, src):
		v.dropSource()
		v.enforce(m, head, bound)
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
		if !src.held && src.m != nil && src.next >= src.asked {
			src.asked = src.next + 1
			if !src.m.admits(e) {
				src.next++
				src.refused++
				continue
			}
		}
		if src.bytes >= 0 && float64(min(e.Size, src.m.rule().ByteBurst)) > src.bytes {
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
		src.bytes -= float64(min(e.Size, src.m.rule().ByteBurst))
	}
}
