package scenario

import (
	"time"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

var echo = Scenario{
	Name:    "echo",
	Title:   "1,000 clients, each sends 10 messages a second of 128 bytes and gets them back",
	Setting: "1,000 clients, 10 messages/s from each",
	Figures: []Figure{
		{Key: "cpu", Label: "CPU per message", Unit: "µs", Better: Lower, Main: "CPU per echoed message", Chart: "CPU per echoed message"},
		{Key: "p50", Label: "p50 there and back", Unit: "ms", Better: Lower},
		{Key: "p99", Label: "p99 there and back", Unit: "ms", Better: Lower},
		{Key: "max", Label: "max", Unit: "ms", Better: Lower},
		{Key: "rate", Label: "echoed", Unit: "/s"},
	},
	quick: true, each: true, can: hasEcho,
	run: func(b *Bench, c Contender) (r Result, err error) {
		s, err := b.stage(c, options{})
		if err != nil {
			return r, err
		}
		defer s.close()
		if _, err := s.dial(1000, 1); err != nil {
			return r, err
		}
		begin := proto.Begin{Echo: 10, EchoSize: size}
		if _, err := s.talk(begin, 200*time.Millisecond); err != nil {
			return r, err
		}
		before, err := s.stats(false)
		if err != nil {
			return r, err
		}
		w, err := s.talk(begin, time.Duration(b.window()*float64(time.Second)))
		if err != nil {
			return r, err
		}
		after, err := s.stats(false)
		if err != nil {
			return r, err
		}
		n := float64(max(w.Echoed, 1))
		r.Figures = map[string]float64{
			"cpu":  (after.CPU - before.CPU) * 1e6 / n,
			"p50":  ms(w.Trip.P50),
			"p99":  ms(w.Trip.P99),
			"max":  ms(w.Trip.Max),
			"rate": n / b.window(),
		}
		if w.Lost > 0 {
			r.note("%d clients were disconnected", w.Lost)
		}
		r.Short = max(0, 1-n/float64(max(w.Sent, 1)))
		return r, nil
	},
}

// talk is a window in which the clients send, for so long, and the server echoes.
func (s *stage) talk(b proto.Begin, length time.Duration) (w proto.Window, err error) {
	if err := s.begin(&b, &proto.Publish{Size: size}); err != nil {
		return w, err
	}
	time.Sleep(length)
	if err := s.load.Do(proto.DoEnd, proto.End{Quiet: 1, Timeout: 20}, &w); err != nil {
		return w, err
	}
	return w, wrong(w)
}
