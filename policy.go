package wshub

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// A Policy says how values reach a subscriber that cannot take them as fast
// as they are published: when they may be skipped, merged, delayed or
// replayed, and when the subscriber is closed instead.
//
// It is a record of independent parts. Each constructor ([Evict], [Coalesce],
// [Rate], ...) sets one part; [Compose] and [Policy.With] put parts together.
// A part that is not set is inherited: a subscription inherits from its topic,
// a topic from the hub, and the hub from the default, [Evict] of 1024 values
// and 250 ms with [MaxBytes] of 1 MiB. The zero Policy sets nothing and so
// inherits everything.
//
// A policy acts only on what could not be written at once. A subscriber that
// keeps reading gets every value under any policy without [Rate], [RateBytes]
// or [FlushEvery]. What the parts skip is counted, never lost silently.
//
// A Policy is an immutable value. It may be compared with ==, used as a map
// key, and shared between goroutines. The constructors accept anything; where
// a policy is used, what it amounts to there with all it inherits is checked,
// and an error that matches [ErrPolicy] names the parts that do not fit.
type Policy struct {
	// Fields of a part that is not set are zero, so that == compares policies.

	overflow overflowKind // 0: not set
	n        int
	age      time.Duration // grace of Evict, max of Block

	maxBytesSet bool
	maxBytes    int64

	conflateSet bool
	conflate    bool

	rateSet bool
	rate    rate.Limit
	burst   int

	rateBytesSet bool
	rateBytes    rate.Limit
	burstBytes   int

	flushSet bool
	flush    time.Duration

	packSet bool
	pack    string

	historySet bool
	history    int
	historyAge time.Duration

	replaySet bool
	replay    int

	requireBus bool
}

// overflowKind is the rule for a subscriber with more pending than its bound.
type overflowKind uint8

const (
	overflowEvict overflowKind = iota + 1
	overflowDropOldest
	overflowDropNewest
	overflowBlock
)

// forever is a bound on time that is never reached.
const forever = time.Duration(math.MaxInt64)

// defaultPolicy is what a hub inherits: lossless or closed.
func defaultPolicy() Policy {
	return Evict(1024, 250*time.Millisecond).With(MaxBytes(1 << 20))
}

// defaultInbound is the policy of received messages under the one the user
// gave. A handler that is busy for an hour pauses its own client and nothing
// else, so there is no age at which the client is evicted.
func defaultInbound() Policy {
	return Block(16, forever).With(MaxBytes(1 << 20))
}

// Evict sets the overflow part: a lagging subscriber gets every value in
// order, or is closed. It is closed with code 1013 and [ErrSlow] once more
// than n values are pending, or more bytes than [MaxBytes] allows, and the
// oldest of them is older than grace. A burst of any size that is written
// within grace therefore evicts nobody.
//
// A client is closed for all its topics. n must be at least 1 and at most
// Limits.Pending; grace must not be negative, and a grace of 0 closes at the
// moment the bound is passed. The default policy is Evict(1024, 250ms).
//
// Evict cannot stand with [Rate], [RateBytes] or [FlushEvery] unless values
// [Coalesce]: it would close a client for a delay of our own making.
//
// For received messages, Evict closes a client that sends more than it may,
// under Rate and RateBytes with code 1008.
func Evict(n int, grace time.Duration) Policy {
	return Policy{overflow: overflowEvict, n: n, age: grace}
}

// DropOldest sets the overflow part: a lagging subscriber keeps the newest n
// pending values, as many of them as [MaxBytes] allows. When it catches up it
// sees a gap, then those n in order. What was skipped is counted as dropped.
// It suits values that replace earlier ones; with keys, [Coalesce] skips
// fewer of them. n must be at least 1 and at most Limits.Pending.
func DropOldest(n int) Policy {
	return Policy{overflow: overflowDropOldest, n: n}
}

// DropNewest sets the overflow part: a lagging subscriber keeps the first n
// values that it could not be sent, as many of them as [MaxBytes] allows;
// while those are pending, newer ones are skipped. When it catches up it sees
// those n in order, then a gap. What was skipped is counted as dropped. n must
// be at least 1 and at most Limits.Pending.
func DropNewest(n int) Policy {
	return Policy{overflow: overflowDropNewest, n: n}
}

