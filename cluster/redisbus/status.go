package redisbus

import (
	"sync"

	"github.com/wshub-go/wshub/cluster"
)

// teller tells the states of a bus on a channel that has room for one, and never waits for its reader. Only its goroutine
// sends: it takes back what was not read, adds it to what is new, and then there is room.
type teller struct {
	out  chan cluster.Status
	wake chan struct{} // has room for one: something is to be told
	stop chan struct{}
	done chan struct{}

	mu   sync.Mutex
	next cluster.Status // to be told, guarded by mu
	news bool           // guarded by mu
	down int            // links that are, guarded by mu
}

func newTeller(links int) *teller {
	t := &teller{
		down: links,
		out:  make(chan cluster.Status, 1),
		wake: make(chan struct{}, 1),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	t.out <- t.next // down: it is the zero State
	go t.run()      // owner: the bus; ends with close
	return t
}

// link tells that a link was up, or not, and is now, or not, and why. The bus is up while all of them are.
func (t *teller) link(was, is bool, err error) {
	t.mu.Lock()
	switch {
	case was && !is:
		t.down++
	case is && !was:
		t.down--
	}
	before := t.next
	switch {
	case t.down == 0:
		t.next.State, t.next.Err = cluster.StateUp, nil
	case before.State == cluster.StateUp || before.Err == nil:
		t.next.State, t.next.Err = cluster.StateDown, err
	}
	news := t.next.State != before.State || t.next.Err != before.Err
	t.news = t.news || news
	t.mu.Unlock()
	if news {
		signal(t.wake)
	}
}

// lost tells that n messages more were lost.
func (t *teller) lost(n uint64) {
	t.mu.Lock()
	t.next.Lost += n
	t.news = true
	t.mu.Unlock()
	signal(t.wake)
}

// close tells that the bus is closed and closes the channel.
func (t *teller) close() {
	t.mu.Lock()
	t.next.State, t.next.Err, t.news = cluster.StateClosed, nil, true
	t.mu.Unlock()
	close(t.stop)
	<-t.done
}

func (t *teller) run() {
	defer close(t.done)
	for {
		select {
		case <-t.wake:
			t.tell()
		case <-t.stop:
			t.tell()
			close(t.out)
			return
		}
	}
}

func (t *teller) tell() {
	t.mu.Lock()
	s, news := t.next, t.news
	t.next.Lost, t.news = 0, false
	t.mu.Unlock()
	if !news {
		return
	}
	select {
	case unread := <-t.out:
		s.Lost += unread.Lost
	default:
	}
	t.out <- s
}

// signal leaves a token in a channel that has room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
