package wshub

import (
	"errors"
	"sync"

	"github.com/wshub-go/wshub/internal/queue"
)

// A message that another node has sent to a session whose mailbox is full waits here for room, as Session.Send would:
// errands do not. lateBound messages or lateBytes of a session may wait, as much again as its mailbox holds; more are
// dropped and told.
const (
	lateBound = 1024
	lateBytes = 1 << 20
)

// lateMail is what waits, by session: a goroutine for each sends it on.
type lateMail struct {
	mu  sync.Mutex
	all map[*Session]*line[*queue.Entry] // those with a goroutine; guarded by mu
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
	switch start, ok := h.late.put(s, e); {
	case !ok:
		h.counts.farUndelivered.Add(1)
		s.emit(Event{Kind: EventDropped, N: 1})
	case start:
		h.task(func() { h.late.work(h, s) })
	}
}

func (x *lateMail) waits(s *Session) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all[s] != nil
}

// put has e wait.
func (x *lateMail) put(s *Session, e *queue.Entry) (start, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all[s] == nil {
		if x.all == nil {
			x.all = make(map[*Session]*line[*queue.Entry])
		}
		x.all[s] = new(line[*queue.Entry])
	}
	return x.all[s].put(e, e.Size, lateBound, lateBytes)
}

// work sends what waits for s, until nothing does, or nothing more can be sent.
func (x *lateMail) work(h *Hub, s *Session) {
	for {
		e, ok := x.next(s)
		if !ok {
			return
		}
		if err := s.sub.Send(h.over, e); err != nil {
			x.forget(s)
			return
		}
	}
}

// next takes the first that waits for s. Without one the line is gone.
func (x *lateMail) next(s *Session) (e *queue.Entry, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e, ok = x.all[s].next(); !ok {
		delete(x.all, s)
	}
	return e, ok
}

func (x *lateMail) forget(s *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.all, s)
}
