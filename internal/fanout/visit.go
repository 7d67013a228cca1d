package fanout

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
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
	behind  int64 // begun.behind of the frame that this look has settled; 0: none
	full    bool  // the look under way is at all cursors
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
	v.now, v.behind, v.full = 0, 0, full
	if b := s.begun; b != nil && b.done.Load() {
		v.behind = b.behind
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
	if b := s.begun; b != nil {
		switch {
		case b.behind != 0:
		case v.behind != 0:
			b.behind = v.behind
		default:
			b.behind = v.time()
		}
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
	if s.seal() != 0 && s.state != flowing && s.once(toldFlushed) {
		s.happen.flushed = true // nothing more will come
	}
	s.forgetLate()
	v.forget() // a round that ended the data has left them
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
	bound := s.bound()
	v.sources = v.sources[:0]
	later := false // something is pending beyond the bound
	for _, m := range s.lookAt(v.full) {
		later = v.offer(s, m, bound) || later
		if s.state != flowing || s.filterFailed() {
			return s.state != silent
		}
	}
	if mb := s.mail.Load(); mb != nil && mb.Len() > 0 {
		src := v.addSource()
		src.entries = mb.Read(src.entries, readMax)
		src.more = mb.Len() > len(src.entries)
		if src.entries[0].Stamp > bound {
			v.dropSource()
			later = true
			if s.seal() != 0 {
				s.closeMail(causeLeft) // its sender had not seen the seal, nor had those behind it
			}
		}
	}
	if len(v.sources) == 0 {
		if (s.seal() != 0 || s.last && s.caughtUp()) && s.once(toldFlushed) {
			s.happen.flushed = true
		}
		return later && s.seal() == 0
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

// bound returns the last stamp that a look may write: what the clock reads, or the seal if that is earlier. Callers own
// the write bit.
func (s *Subscriber) bound() uint64 {
	now := s.e.clock.Load()
	if seal := s.seal(); seal != 0 {
		return min(now, seal)
	}
	return now
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

// settle takes the frame begun back from the drain goroutine.
func (s *Subscriber) settle(b *begun) {
	s.begun = nil
	m := b.member
	if m != nil {
		m.begun.Store(nil)
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

// popMail removes the message just picked. Callers own the write bit, as whoever closes the mailbox does: it is there.
func (s *Subscriber) popMail() { s.mail.Load().Pop() }
