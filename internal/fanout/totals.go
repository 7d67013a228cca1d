package fanout

import "sync/atomic"

// totals sum what members were told. They are added to at the end of a visit; only offered is kept by offsets.
type totals struct {
	offered     atomic.Uint64 // replays, and direct messages
	sent        atomic.Uint64
	coalesced   atomic.Uint64
	dropped     atomic.Uint64
	filtered    atomic.Uint64
	evicted     atomic.Uint64
	undelivered atomic.Uint64
}

// tally reads the account. What was decided is read before what was offered, so pending is never negative.
func (t *totals) tally(offered func() uint64) Tally {
	a := Tally{
		Sent:        t.sent.Load(),
		Coalesced:   t.coalesced.Load(),
		Dropped:     t.dropped.Load(),
		Filtered:    t.filtered.Load(),
		Evicted:     t.evicted.Load(),
		Undelivered: t.undelivered.Load(),
	}
	a.Offered = offered()
	a.Pending = a.Offered - a.decided()
	return a
}
