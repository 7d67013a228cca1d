package fanout

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Overflow says what happens to a subscription of which more is pending than its bounds allow.
type Overflow uint8

const (
	Evict      Overflow = iota // gives the subscriber up: over the bounds and older than Age
	DropOldest                 // skips the oldest, keeps N
	DropNewest                 // keeps the first N, skips what comes after
	Block                      // makes Publish wait, then gives the subscriber up
)

// Rule is the effective policy of one subscription in the engine's terms. It is immutable and may be shared by any
// number of members.
type Rule struct {
	Overflow Overflow
	N        int           // values that may be pending; at least 1
	Age      time.Duration // Evict: the grace; Block: how old the oldest may become
	MaxBytes int64         // bytes that may be pending beside N; one value always may. 0: no bound

	Coalesce bool // conflate by key slot while lagging; N and MaxBytes do not apply then

	Limit     rate.Limit // values a second, 0: no limit
	Burst     int
	ByteLimit rate.Limit // bytes a second, 0: no limit
	ByteBurst int
	Flush     time.Duration // one flush per interval of the topic's grid, 0: at once

	Pack bool // adjacent texts leave as one frame, joined by Sep
	Sep  string
}

// paced reports whether the rule may hold values back although the subscriber could take them.
func (r *Rule) paced() bool { return r.Limit > 0 || r.ByteLimit > 0 || r.Flush > 0 }

// blocks returns how many pending values make publishers wait, 0 if none do.
func (r *Rule) blocks() int {
	if r.Overflow != Block || r.Coalesce {
		return 0
	}
	return r.N
}

// blockBytes returns how many bytes pending make publishers wait.
func (r *Rule) blockBytes() int64 {
	if r.MaxBytes > 0 {
		return r.MaxBytes
	}
	return math.MaxInt64
}

// Tally is the exact account of a subscription, a topic or a hub, in values:
//
//	Offered = Sent + Coalesced + Dropped + Filtered + Evicted + Undelivered + Pending
type Tally struct {
	Offered     uint64 // appended while a member, once per member, plus replays
	Sent        uint64 // the connection or channel took the last byte
	Coalesced   uint64 // superseded by a later value of the same key
	Dropped     uint64 // skipped by DropOldest or DropNewest
	Filtered    uint64 // refused by Where, excepted, or not among Only
	Evicted     uint64 // pending when a policy gave the subscriber up
	Undelivered uint64 // pending when it left or ended otherwise
	Pending     uint64 // not decided yet
}

// Add returns the sum of two accounts.
func (a Tally) Add(b Tally) Tally {
	a.Offered += b.Offered
	a.Sent += b.Sent
	a.Coalesced += b.Coalesced
	a.Dropped += b.Dropped
	a.Filtered += b.Filtered
	a.Evicted += b.Evicted
	a.Undelivered += b.Undelivered
	a.Pending += b.Pending
	return a
}

// decided returns everything that is not pending.
func (a Tally) decided() uint64 {
	return a.Sent + a.Coalesced + a.Dropped + a.Filtered + a.Evicted + a.Undelivered
}
