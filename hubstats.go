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

	// Of what other nodes have sent; zero without a bus.
	invalid        atomic.Uint64
	farGaps        atomic.Uint64
	farMissing     atomic.Uint64
	farUndelivered atomic.Uint64
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

	Bus BusStats // zero without a bus
}

// BusStats is what a hub has had to do with its bus. All of it only grows.
type BusStats struct {
	Published      uint64 // messages that the bus took, those by which nodes keep in touch included
	PublishedBytes uint64 // their bytes
	Failed         uint64 // messages that the bus did not take
	Received       uint64 // messages that came, likewise, but for own ones that came back
	ReceivedBytes  uint64 // their bytes

	Malformed uint64 // of Received, refused: no message of a hub's
	Foreign   uint64 // of Received, refused: of another version of the protocol
	Unsigned  uint64 // of Received, refused: not signed, or wrongly, or signed where nothing is, see [WithSigning]
	Replayed  uint64 // of Received, refused: signed too long ago, or had come before
	Invalid   uint64 // of Received, left out: no text, not of the topic's kind, could not be decoded
	Repeated  uint64 // values that came twice, or after the gap that they were missing in was told
	Unwanted  uint64 // for a topic, user or session that is not here any more, or of a node that is not known yet

	Gaps        uint64 // gaps in what a node published of a topic, see [EventGap]
	Missing     uint64 // values in them
	Lost        uint64 // messages that the bus says it lost on their way here
	Undelivered uint64 // messages to sessions, kicks and leaves for which there was no room

	Evicted   uint64 // nodes that fell silent
	Beats     uint64 // heartbeats sent
	BeatBytes uint64 // their bytes
}

func (h *Hub) busStats() BusStats {
	if h.mesh == nil {
		return BusStats{}
	}
	s := h.mesh.Stats()
	return BusStats{
		Published: s.Published, PublishedBytes: s.PublishedBytes, Failed: s.Failed,
		Received: s.Received, ReceivedBytes: s.ReceivedBytes,
		Malformed: s.Malformed, Foreign: s.Foreign, Unsigned: s.Unsigned, Replayed: s.Replayed,
		Invalid:  h.counts.invalid.Load(),
		Repeated: s.Repeated, Unwanted: s.Unwanted,
		Gaps: s.Gaps + h.counts.farGaps.Load(), Missing: s.Missing + h.counts.farMissing.Load(),
		Lost: s.Lost, Undelivered: h.counts.farUndelivered.Load(),
		Evicted: s.Evicted, Beats: s.Beats, BeatBytes: s.BeatBytes,
	}
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

		Bus: h.busStats(),
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
