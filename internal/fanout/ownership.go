package fanout

import (
	"runtime"
	"sync/atomic"

	"github.com/wshub-go/wshub/internal/queue"
)

// The write word. Whoever changes it from 0 to owned owns the subscriber: its cursors, its backlog, its socket. Who
// finds it owned sets again and leaves. Only the owner clears again, and does so before it looks; it gives up by
// changing owned to 0, and when that fails somebody has set again, so it looks once more, at all cursors.
const (
	owned = 1 << iota
	again
)

// acquire takes the write bit, or leaves the mark that makes its owner look again.
func (s *Subscriber) acquire() bool {
	for {
		switch w := s.word.Load(); {
		case w == 0:
			if s.word.CompareAndSwap(0, owned) {
				return true
			}
		case w&again != 0: // not cleared yet: the owner's next look comes after this load
			return false
		default:
			if s.word.CompareAndSwap(owned, owned|again) {
				return false
			}
		}
	}
}

// lock takes the write bit for a call that cannot leave its work to another. Visits never wait, so neither does this
// for long.
func (s *Subscriber) lock() {
	for !s.word.CompareAndSwap(0, owned) {
		runtime.Gosched()
	}
}

// release looks at everything, gives the write bit up and tells the owner what happened. A drain goroutine passes where
// it takes the next frame begun; others pass nil, and a goroutine is started for one.
func (s *Subscriber) release(next **begun) {
	v := s.e.visitors.Get().(*visitor)
	full := false
	var list []*happened
	for {
		v.look(s, next, full)
		if s.happen != nil {
			if len(list) == 0 {
				s.telling.Add(1) // before the bit is given up: who takes it next finds it raised
			}
			list = append(list, s.happen)
			s.happen = nil
		}
		if s.word.CompareAndSwap(owned, 0) {
			break
		}
		s.word.Store(owned) // clears again; the next look comes after
		full = true
	}
	s.e.visitors.Put(v)
	for _, h := range list {
		s.tell(h)
	}
	if len(list) > 0 {
		s.telling.Add(-1)
	}
}

// drain waits until the frame begun has left, and takes the next one if there is. Owner: the subscriber's engine; it
// ends when the subscriber has caught up, somebody else owns the write bit, or the write fails.
func (s *Subscriber) drain(b *begun) {
	defer s.e.end()
	for b != nil {
		if s.conn == nil {
			if !s.rare.feed.Put(b.entry) {
				b.err = ErrStopped
			}
		} else if _, err := s.conn.WriteAll(b.rest, s.e.cfg.WriteTimeout); err != nil {
			b.err = err
		}
		b.done.Store(true)
		b = nil
		if s.acquire() {
			s.release(&b)
		}
	}
}

// begun is the frame (or several packed into one) that a short write left unfinished, or the value a feed waits with. Its
// rest, entry and err belong to the drain goroutine from started to done.
type begun struct {
	rest    []byte
	entry   *queue.Entry // the last it stands for; nil for control
	size    int64        // of all it stands for
	behind  int64        // since when the subscriber has not caught up, unix nanoseconds; guarded by the write bit
	member  *Member      // nil: control or a direct message
	count   uint32       // entries it stands for
	last    bool         // holds the close frame
	started bool         // guarded by the write bit
	fate    cause        // what it counts as should it not leave; guarded by the write bit
	err     error
	done    atomic.Bool // the drain goroutine's last step: hands begun back to whoever owns the write bit
}

// happened collects what the owner is told after the bit is released.
type happened struct {
	slow    *Topic
	failed  error
	flushed bool
	closed  bool
	dropped []droppedIn
	panic   error // of a filter, in the look under way
}

type droppedIn struct {
	t *Topic
	n uint64
}

const (
	toldSlow = 1 << iota
	toldFailed
	toldFlushed
	toldClosed
)

// once reports whether the hook is due for the first time. Callers own the write bit.
func (s *Subscriber) once(hook uint8) bool {
	if s.told&hook != 0 {
		return false
	}
	s.told |= hook
	if s.happen == nil {
		s.happen = new(happened)
	}
	return true
}

func (s *Subscriber) noteDrop(t *Topic, n uint64) {
	if s.happen == nil {
		s.happen = new(happened)
	}
	for i := range s.happen.dropped {
		if d := &s.happen.dropped[i]; d.t == t {
			d.n += n
			return
		}
	}
	s.happen.dropped = append(s.happen.dropped, droppedIn{t, n})
}

// tell calls the hooks. It runs without the write bit.
func (s *Subscriber) tell(h *happened) {
	for _, d := range h.dropped {
		s.owner.Dropped(d.t, d.n)
	}
	if h.slow != nil {
		s.owner.Slow(h.slow)
	}
	if h.failed != nil {
		s.owner.Failed(h.failed)
	}
	if h.flushed {
		s.owner.Flushed()
	}
	if h.closed {
		s.owner.CloseSent()
	}
}
