package wshub

import (
	"errors"
	"sync"

	"github.com/wshub-go/wshub/internal/queue"
)

// A message that another node has sent to a session whose mailbox is full waits here for room, as Session.Send would:
// errands do not. lateBound messages or lateBytes of a session may wait, as much again as its mailbox
// holds; more are dropped and told.
const (
	lateBound = 1024
	lateBytes = 1 << 20
)

// lateMail is what waits, by session.
type lateMail struct {
	mu  sync.Mutex
	all map[*Session]*lateLine // guarded by mu
}

// lateLine is what waits for one session. A goroutine sends it on.
type lateLine struct {
	entries []*queue.Entry // guarded by lateMail.mu
	bytes   int            // guarded by lateMail.mu
}

// deliver sends a message of another node to s, behind those that wait. It is an errand: one at a time.
func (h *Hub) deliver(s *Session, m Message) {
	e := h.engine.Entry()
	if m.fill(e) != nil { // it was checked
		return
	}
	if !h.late.waits(s) {
		if err := s.sub.TrySend(e); !errors.Is(err, queue.ErrFull) {
			return // a session that is closing needs no message
		}
	}
	switch first, ok := h.late.put(s, e); {
	case !ok:
		h.counts.farUndelivered.Add(1)
		s.emit(Event{Kind: EventDropped, N: 1})
	case first:
		h.task(func() { h.late.work(h, s) })
	}
}

func (x *lateMail) waits(s *Session) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all[s] != nil
}

// put has e wait. first says that nothing else does.
func (x *lateMail) put(s *Session, e *queue.Entry) (first, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.all[s]
	if first = l == nil; first {
		if x.all == nil {
			x.all = make(map[*Session]*lateLine)
		}
		l = new(lateLine)
		x.all[s] = l
	}
	if len(l.entries) > 0 && (len(l.entries) >= lateBound || l.bytes+e.Size > lateBytes) {
		return false, false
	}
	l.entries = append(l.entries, e)
	l.bytes += e.Size
	return first, true
}

// work sends what waits for s, until nothing does, or nothing more can be sent.
func (x *lateMail) work(h *Hub, s *Session) {
	for {
		e := x.next(s)
		if e == nil {
			return
		}
		if err := s.sub.Send(h.over, e); err != nil {
			x.forget(s)
			return
		}
	}
}

// next takes the first that waits for s. Without one the line is gone.
func (x *lateMail) next(s *Session) *queue.Entry {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.all[s]
	if len(l.entries) == 0 {
		delete(x.all, s)
		return nil
	}
	e := l.entries[0]
	l.entries[0] = nil
	l.entries = l.entries[1:]
	l.bytes -= e.Size
	return e
}

func (x *lateMail) forget(s *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.all, s)
}
