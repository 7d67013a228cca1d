package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wshub-go/wshub"
)

// settling is how long the hub may take until nothing is left of the last guest: the longest wait of a close, and what a busy
// machine adds.
const settling = 30 * time.Second

// The heap may have grown by this much, and by this much for each session of those that were there at once: the tables that
// they were in stay as large as they were.
const (
	heapMargin     = 2 << 20
	heapPerSession = 128
)

// shape is what a process looks like.
type shape struct {
	goroutines int
	heap       uint64
}

// warm has n goroutines at once. The runtime keeps what it has made for each, nearly half a KiB, for those that come later: so
// the heap has it before the guests come.
func warm(n int) {
	var all sync.WaitGroup
	over := make(chan struct{})
	for range n {
		all.Go(func() { <-over })
	}
	close(over)
	all.Wait()
}

// look returns the shape when all that can be freed has been.
func look() shape {
	for range 3 { // what pools hold goes with the second, what cleanups let go with the third
		debug.FreeOSMemory()
		time.Sleep(10 * time.Millisecond) // cleanups run on a goroutine of the runtime
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return shape{runtime.NumGoroutine(), m.HeapAlloc}
}

// tallies is what an observer is told.
type tallies struct {
	connected, disconnected, joined, left, refused, evicted, dropped atomic.Uint64
}

func (t *tallies) observer() wshub.Observer {
	count := func(n *atomic.Uint64) func(wshub.Event) { return func(wshub.Event) { n.Add(1) } }
	return wshub.Observer{
		Connected: count(&t.connected), Disconnected: count(&t.disconnected), Joined: count(&t.joined), Left: count(&t.left),
		Refused: count(&t.refused), Evicted: count(&t.evicted),
		Dropped: func(e wshub.Event) { t.dropped.Add(e.N) },
	}
}

// check waits until the hub has come to rest, prints figures, and returns what is not as it was before the guests came.
func (v *venue) check(before shape, most int, w io.Writer) error {
	allowed := before.heap + heapMargin + heapPerSession*uint64(most)
	var after shape
	var wrong []error
	for end := time.Now().Add(settling); ; time.Sleep(100 * time.Millisecond) {
		after = look()
		wrong = v.left()
		if after.goroutines > before.goroutines {
			wrong = append(wrong, fmt.Errorf("%d goroutines, and %d before", after.goroutines, before.goroutines))
		}
		if after.heap > allowed {
			wrong = append(wrong, fmt.Errorf("a heap of %d bytes, and %d before: at most %d are allowed", after.heap, before.heap, allowed))
		}
		if len(wrong) == 0 || time.Now().After(end) {
			break
		}
	}
	if after.goroutines > before.goroutines {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%s\n", stacks[:runtime.Stack(stacks, true)])
	}
	st := v.hub.Stats()
	fmt.Fprintf(w, "accepted %d, refused %d, evicted %d, received %d (%d unread)\ntopics   %+v\neveryone %+v\ndirect   %+v\n",
		st.Accepted, st.Refused, st.Evicted, st.Received, st.Unread, st.Topics, st.Everyone, st.Direct)
	fmt.Fprintf(w, "goroutines %d before, %d after; heap %d KiB before, %d KiB after\n",
		before.goroutines, after.goroutines, before.heap>>10, after.heap>>10)
	v.mu.Lock()
	defer v.mu.Unlock()
	return errors.Join(append(wrong, v.faults...)...)
}

// left returns what is left of sessions, and what does not add up.
func (v *venue) left() (wrong []error) {
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	st := v.hub.Stats()
	bad(v.hub.Len() == 0 && st.Sessions == 0, "%d sessions", st.Sessions)
	bad(st.Unadmitted == 0, "%d sessions that are not admitted", st.Unadmitted)
	for info := range v.hub.Topics() {
		bad(false, "topic %+v", info)
	}
	for i := range v.users() {
		for s := range v.hub.UserSessions(fmt.Sprint("u", i)) {
			bad(false, "user u%d has session %s", i, s.ID())
		}
	}
	for i := range v.crowd() {
		t, err := v.rooms.Topic(fmt.Sprint(i))
		bad(err == nil, "room %d: %w", i, err)
		here, err := t.Present(context.Background())
		bad(err == nil && len(here) == 0 && t.Len() == 0, "room %d: %d members, %v present, %w", i, t.Len(), here, err)
	}
	for name, a := range map[string]wshub.Tally{"topics": st.Topics, "everyone": st.Everyone, "direct": st.Direct} {
		bad(a.Pending == 0 && a.Offered == a.Sent+a.Coalesced+a.Dropped+a.Filtered+a.Evicted+a.Undelivered,
			"the account of %s does not add up: %+v", name, a)
	}
	sum := v.rooms.Stats()
	for _, a := range []wshub.Tally{v.past.Stats(), v.hall.Stats(), v.board.Stats()} {
		sum.Offered += a.Offered
		sum.Sent += a.Sent
	}
	bad(sum.Offered == st.Topics.Offered && sum.Sent == st.Topics.Sent, "the topics' accounts make %+v, the hub's is %+v", sum, st.Topics)
	taken := v.taken.Load()
	bad(st.Received == taken+st.InboundDropped+st.InboundCoalesced+st.Unread, "%d messages received, %d taken, %d dropped, %d coalesced, %d unread",
		st.Received, taken, st.InboundDropped, st.InboundCoalesced, st.Unread)
	if st.ObserverMissed > 0 { // the machine was too busy for it, which is no fault
		return wrong
	}
	o := &v.seen
	bad(o.connected.Load() == o.disconnected.Load() && o.connected.Load() <= st.Accepted, "observers were told of %d connects and %d disconnects of %d sessions",
		o.connected.Load(), o.disconnected.Load(), st.Accepted)
	bad(o.joined.Load() == o.left.Load(), "observers were told of %d joins and %d leaves", o.joined.Load(), o.left.Load())
	bad(o.refused.Load() == st.Refused && o.evicted.Load() == st.Evicted, "observers were told of %d refusals and %d evictions, of %d and %d",
		o.refused.Load(), o.evicted.Load(), st.Refused, st.Evicted)
	dropped := st.Topics.Dropped + st.Everyone.Dropped + st.InboundDropped
	bad(o.dropped.Load() == dropped, "observers were told of %d dropped values of %d", o.dropped.Load(), dropped)
	return wrong
}
