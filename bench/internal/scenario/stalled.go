package scenario

import (
	"github.com/wshub-go/wshub/bench/internal/proto"
)

var stalled = Scenario{
	Name: "stalled",
	Title: "1,000 clients in one topic, 100 publishes a second of 1 KiB: first all of them read, then one of them does not; what the " +
		"others feel of it",
	Setting: "1,000 clients, 100 publishes/s, one does not read",
	Figures: []Figure{
		{Key: "p99", Label: "p99 with it", Unit: "ms", Better: Lower, Late: true, Main: "p99 latency of 999 beside a stalled client", Chart: "p99 latency beside a stalled client"},
		{Key: "without", Label: "p99 without", Unit: "ms", Better: Lower, Late: true},
		{Key: "max", Label: "max with it", Unit: "ms", Better: Lower, Late: true},
		{Key: "missing", Label: "frames the others lost", Better: Lower},
		{Key: "growth", Label: "server memory grew by", Unit: "B", Better: Lower},
		{Key: "call", Label: "publish call p99", Unit: "µs", Better: Lower, Late: true},
	},
	can: hub,
	run: func(b *Bench, c Contender) (r Result, err error) {
		s, err := b.stage(c, options{})
		if err != nil {
			return r, err
		}
		defer s.close()
		const clients = 1000
		if _, err := s.dial(clients, 1); err != nil {
			return r, err
		}
		p := span(proto.Publish{Topics: all, Rate: 100, Size: 1024}, 1.5*b.window())
		if err := s.warm(p, clients); err != nil {
			return r, err
		}
		without, _, err := s.grow(proto.Begin{}, p, clients)
		if err != nil {
			return r, err
		}
		if without.late {
			r.Short = 1
			r.note("publishing took longer than the time there was, with no client stalled")
			return r, nil
		}
		m, growth, err := s.grow(proto.Begin{Stalled: 1}, p, clients-1)
		if err != nil {
			return r, err
		}
		r = m.result()
		r.Figures["without"] = ms(without.Latency.P99)
		r.Figures["missing"] = float64(max(0, m.expected-m.Frames))
		if !m.late {
			r.Figures["growth"] = growth
		}
		return r, nil
	},
}

// grow is measure, and how much the server's memory, without garbage, has grown by the end of the window, in which the
// stalled clients have not read yet.
func (s *stage) grow(b proto.Begin, p proto.Publish, audience int) (m measured, growth float64, err error) {
	before, err := s.stats(true)
	if err != nil {
		return m, 0, err
	}
	if err := s.begin(&b, &p); err != nil {
		return m, 0, err
	}
	if m, err = s.publishOnly(p, audience, s.bench.patience()); err != nil || m.late {
		return m, 0, err
	}
	after, err := s.stats(true)
	if err != nil {
		return m, 0, err
	}
	if err := s.endWindow(&m, s.bench.patience()); err != nil {
		return m, 0, err
	}
	return m, grown(before.Heap+before.Stack, after.Heap+after.Stack), nil
}
