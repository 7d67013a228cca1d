package report

import (
	"fmt"
	"math"

	"github.com/wshub-go/wshub/bench/internal/scenario"
)

// A Claim is what wshub is to reach, as a bound on a number that one round gives.
type Claim struct {
	What  string
	Limit float64
	Above bool // Limit is the least, not the most
	Unit  string
	value func(round) (v float64, ok bool)
}

// A Verdict says whether a claim holds.
type Verdict struct {
	Claim
	Measured float64 // the median of the rounds
	Known    bool    // there were results
	Holds    bool
}

// Claims returns them all, in the order of the scenarios.
func Claims() []Claim { return claims }

// round is the results of one.
type round struct {
	r *Report
	n int
}

func (r round) result(s, contender string) (scenario.Result, bool) {
	for _, x := range r.r.results(s, contender) {
		if x.Round == r.n && x.Error == "" {
			return x, true
		}
	}
	return scenario.Result{}, false
}

func (r round) get(s, contender, key string) (float64, bool) {
	x, _ := r.result(s, contender)
	v, ok := x.Figures[key]
	return v, ok
}

// own is a figure of wshub, or of its variant.
func own(s, contender, key string) func(round) (float64, bool) {
	return func(r round) (float64, bool) { return r.get(s, contender, key) }
}

// ratio is a figure of wshub divided by another.
func ratio(s, key, to, contender, toKey string) func(round) (float64, bool) {
	return func(r round) (float64, bool) {
		a, ok := r.get(s, scenario.Wshub, key)
		b, ok2 := r.get(to, contender, toKey)
		return a / b, ok && ok2 && b > 0
	}
}

// arrived is the share of the frames that came.
func arrived(s string) func(round) (float64, bool) {
	return func(r round) (float64, bool) {
		x, ok := r.result(s, scenario.Wshub)
		return 1 - x.Short, ok
	}
}

// against is a figure of wshub divided by that of the peer that has most of it.
func against(s, key string) func(round) (float64, bool) {
	return func(r round) (float64, bool) {
		a, ok := r.get(s, scenario.Wshub, key)
		best := 0.0
		for _, name := range r.r.peers() {
			b, _ := r.get(s, name, key)
			best = max(best, b)
		}
		return a / best, ok && best > 0
	}
}

// worst is the highest that wshub has of a figure in these scenarios.
func worst(key string, scenarios ...string) func(round) (float64, bool) {
	return func(r round) (v float64, known bool) {
		for _, s := range scenarios {
			if x, ok := r.get(s, scenario.Wshub, key); ok {
				v, known = max(v, x), true
			}
		}
		return v, known
	}
}

const (
	times1 = "×"
	share  = "share"
)

// publishing are the scenarios in which somebody publishes to a topic.
var publishing = []string{"steady", "bursts", "wide", "stalled", "topics", "compressed", "churn", "cluster-nats", "cluster-redis", "members"}

