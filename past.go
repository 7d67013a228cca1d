package wshub

import (
	"sync"

	"github.com/wshub-go/wshub/internal/fanout"
)

// pastTally is the account of topics that have vanished.
type pastTally struct {
	mu      sync.Mutex
	sum     fanout.Tally                  // guarded by mu
	pending map[*fanout.Topic]*topicState // vanished with a frame begun, not in sum yet; guarded by mu
	settle  int                           // bury looks for what is final at this many pending; guarded by mu
	readers int                           // calls of registry.sum under way; guarded by mu
	recent  map[*fanout.Topic]struct{}    // buried since the first of them began; guarded by mu
}

// bury adds the account of a vanished topic to the past, at once or when the last frame begun has left.
func (p *pastTally) bury(st *topicState, t *fanout.Topic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st.log.Store(nil)
	if p.readers > 0 {
		if p.recent == nil {
			p.recent = make(map[*fanout.Topic]struct{})
		}
		p.recent[t] = struct{}{}
	}
	a := t.Tally()
	if a.Pending == 0 {
		p.addLocked(st, a)
		return
	}
	if p.pending == nil {
		p.pending = make(map[*fanout.Topic]*topicState)
	}
	p.pending[t] = st
	if len(p.pending) >= p.settle { // nobody may ever ask for Stats
		p.settleLocked()
		p.settle = max(2*len(p.pending), minSettle)
	}
}

// minSettle is how many accounts may wait to be final before bury looks.
const minSettle = 32

func (p *pastTally) addLocked(st *topicState, a fanout.Tally) {
	p.sum = p.sum.Add(a)
	st.past = st.past.Add(a)
	if f := st.def.family; f != nil {
		f.past = f.past.Add(a)
	}
}

// settleLocked moves accounts that are final to the sums.
func (p *pastTally) settleLocked() {
	for t, st := range p.pending {
		if a := t.Tally(); a.Pending == 0 {
			p.addLocked(st, a)
			delete(p.pending, t)
		}
	}
}

// sum adds up what the topics that match have counted, those there are and were. Topics vanish and revive meanwhile:
// those that live are looked at first, and left out if they were buried by the time the past is.
func (r *registry) sum(match func(*topicState) bool, past func() fanout.Tally) fanout.Tally {
	type account struct {
		t *fanout.Topic
		a fanout.Tally
	}
	p := &r.past
	p.mu.Lock()
	p.readers++
	p.mu.Unlock()
	var living []account
	for st := range r.all() {
		if t := st.log.Load(); t != nil && match(st) {
			living = append(living, account{t, t.Tally()})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settleLocked()
	total := past()
	for t, st := range p.pending {
		if match(st) {
			total = total.Add(t.Tally())
		}
	}
	for _, l := range living {
		if _, buried := p.recent[l.t]; !buried {
			total = total.Add(l.a)
		}
	}
	if p.readers--; p.readers == 0 {
		p.recent = nil
	}
	return total
}

// tally returns the account of all topics there are and were.
func (r *registry) tally() fanout.Tally {
	return r.sum(func(*topicState) bool { return true }, func() fanout.Tally { return r.past.sum })
}

// tally returns the account of all that was offered under the name.
func (st *topicState) tally() fanout.Tally {
	p := &st.hub.reg.past
	p.mu.Lock()
	defer p.mu.Unlock() // log goes and past comes under it
	p.settleLocked()
	sum := st.past
	for t, other := range p.pending {
		if other == st {
			sum = sum.Add(t.Tally())
		}
	}
	if t := st.log.Load(); t != nil {
		sum = sum.Add(t.Tally())
	}
	return sum
}
