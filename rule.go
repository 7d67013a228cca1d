package wshub

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/wshub-go/wshub/internal/fanout"
)

// effective returns what p means on this hub: its parts over the hub's, which New has put over the defaults.
func (h *Hub) effective(p Policy) Policy { return h.opts.policy.With(p) }

// maxAge keeps sums of a time and an age within an int64 of nanoseconds.
const maxAge = time.Duration(1 << 61)

// keptFor is the policy's age of history as the engine takes it: 0 for one that nobody will live to see.
func (p Policy) keptFor() time.Duration {
	if p.historyAge > maxAge {
		return 0
	}
	return p.historyAge
}

// newRule returns an effective policy in the engine's terms.
func newRule(p Policy, l Limits) *fanout.Rule {
	r := &fanout.Rule{
		N: p.n, Age: min(p.age, maxAge), MaxBytes: min(p.maxBytes, l.PendingBytes),
		Coalesce: p.conflate,
		Limit:    perSecond(p.rate, 1), Burst: p.burst,
		ByteLimit: perSecond(p.rateBytes, min(p.burstBytes, math.MaxInt32)), ByteBurst: p.burstBytes,
		Flush: min(p.flush, maxAge),
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

// perSecond is the engine's form of a limit: no limit is 0 there. A wait for the given number of tokens, the most that
// one value needs, stays within 160 years, so that when it ends can be told in nanoseconds.
func perSecond(l rate.Limit, tokens int) rate.Limit {
	if l == 0 || l == rate.Inf {
		return 0
	}
	return max(l, rate.Limit(tokens)*2e-10)
}
