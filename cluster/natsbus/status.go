package natsbus

import (
	"sync"

	"github.com/wshub-go/wshub/cluster"
)

// teller is the channel of states: the last one that was not read, with the losses of those before it.
type teller struct {
	out chan cluster.Status // of one

	mu     sync.Mutex // guards what follows; only its holder sends, so that it never waits
	last   cluster.Status
	closed bool
}

func newTeller() *teller { return &teller{out: make(chan cluster.Status, 1)} }

// tell replaces the state that waits for the reader.
func (t *teller) tell(s cluster.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = s
	t.putLocked(s)
}

// lost tells that n messages were lost, or that something went wrong, in the state that was told last.
func (t *teller) lost(n uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.last
	s.Lost = n
	if err != nil {
		s.Err = err
	}
	t.putLocked(s)
}

func (t *teller) putLocked(s cluster.Status) {
	if t.closed {
		return
	}
	select {
	case unread := <-t.out:
		s.Lost += unread.Lost
		if s.Err == nil && s.State == unread.State {
			s.Err = unread.Err
		}
	default:
	}
	t.out <- s // has room
}

// close closes the channel, after the last state.
func (t *teller) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	close(t.out)
}
