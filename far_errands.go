package wshub

import "sync"

// errands are what other nodes ask for that touches sessions: messages to users and sessions, kicks, leaves. A visit of a
// session may run its filters, and a kick of everyone takes its time, so that whoever reads the bus only puts them here,
// and a goroutine runs them, in their order. It waits for no session, see lateMail. There is room for as much as in the
// log of a topic, see [Limits]; what is more is left out and counted.
type errands struct {
	mu      sync.Mutex
	line    []errand // guarded by mu
	bytes   int64    // guarded by mu
	working bool     // the goroutine runs; guarded by mu
}

type errand struct {
	run  func()
	size int
}

// errand has f run soon. size is of the message in it.
func (h *Hub) errand(size int, f func()) {
	x, l := &h.errands, &h.opts.limits
	x.mu.Lock()
	if n := len(x.line); n > 0 && (n >= l.Pending || x.bytes+int64(size) > l.PendingBytes) {
		x.mu.Unlock()
		h.counts.farUndelivered.Add(1)
		return
	}
	x.line = append(x.line, errand{f, size})
	x.bytes += int64(size)
	start := !x.working
	x.working = true
	x.mu.Unlock()
	if start {
		h.task(x.work)
	}
}

// work runs what is in line.
func (x *errands) work() {
	for {
		f := x.next()
		if f == nil {
			return
		}
		f()
	}
}

// next takes the first in line. Without one the goroutine ends.
func (x *errands) next() func() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.line) == 0 {
		x.line, x.working = nil, false
		return nil
	}
	first := x.line[0]
	x.line[0] = errand{}
	x.line = x.line[1:]
	x.bytes -= int64(first.size)
	return first.run
}
