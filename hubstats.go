package wshub

import (
	"sync/atomic"

	"github.com/wshub-go/wshub/internal/fanout"
)

// counts are the hub's own counters.
type counts struct {
	accepted, refused atomic.Uint64
	received          atomic.Uint64
	receivedBytes     atomic.Uint64
	inboundDropped    atomic.Uint64
	inboundCoalesced  atomic.Uint64
	unread            atomic.Uint64
	evicted           atomic.Uint64
	eventsLost        atomic.Uint64
}

// HubStats is what a hub has done and holds. Everything but Sessions, Unadmitted and what is Pending in the accounts
// only ever grows.
type HubStats struct {
	Sessions   int // open now
	Unadmitted int // open now and not among Sessions, see [WithAdmission]

	Accepted uint64 // sessions ever, the unadmitted included
	Refused  uint64 // requests that did not become sessions
	Evicted  uint64 // sessions that a policy gave up for being slow

	Received         uint64 // messages that clients sent
	ReceivedBytes    uint64 // their bytes, inflated
	InboundDropped   uint64 // of Received, dropped by WithInbound's policy
	InboundCoalesced uint64 // of Received, replaced by a later one
	Unread           uint64 // of Received, not taken when their session had ended

	EventsLost     uint64 // events that did not fit into the log of a reader that lags
	ObserverMissed uint64 // events that observers were not told, since they were behind, or when Shutdown ended them: the sum of all

	Topics   Tally // all values offered to all subscriptions of topics, those of the past included
	Everyone Tally // the same for Hub.Everyone
	Direct   Tally // the same for messages to single sessions and users
}

// Stats returns the hub's counters. It locks nothing for long, but the accounts of all topics are added up.
func (h *Hub) Stats() HubStats {
	return HubStats{
		Sessions:   h.Len(),
		Unadmitted: h.table.held(),

		Accepted: h.counts.accepted.Load(),
		Refused:  h.counts.refused.Load(),
		Evicted:  h.counts.evicted.Load(),

		Received:         h.counts.received.Load(),
		ReceivedBytes:    h.counts.receivedBytes.Load(),
		InboundDropped:   h.counts.inboundDropped.Load(),
		InboundCoalesced: h.counts.inboundCoalesced.Load(),
		Unread:           h.counts.unread.Load(),
		EventsLost:       h.counts.eventsLost.Load(),
		ObserverMissed:   h.observers.missed(),

		Topics:   tally(h.reg.tally()),
		Everyone: tally(h.everyone.Tally()),
		Direct:   tally(h.engine.Direct()),
	}
}

// Tally is the exact account of a subscription, a topic or a hub, in values. At any time
//
//	Offered = Sent + Coalesced + Dropped + Filtered + Evicted + Undelivered + Pending
type Tally struct {
	Offered     uint64 // published while a member, once per member, plus replays
	Sent        uint64 // the connection or channel took the last byte
	Coalesced   uint64 // superseded by a later value of the same key
	Dropped     uint64 // skipped by DropOldest or DropNewest
	Filtered    uint64 // refused by Where, excepted, or not among Only
	Evicted     uint64 // pending when a policy gave the subscriber up
	Undelivered uint64 // pending when it left or ended otherwise
	Pending     uint64 // not decided yet
}

func tally(t fanout.Tally) Tally { return Tally(t) }