var claims = []Claim{
	{What: "an idle session, ranging over messages: heap and stack", Limit: 12_500, Unit: "B", value: own("idle", scenario.Wshub, "idle")},
	{What: "the same after 20 messages each way", Limit: 14_000, Unit: "B", value: own("idle", scenario.Wshub, "after")},
	{What: "an idle session with an Each handler: heap and stack", Limit: 9_000, Unit: "B", value: own("idle", scenario.Each, "idle")},
	{What: "the same after 20 messages each way", Limit: 11_000, Unit: "B", value: own("idle", scenario.Each, "after")},
	{What: "its goroutines", Limit: 1.01, value: own("idle", scenario.Each, "goroutines")},
	{What: "1,000 × 100/s: CPU per delivery, to the floor's", Limit: 1.15, Unit: times1, value: ratio("steady", "cpu", "steady", scenario.Floor, "cpu")},
	{What: "1,000 × 100/s: p99, to the floor's", Limit: 1.5, Unit: times1, value: ratio("steady", "p99", "steady", scenario.Floor, "p99")},
	{What: "1,000,000/s in bursts of 20: arrive", Limit: 1, Above: true, Unit: share, value: arrived("bursts")},
	{What: "1,000,000/s in bursts of 20: p99", Limit: 150, Unit: "ms", value: own("bursts", scenario.Wshub, "p99")},
	{What: "the sustained rate, to the best peer's", Limit: 2, Above: true, Unit: times1, value: against("sustained", "rate")},
	{What: "200,000/s to 10,000 clients: arrive", Limit: 1, Above: true, Unit: share, value: arrived("wide")},
	{What: "200,000/s to 10,000 clients: p99", Limit: 500, Unit: "ms", value: own("wide", scenario.Wshub, "p99")},
	{What: "one stalled in 1,000: frames the others lose", Limit: 0, value: own("stalled", scenario.Wshub, "missing")},
	{What: "one stalled in 1,000: p99 of the others, to that without it", Limit: 1.2, Unit: times1, value: ratio("stalled", "p99", "stalled", scenario.Wshub, "without")},
	{What: "one stalled in 1,000: server memory grows by", Limit: 2e6, Unit: "B", value: own("stalled", scenario.Wshub, "growth")},
	{What: "a publish call, any audience: p99", Limit: 100, Unit: "µs", value: worst("call", publishing...)},
	{What: "1,000 topics of 10: delivered, to the best peer's", Limit: 1 / level, Above: true, Unit: times1, value: against("topics", "rate")},
	{What: "1,000 topics of 10: CPU per delivery, to that of 1,000 × 100/s", Limit: 1, Unit: times1, value: ratio("topics", "cpu", "steady", scenario.Wshub, "cpu")},
	{What: "compressed: CPU per delivery, to one compression for each client (coder)", Limit: 0.2, Unit: times1, value: ratio("compressed", "cpu", "compressed", "coder", "cpu")},
	{What: "the same in bursts of 10", Limit: 0.2, Unit: times1, value: ratio("compressed", "burst", "compressed", "coder", "burst")},
	{What: "echo: CPU per message, to coder/websocket's own loop", Limit: 1, Unit: times1, value: ratio("echo", "cpu", "echo", "coder", "cpu")},
	{What: "a million members in the process: engine state of one", Limit: 300, Unit: "B", value: own("members", scenario.Wshub, "bytes")},
	{What: "a million members in the process: a publish, for each", Limit: 100, Unit: "ns", value: own("members", scenario.Wshub, "member")},
}

// Verdicts holds the claims against the results.
func (r *Report) Verdicts() []Verdict {
	var all []Verdict
	for _, c := range claims {
		v := Verdict{Claim: c}
		var values []float64
		for n := range r.Rounds {
			if x, ok := c.value(round{r, n + 1}); ok && !math.IsNaN(x) {
				values = append(values, x)
			}
		}
		if v.Known = len(values) > 0; v.Known {
			v.Measured = median(values)
			v.Holds = v.Measured <= c.Limit
			if c.Above {
				v.Holds = v.Measured >= c.Limit
			}
		}
		all = append(all, v)
	}
	return all
}

func (v Verdict) bound() string {
	sign := "≤ "
	if v.Above {
		sign = "≥ "
	}
	return sign + amount(v.Limit, v.Unit)
}

// amount is format for the units of claims too.
func amount(v float64, unit string) string {
	switch unit {
	case times1:
		return digits(v) + " ×"
	case share:
		return fixed(100*v, 2) + " %"
	}
	return format(v, unit)
}

// claimsTable shows what is known.
func (r *Report) claimsTable() string {
	rows := [][]string{{"claim", "at", "measured", "holds"}}
	for _, v := range r.Verdicts() {
		if !v.Known {
			continue
		}
		holds := "yes"
		if !v.Holds {
			holds = "**no**"
		}
		rows = append(rows, []string{v.What, v.bound(), amount(v.Measured, v.Unit), holds})
	}
	return plain(rows)
}

// Broken lists the claims that do not hold.
func (r *Report) Broken() []string {
	var broken []string
	for _, v := range r.Verdicts() {
		if v.Known && !v.Holds {
			broken = append(broken, fmt.Sprintf("%s: %s, claimed %s", v.What, amount(v.Measured, v.Unit), v.bound()))
		}
	}
	return broken
}
