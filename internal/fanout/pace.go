package fanout

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// allow reports whether m's pacing lets the first entry of src go now, and sets how much more. If not, a timer is set
// for when it will.
func (v *visitor) allow(m *Member, src *source) bool {
	r, b := m.rule(), m.backlogOf()
	now := v.time()
	if r.Flush > 0 {
		if b.due == 0 {
			b.due = m.topic.boundary(now, r.Flush)
		}
		if now < b.due {
			// The mark first: the pass of that tick visits who has it, although its cursor may have caught up.
			m.ticks.Store(true)
			m.topic.tickAt(b.due)
			return false
		}
		m.ticks.Store(false)
	}
	if r.Limit > 0 && r.Limit != rate.Inf {
		if b.limit == nil {
			b.limit = rate.NewLimiter(r.Limit, r.Burst)
		}
		tokens, ok := m.await(b.limit, 1, now)
		if !ok {
			return false
		}
		src.quota = int(min(tokens, math.MaxInt32)) // as an int a burst without bounds may be negative
	}
	if r.ByteLimit > 0 && r.ByteLimit != rate.Inf {
		if b.bytes == nil {
			b.bytes = rate.NewLimiter(r.ByteLimit, r.ByteBurst)
		}
		tokens, ok := m.await(b.bytes, float64(min(src.entries[0].Size, r.ByteBurst)), now)
		if !ok {
			return false
		}
		src.bytes = tokens
	}
	return true
}

// slack makes up for what sums of float64 lose; a millionth of a token.
const slack = 1e-6

// await returns the limiter's tokens if they are at least need; otherwise it has the subscriber visited when they are.
func (m *Member) await(l *rate.Limiter, need float64, now int64) (tokens float64, ok bool) {
	tokens = l.TokensAt(time.Unix(0, now)) + slack
	if tokens >= need {
		return tokens, true
	}
	wait := math.Ceil((need-tokens)/float64(l.Limit())*1e9) + 1
	m.sub.visitAt(after(now, time.Duration(min(wait, float64(never/2)))))
	return tokens, false
}

// spend takes the tokens of what has left or is begun.
func (v *visitor) spend(m *Member, src *source) {
	b := m.backlog
	if b == nil {
		return // sealed before it was ever held back
	}
	now := time.Unix(0, v.time())
	// Reserved, not asked for: what slack has let go before its time is owed, where AllowN would refuse and take nothing.
	if b.limit != nil && src.taken > 0 {
		b.limit.ReserveN(now, min(src.taken, m.rule().Burst))
	}
	if b.bytes != nil && src.size > 0 {
		b.bytes.ReserveN(now, min(src.size, m.rule().ByteBurst))
	}
}
