package wshub

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/wshub-go/wshub/internal/fanout"
)

// effective returns what p means on this hub: its parts over the hub's over the defaults.
func (h *Hub) effective(p Policy) Policy { return defaultPolicy().With(h.opts.policy).With(p) }

// maxAge keeps sums of a time and an age within an int64 of nanoseconds.
const maxAge = time.Duration(1 << 61)

// newRule returns an effective policy in the engine's terms.
func newRule(p Policy, l Limits) *fanout.Rule {
	r := &fanout.Rule{
		N: p.n, Age: min(p.age, maxAge), MaxBytes: min(p.maxBytes, l.PendingBytes),
		Coalesce: p.conflate,
		Limit:    perSecond(p.rate), Burst: p.burst,
		ByteLimit: perSecond(p.rateBytes), ByteBurst: p.burstBytes,
		Flush: p.flush,
		Pack:  p.packSet, Sep: p.pack,
	}
	switch p.overflow {
	case overflowDropOldest:
		r.Overflow = fanout.DropOldest
	case overflowDropNewest:
		r.Overflow = fanout.DropNewest
	case overflowBlock:
		r.Overflow = fanout.Block
	default:
		r.Overflow = fanout.Evict
	}
	return r
}

// perSecond is the engine's form of a limit: no limit is 0 there.
func perSecond(l rate.Limit) rate.Limit {
	if l == rate.Inf {
		return 0
	}
	return l
}