// Block sets the overflow part: a lagging subscriber gets every value in
// order and slows the publisher down. While n values are pending for it, or as
// many bytes as [MaxBytes] allows, Publish waits, as long as the oldest of
// them is younger than max; after that the subscriber is evicted as by
// [Evict]. A publisher's context bounds its wait too.
//
// One stalled client can delay everybody in its topic by max, so Block belongs
// on topics whose members are trusted, and on streams. Publishers on other
// nodes of a cluster are not slowed down: what they publish waits here, see
// Limits.Pending. n must be at least 1
// and at most Limits.Pending; max must not be negative, and a max of 0 evicts
// instead of waiting.
//
// Block cannot stand with [Rate], [RateBytes] or [FlushEvery] unless values
// [Coalesce]. For received messages it pauses reading from the client while n
// of them wait to be taken, which is the default there, with n of 16 and no
// max; Rate and RateBytes then delay reading.
func Block(n int, max time.Duration) Policy {
	return Policy{overflow: overflowBlock, n: n, age: max}
}

// MaxBytes sets the bytes part: the overflow part's rule applies when more
// than n bytes are pending for a subscriber, as when more values than its own
// bound are. Bytes are those of the uncompressed frames. One value is always
// admitted, however large. n must be at least 1; the default is 1 MiB
// (1,048,576).
func MaxBytes(n int64) Policy {
	return Policy{maxBytesSet: true, maxBytes: n}
}

// Coalesce sets the conflation part: of the pending values of each key, a
// lagging subscriber is sent the latest one. A topic without keys counts as
// one key. A newer value takes its key's place in line, so no key starves,
// however often others change; no key goes back to an older value; and the
// last value of every key always arrives. What was replaced is counted as
// coalesced.
//
// The overflow and bytes parts do not apply then, since the last values have
// to arrive; Limits.Keys bounds the number of keys. For received messages,
// which have no keys, it keeps the last one.
func Coalesce() Policy {
	return Policy{conflateSet: true, conflate: true}
}

// KeepAll sets the conflation part to its default: pending values are not
// merged. It undoes an inherited [Coalesce].
func KeepAll() Policy {
	return Policy{conflateSet: true}
}

// Rate sets the rate part: values are sent to a subscription at no more than
// limit a second, with up to burst of them at once after a pause, by a token
// bucket of golang.org/x/time/rate. Values without a token are pending, and
// the overflow and conflation parts decide what becomes of them.
//
// limit must be above 0 and burst at least 1; [rate.Inf] lifts an inherited
// rate, whatever the burst. Rate needs [Coalesce], [DropOldest] or
// [DropNewest].
//
// For received messages it bounds how many a client may send: with [Block]
// reading waits for the next token, with DropOldest and DropNewest what has
// none is dropped and counted, and with [Evict] the client is closed with
// code 1008.
func Rate(limit rate.Limit, burst int) Policy {
	return Policy{rateSet: true, rate: canonical(limit), burst: burst}
}

// RateBytes sets the byte rate part. It is [Rate] counted in bytes: limit is
// in bytes a second and burst in bytes, of uncompressed frames; of received
// messages it is the bytes of their data. A value larger than burst is sent
// when the bucket is full.
func RateBytes(limit rate.Limit, burst int) Policy {
	return Policy{rateBytesSet: true, rateBytes: canonical(limit), burstBytes: burst}
}

// canonical makes limits that behave alike compare alike: NaN, which would
// make a Policy unequal to itself, is as invalid as -1; +Inf means rate.Inf.
func canonical(limit rate.Limit) rate.Limit {
	switch {
	case limit != limit || limit < 0 && math.IsInf(float64(limit), -1):
		return -1
	case limit >= rate.Inf:
		return rate.Inf
	case limit == 0:
		return 0 // not the negative one, which prints otherwise
	}
	return limit
}

