package scenario

import (
	"sort"
	"time"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// offers are the rates that the search tries, in deliveries a second.
var offers = []float64{
	25e3, 50e3, 75e3, 100e3, 125e3, 150e3, 175e3, 200e3, 250e3, 300e3, 350e3, 400e3, 450e3, 500e3, 600e3, 700e3, 800e3, 900e3,
	1000e3, 1100e3, 1200e3, 1300e3, 1400e3, 1500e3, 1600e3, 1800e3, 2000e3,
	2250e3, 2500e3, 2750e3, 3000e3, 3500e3, 4000e3,
}

// inTime is the 99 % quantile of the latency up to which a rate is sustained.
const inTime = time.Second

var sustained = Scenario{
	Name: "sustained",
	Title: "1,000 clients in one topic, 128 bytes in bursts of 20: the highest rate at which every frame arrives and p99 stays " +
		"under a second, up to 4 million deliveries a second; then the latency at half of it",
	Setting: "1,000 clients, everything arrives, p99 under 1 s",
	Figures: []Figure{
		{Key: "rate", Label: "sustained", Unit: "/s", Better: Higher, Main: "sustained deliveries a second, 1,000 clients", Chart: "Sustained deliveries a second"},
		{Key: "p50", Label: "p50 at half of it", Unit: "ms", Better: Lower},
		{Key: "p99", Label: "p99 at half of it", Unit: "ms", Better: Lower, Main: "p99 latency at half the sustained rate"},
		{Key: "max", Label: "max at half of it", Unit: "ms", Better: Lower},
		{Key: "cpu", Label: "CPU per delivery at half of it", Unit: "µs", Better: Lower},
	},
	can: anybody,
	run: func(b *Bench, c Contender) (r Result, err error) {
		f := &finder{bench: b, contender: c}
		defer f.close()
		// The first rate that is not sustained; the one below is.
		n := sort.Search(len(offers), func(i int) bool { return !f.sustains(offers[i]) })
		if f.err != nil {
			return r, f.err
		}
		if n == 0 {
			r.note("did not sustain %.0f deliveries a second", offers[0])
			r.Figures = map[string]float64{"rate": 0}
			return r, nil
		}
		m, err := f.offer(offers[n-1] / 2)
		if err != nil {
			return r, err
		}
		r = m.result()
		r.Figures["rate"] = offers[n-1]
		return r, nil
	},
}

// A finder looks for the sustained rate of a contender.
type finder struct {
	bench     *Bench
	contender Contender
	stage     *stage // nil if the next offer needs a new one
	err       error
}

// sustains tells whether all that is offered arrives in time. It is false after an error.
func (f *finder) sustains(rate float64) bool {
	if f.err != nil {
		return false
	}
	m, err := f.offer(rate)
	if err != nil {
		f.err = err
		return false
	}
	ok := !m.late && m.short() == 0 && m.Latency.P99 < int64(inTime)
	if !ok {
		f.close() // what is still on its way must not disturb the next one
	}
	return ok
}

// offer publishes for a window at a rate of deliveries a second.
func (f *finder) offer(rate float64) (m measured, err error) {
	const clients, burst = 1000, 20
	p := proto.Publish{Topics: all, Rate: rate / clients, Burst: burst, Size: size}
	if f.stage == nil {
		if f.stage, err = f.bench.stage(f.contender, options{}); err != nil {
			f.stage = nil
			return m, err
		}
		if _, err = f.stage.dial(clients, 1); err != nil {
			return m, err
		}
		if err = f.stage.warm(p, clients); err != nil {
			return m, err
		}
	}
	p = span(p, f.bench.window())
	p.Count = max(p.Count, burst)
	return f.stage.measure(proto.Begin{}, p, clients, inTime+200*time.Millisecond)
}

func (f *finder) close() {
	if f.stage != nil {
		f.stage.close()
		f.stage = nil
	}
}
