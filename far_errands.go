package wshub

// errands are what other nodes ask for that touches sessions: messages to users and sessions, kicks, leaves. A visit of a
// session may run its filters, and a kick of everyone takes its time, so that whoever reads the bus only puts them here,
// and a goroutine runs them, in their order. It waits for no session, see lateMail. There is room for as much as in the
// log of a topic, see [Limits]; what is more is left out and counted.
type errands struct{ line line[func()] }

// errand has f run soon. size is of the message in it.
func (h *Hub) errand(size int, f func()) {
	limits := &h.opts.limits
	switch start, ok := h.errands.line.put(f, size, limits.Pending, limits.PendingBytes); {
	case !ok:
		h.counts.farUndelivered.Add(1)
	case start:
		h.task(h.errands.work)
	}
}

// work runs what is in line.
func (x *errands) work() {
	for {
		f, ok := x.line.next()
		if !ok {
			return
		}
		f()
	}
}
