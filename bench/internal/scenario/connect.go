package scenario

import (
	"time"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

var connect = Scenario{
	Name:    "connect",
	Title:   "5,000 clients connect as fast as they can, 256 at a time",
	Setting: "5,000 clients at once",
	Figures: []Figure{
		{Key: "rate", Label: "connects", Unit: "/s", Better: Higher, Main: "connects a second"},
		{Key: "cpu", Label: "CPU per connect", Unit: "µs", Better: Lower},
		{Key: "p99", Label: "p99 of a handshake", Unit: "ms", Better: Lower},
	},
	can: hub,
	run: func(b *Bench, c Contender) (r Result, err error) {
		s, err := b.stage(c, options{})
		if err != nil {
			return r, err
		}
		defer s.close()
		before, err := s.stats(false)
		if err != nil {
			return r, err
		}
		d, err := s.dial(5000, 1)
		if err != nil {
			return r, err
		}
		after, err := s.stats(false)
		if err != nil {
			return r, err
		}
		n := float64(s.clients)
		r.Figures = map[string]float64{
			"rate": n / d.Seconds,
			"cpu":  (after.CPU - before.CPU) * 1e6 / n,
			"p99":  ms(d.Handshake.P99),
		}
		return r, nil
	},
}

// crowd is 20,000 clients, or how many a process may have.
func (b *Bench) crowd() int { return min(20_000, b.Files-300) }

var storm = Scenario{
	Name: "storm",
	Title: "20,000 clients (as far as the system allows) are cut off, all at once, and connect again at once: from the cut " +
		"until all are back in their topic",
	Setting: "20,000 clients, all at once",
	Figures: []Figure{
		{Key: "seconds", Label: "all are back after", Unit: "s", Better: Lower, Main: "20,000 are back after a cut", Chart: "20,000 reconnect after a cut"},
		{Key: "cpu", Label: "CPU per client", Unit: "µs", Better: Lower},
		{Key: "p99", Label: "p99 of a handshake", Unit: "ms", Better: Lower},
		{Key: "clients", Label: "clients"},
	},
	can: hub,
	run: func(b *Bench, c Contender) (r Result, err error) {
		s, err := b.stage(c, options{})
		if err != nil {
			return r, err
		}
		defer s.close()
		n := b.crowd()
		if _, err := s.dial(n, 1); err != nil {
			return r, err
		}
		before, err := s.stats(false)
		if err != nil {
			return r, err
		}
		start := time.Now()
		if err := s.load.Do(proto.DoHang, proto.Hang{Abort: true}, nil); err != nil {
			return r, err
		}
		s.clients = 0
		d, err := s.dial(n, 1)
		if err != nil {
			return r, err
		}
		took := time.Since(start)
		after, err := s.stats(false)
		if err != nil {
			return r, err
		}
		r.Figures = map[string]float64{
			"seconds": took.Seconds(),
			"cpu":     (after.CPU - before.CPU) * 1e6 / float64(n),
			"p99":     ms(d.Handshake.P99),
			"clients": float64(n),
		}
		return r, nil
	},
}

var leave = Scenario{
	Name:    "leave",
	Title:   "10,000 clients are cut off at once: until the server has forgotten them",
	Setting: "10,000 clients are cut off at once",
	Figures: []Figure{
		{Key: "seconds", Label: "all are gone after", Unit: "s", Better: Lower, Main: "10,000 are gone after a cut"},
		{Key: "cpu", Label: "CPU per client", Unit: "µs", Better: Lower},
	},
	can: hub,
	run: func(b *Bench, c Contender) (r Result, err error) {
		s, err := b.stage(c, options{})
		if err != nil {
			return r, err
		}
		defer s.close()
		n := min(10_000, b.crowd())
		if _, err := s.dial(n, 1); err != nil {
			return r, err
		}
		before, err := s.stats(false)
		if err != nil {
			return r, err
		}
		took, err := s.hang(0)
		if err != nil {
			return r, err
		}
		after, err := s.stats(false)
		if err != nil {
			return r, err
		}
		r.Figures = map[string]float64{
			"seconds": took.Seconds(),
			"cpu":     (after.CPU - before.CPU) * 1e6 / float64(n),
		}
		return r, nil
	},
}
