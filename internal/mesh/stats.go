package mesh

import (
	"errors"
	"sync/atomic"
)

// Stats is what a node has counted. All of it only grows.
type Stats struct {
	Published, PublishedBytes uint64 // messages that the bus took, control included, and their bytes
	Failed                    uint64 // messages that it did not take
	Received, ReceivedBytes   uint64 // messages received, control included, and their bytes; own ones that come back are not counted
	Malformed, Foreign        uint64 // of those: refused since they are no envelopes, or of another version
	Unsigned, Replayed        uint64 // refused since the signature is missing or wrong, or too old, or was seen before
	Repeated                  uint64 // values that came twice, or after their gap was told
	Unwanted                  uint64 // for a topic, user or session that is not here any more, or of a node that is not known yet
	Gaps, Missing             uint64 // gaps, and values in them
	Lost                      uint64 // messages that the bus says it lost
	Evicted                   uint64 // nodes that fell silent
	Beats, BeatBytes          uint64 // heartbeats sent, and their bytes
}

// counters are Stats as they grow.
type counters struct {
	published, publishedBytes atomic.Uint64
	failed                    atomic.Uint64
	received, receivedBytes   atomic.Uint64
	malformed, foreign        atomic.Uint64
	unsigned, replayed        atomic.Uint64
	repeated                  atomic.Uint64
	unwanted                  atomic.Uint64
	gaps, missing             atomic.Uint64
	lost                      atomic.Uint64
	evicted                   atomic.Uint64
	beats, beatBytes          atomic.Uint64
}

// Stats returns the counters.
func (n *Node) Stats() Stats {
	c := &n.stats
	return Stats{
		Published: c.published.Load(), PublishedBytes: c.publishedBytes.Load(),
		Failed:   c.failed.Load(),
		Received: c.received.Load(), ReceivedBytes: c.receivedBytes.Load(),
		Malformed: c.malformed.Load(), Foreign: c.foreign.Load(),
		Unsigned: c.unsigned.Load(), Replayed: c.replayed.Load(),
		Repeated: c.repeated.Load(),
		Unwanted: c.unwanted.Load(),
		Gaps:     c.gaps.Load(), Missing: c.missing.Load(),
		Lost:    c.lost.Load(),
		Evicted: c.evicted.Load(),
		Beats:   c.beats.Load(), BeatBytes: c.beatBytes.Load(),
	}
}

// refuse counts a message that is not taken, by its cause, and tells the host. The loop calls it.
func (n *Node) refuse(cause error) {
	switch {
	case errors.Is(cause, ErrVersion):
		n.stats.foreign.Add(1)
	case errors.Is(cause, ErrSignature):
		n.stats.unsigned.Add(1)
	case errors.Is(cause, ErrReplayed):
		n.stats.replayed.Add(1)
	default:
		n.stats.malformed.Add(1)
	}
	n.host.Refused(cause)
}