// FlushEvery sets the interval part: what is pending for a subscription is
// sent at most once every d. The ticks belong to the topic, so subscribers
// with the same d are flushed together and share the work. Between two ticks
// values are pending, and the overflow and conflation parts decide what
// becomes of them.
//
// d must not be negative; 0, the default, sends at once. FlushEvery needs
// [Coalesce], [DropOldest] or [DropNewest], and does not exist for received
// messages.
func FlushEvery(d time.Duration) Policy {
	return Policy{flushSet: true, flush: d}
}

// PackText sets the framing part: text values of one subscription that are
// pending together leave as one message, joined by sep. The client has to
// split them, so nothing is packed unless this is set, and sep must be
// something no value holds. "\n" suits JSON without line breaks; "" is allowed.
//
// sep must be valid UTF-8. A topic whose values are binary refuses PackText;
// streams inside the process have no frames and ignore it.
func PackText(sep string) Policy {
	return Policy{packSet: true, pack: sep}
}

// History sets the history part of a topic: its last n values are kept for
// those who join later with [Replay], also while nobody is in the topic. With
// keys and [Coalesce] it keeps the last value of each of the n keys that
// changed last. What is published to a few with [Topic.Only] is no history;
// but more than eight such values for each of the n push it out. Values older
// than age are given up; an age of 0 keeps them until newer ones push them out.
//
// In a cluster each node has a history of its own: of what was published on any
// node since somebody first joined, streamed or published on this one.
//
// n must be at least 1 and at most Limits.Pending; age must not be negative.
// Only a topic or a family has a history: anywhere else it is an error.
func History(n int, age time.Duration) Policy {
	return Policy{historySet: true, history: n, historyAge: age}
}

// Replay sets the replay part of a join or a stream: the subscriber is first
// offered up to the n newest values of the topic's [History], oldest first,
// and then every later one, without a gap or a repeat between them. What is
// replayed is paced as the rest is, so that with [FlushEvery] it waits for the
// first tick, and under [Coalesce] it is sent as it was kept, also when a later
// value of its key is pending behind it. n must be at least 1; without Replay
// nothing is replayed. Anywhere else it is an error.
func Replay(n int) Policy {
	return Policy{replaySet: true, replay: n}
}

// RequireBus sets the cluster part, of a topic or of the hub: a Publish waits
// until the bus has taken the value, and fails with [ErrBus] when it does not,
// and then nobody on this node gets the value either. Taken means that the
// broker has it, not that another node does. On a hub it holds for
// [Hub.Everyone] too. Without the part a value that the bus does not take
// reaches the members on this node alone, and Publish returns nil.
//
// Nothing undoes it. It needs a hub that has a bus, see [WithBus], and anywhere
// but on a topic or a hub it is an error.
func RequireBus() Policy { return Policy{requireBus: true} }

// Compose returns the policy that sets every part set in p, and where several
// set the same part, the last of them. Compose() is the zero Policy.
func Compose(p ...Policy) Policy {
	var all Policy
	for _, q := range p {
		all = all.With(q)
	}
	return all
}

// With returns p with every part that is set in q replaced by q's. It is
// associative and idempotent, and the zero Policy is its identity: it makes no
// difference in which grouping policies are put together, only in which order.
func (p Policy) With(q Policy) Policy {
	if q.overflow != 0 {
		p.overflow, p.n, p.age = q.overflow, q.n, q.age
	}
	if q.maxBytesSet {
		p.maxBytesSet, p.maxBytes = true, q.maxBytes
	}
	if q.conflateSet {
		p.conflateSet, p.conflate = true, q.conflate
	}
	if q.rateSet {
		p.rateSet, p.rate, p.burst = true, q.rate, q.burst
	}
	if q.rateBytesSet {
		p.rateBytesSet, p.rateBytes, p.burstBytes = true, q.rateBytes, q.burstBytes
	}
	if q.flushSet {
		p.flushSet, p.flush = true, q.flush
	}
	if q.packSet {
		p.packSet, p.pack = true, q.pack
	}
	if q.historySet {
		p.historySet, p.history, p.historyAge = true, q.history, q.historyAge
	}
	if q.replaySet {
		p.replaySet, p.replay = true, q.replay
	}
	if q.requireBus {
		p.requireBus = true
	}
	return p
}
