package fanout

import (
	"container/heap"
	"math"
	"sync"
	"time"
)

// timers is the engine's only source of time: one heap, one runtime timer for its earliest item, no goroutine while
// nothing is due. 100,000 rate-limited subscriptions are 100,000 heap items, not as many runtime timers.
type timers struct {
	mu    sync.Mutex // guards the rest
	items timerHeap
	timer *time.Timer // made on first use; stopped while items is empty
	armed int64       // when timer fires; 0: not armed
}

// timer is one item: exactly one of sub, topic and f is set. Its fields are guarded by timers.mu.
type timer struct {
	at    int64 // unix nanoseconds
	index int   // in the heap; -1 once fired or cancelled
	sub   *Subscriber
	topic *Topic
	f     func()
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

const (
	never     = math.MaxInt64 // a time that does not come
	longGone  = 1             // a time long gone; 0 would mean "not armed"
	firstYear = 1971          // the first whose times all are after longGone
	lastYear  = 2262          // the last that unix nanoseconds reach
)

// after returns the time d after now, or never.
func after(now int64, d time.Duration) int64 {
	if int64(d) > never-now {
		return never
	}
	return now + int64(d)
}

// A Timer calls a function when its time has come, each time that it was started. Starting it allocates nothing.
type Timer struct {
	e    *Engine
	item timer
}

// NewTimer returns a timer for f, which is called in a goroutine of the engine and must be quick: the engine's other timers
// wait for it.
func (e *Engine) NewTimer(f func()) *Timer { return &Timer{e, timer{index: -1, f: f}} }

// Start makes the timer fire once the time is when, in place of an earlier one. f may start it again.
func (t *Timer) Start(when time.Time) {
	var at int64
	switch year := when.Year(); {
	case year < firstYear:
		at = longGone
	case year >= lastYear:
		at = never
	default:
		at = when.UnixNano()
	}
	t.e.timers.mu.Lock()
	defer t.e.timers.mu.Unlock()
	t.e.dropTimerLocked(&t.item)
	t.item.at = at
	t.e.addTimerLocked(&t.item)
}

// Stop undoes Start; it does not wait for an f that has begun.
func (t *Timer) Stop() {
	t.e.timers.mu.Lock()
	defer t.e.timers.mu.Unlock()
	t.e.dropTimerLocked(&t.item)
}

// At calls f as a Timer does, once. The returned function cancels it.
func (e *Engine) At(when time.Time, f func()) (cancel func()) {
	t := e.NewTimer(f)
	t.Start(when)
	return t.Stop
}

func (e *Engine) addTimerLocked(t *timer) {
	heap.Push(&e.timers.items, t)
	e.armLocked()
}

func (e *Engine) dropTimerLocked(t *timer) {
	if t.index >= 0 {
		heap.Remove(&e.timers.items, t.index)
		e.armLocked()
	}
}

// armLocked makes the runtime timer fire for the earliest item.
func (e *Engine) armLocked() {
	ts := &e.timers
	if len(ts.items) == 0 {
		if ts.timer != nil {
			ts.timer.Stop()
		}
		ts.armed = 0
		return
	}
	first := ts.items[0].at
	if ts.armed == first {
		return
	}
	ts.armed = first
	d := time.Duration(first - time.Now().UnixNano())
	if ts.timer == nil {
		ts.timer = time.AfterFunc(d, e.fire)
	} else {
		ts.timer.Reset(d)
	}
}

// fire runs in the runtime timer's goroutine, which ends with it; the engine counts it as running.
func (e *Engine) fire() {
	e.begin()
	defer e.end()
	ts := &e.timers
	now := time.Now().UnixNano()
	for {
		ts.mu.Lock()
		if len(ts.items) == 0 || ts.items[0].at > now {
			ts.armed = 0
			e.armLocked()
			ts.mu.Unlock()
			return
		}
		t := heap.Pop(&ts.items).(*timer)
		ts.mu.Unlock()
		switch {
		case t.sub != nil:
			t.sub.Visit()
		case t.topic != nil:
			t.topic.ticked()
		default:
			t.f()
		}
	}
}
