package scenario

import (
	"fmt"
	"time"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// size is how many bytes a payload has where nothing else is said.
const size = 128

// titles are what a figure is called in the main table and in the chart, by its key.
type titles map[string]struct{ main, chart string }

// deliveries are the figures of [measured.result].
func deliveries(t titles) []Figure {
	figures := []Figure{
		{Key: "rate", Label: "delivered", Unit: "/s", Better: Higher},
		{Key: "cpu", Label: "CPU per delivery", Unit: "µs", Better: Lower, Floor: true},
		{Key: "p50", Label: "p50", Unit: "ms", Better: Lower, Late: true},
		{Key: "p99", Label: "p99", Unit: "ms", Better: Lower, Floor: true, Late: true},
		{Key: "p999", Label: "p99.9", Unit: "ms", Better: Lower, Late: true},
		{Key: "max", Label: "max", Unit: "ms", Better: Lower, Late: true},
		{Key: "call", Label: "publish call p99", Unit: "µs", Better: Lower, Late: true},
	}
	for i := range figures {
		title := t[figures[i].Key]
		figures[i].Main, figures[i].Chart = title.main, title.chart
	}
	return figures
}

// fanout connects clients to topics, publishes to warm up, then p, and returns what came of it.
func (b *Bench) fanout(c Contender, o options, clients, topics int, p proto.Publish) (r Result, err error) {
	s, err := b.stage(c, o)
	if err != nil {
		return r, err
	}
	defer s.close()
	if _, err := s.dial(clients, topics); err != nil {
		return r, err
	}
	audience := clients * o.topics() / topics
	if err := s.warm(p, audience); err != nil {
		return r, err
	}
	m, err := s.measure(proto.Begin{}, p, audience, b.patience())
	if err != nil {
		return r, err
	}
	return m.result(), nil
}

// warm publishes to p's topics for a moment and at a leisurely rate, so that stacks and buffers have grown.
func (s *stage) warm(p proto.Publish, audience int) error {
	const deliveries, seconds = 20_000, 0.2
	p.Rate, p.Burst = min(p.Rate, deliveries/float64(audience)), 0
	p.Count = max(1, int(p.Rate*seconds))
	m, err := s.measure(proto.Begin{}, p, audience, s.bench.patience())
	if err == nil && m.late {
		err = fmt.Errorf("%d publishes to warm up took longer than %v", p.Count, m.due+s.bench.patience())
	}
	return err
}

// patience is how long after the last publish was due a frame may come.
func (b *Bench) patience() time.Duration {
	return time.Duration(b.short(1500, 4000)) * time.Millisecond
}

// span is p with as many publishes as fill a window of so many seconds.
func span(p proto.Publish, seconds float64) proto.Publish {
	p.Count = int(p.Rate * seconds)
	if p.Burst > 1 {
		p.Count -= p.Count % p.Burst
	}
	return p
}

// window is the usual length of one, in seconds.
func (b *Bench) window() float64 { return float64(b.short(1, 3)) }

// all is the only topic.
var all = []int{0}

var steady = Scenario{
	Name:    "steady",
	Title:   "1,000 clients in one topic, 100 publishes a second of 128 bytes",
	Setting: "1,000 clients, 100 publishes/s",
	Figures: deliveries(titles{
		"cpu":  {"CPU per delivery, 1,000 clients × 100/s", "CPU per delivery"},
		"p99":  {"p99 latency, 1,000 clients × 100/s", ""},
		"call": {"p99 of a publish call, 1,000 clients", "p99 of a publish call"},
	}),
	quick: true, can: anybody,
	run: func(b *Bench, c Contender) (Result, error) {
		return b.fanout(c, options{}, 1000, 1, span(proto.Publish{Topics: all, Rate: 100, Size: size}, b.window()))
	},
}

var bursts = Scenario{
	Name:    "bursts",
	Title:   "1,000 clients in one topic, 1,000 publishes a second of 128 bytes in bursts of 20: a million deliveries a second",
	Setting: "1,000 clients, 1,000 publishes/s in bursts of 20",
	Figures: deliveries(titles{
		"rate": {"delivered of 1,000,000/s, in bursts", "Delivered of 1,000,000/s"},
		"p99":  {"p99 latency at 1,000,000/s, in bursts", ""},
	}),
	quick: true, can: anybody,
	run: func(b *Bench, c Contender) (Result, error) {
		return b.fanout(c, options{}, 1000, 1, span(proto.Publish{Topics: all, Rate: 1000, Burst: 20, Size: size}, b.window()))
	},
}

var wide = Scenario{
	Name:    "wide",
	Title:   "10,000 clients in one topic, 20 publishes a second of 128 bytes: 200,000 deliveries a second",
	Setting: "10,000 clients, 20 publishes/s",
	Figures: deliveries(titles{
		"rate": {"delivered of 200,000/s, 10,000 clients", ""},
		"p99":  {"p99 latency at 200,000/s, 10,000 clients", "p99 latency of a large topic"},
		"call": {"p99 of a publish call, 10,000 clients", ""},
	}),
	quick: true, can: anybody,
	run: func(b *Bench, c Contender) (Result, error) {
		return b.fanout(c, options{}, 10_000, 1, span(proto.Publish{Topics: all, Rate: 20, Size: size}, b.window()))
	},
}

var topics = Scenario{
	Name:    "topics",
	Title:   "1,000 clients in 10 of 1,000 topics each, 10,000 publishes a second of 128 bytes to random topics: 100,000 deliveries a second",
	Setting: "1,000 topics of 10, 1,000 clients, 10,000 publishes/s",
	Figures: deliveries(titles{"cpu": {"CPU per delivery, 1,000 topics of 10", "CPU per delivery in small topics"}}),
	can:     hasTopics,
	run: func(b *Bench, c Contender) (Result, error) {
		names := make([]int, 1000)
		for i := range names {
			names[i] = i
		}
		p := proto.Publish{Topics: names, Random: true, Rate: 10_000, Size: size}
		return b.fanout(c, options{places: 10}, 1000, len(names), span(p, b.window()))
	},
}

var compressed = Scenario{
	Name:    "compressed",
	Title:   "1,000 clients in one topic, 20 publishes a second of 1 KiB of JSON, compressed; then as many in bursts of 10",
	Setting: "1 KiB of JSON to 1,000 clients, 20 publishes/s",
	Figures: append(deliveries(titles{"cpu": {"CPU per compressed delivery of 1 KiB", "CPU per compressed delivery"}}),
		Figure{Key: "burst", Label: "in bursts: CPU per delivery", Unit: "µs", Better: Lower, Main: "the same in bursts of 10"}),
	quick: true, can: hasCompress,
	run: func(b *Bench, c Contender) (r Result, err error) {
		s, err := b.stage(c, options{compress: true})
		if err != nil {
			return r, err
		}
		defer s.close()
		if _, err := s.dial(1000, 1); err != nil {
			return r, err
		}
		p := proto.Publish{Topics: all, Rate: 20, Size: 1024, JSON: true}
		if err := s.warm(p, 1000); err != nil {
			return r, err
		}
		m, err := s.measure(proto.Begin{}, span(p, b.window()), 1000, b.patience())
		if err != nil || m.late {
			return m.result(), err
		}
		p.Burst = 10
		in, err := s.measure(proto.Begin{}, span(p, b.window()), 1000, b.patience())
		if err != nil {
			return r, err
		}
		r = m.result()
		if in.short() == 0 {
			r.Figures["burst"] = in.perFrame()
		}
		return r, nil
	},
}

var direct = Scenario{
	Name:    "direct",
	Title:   "1,000 clients, 20,000 messages a second of 128 bytes, each to one client at random",
	Setting: "1,000 clients, 20,000 messages/s to one each",
	Figures: deliveries(titles{"cpu": {"CPU per message to one client", ""}}),
	can:     hasDirect,
	run: func(b *Bench, c Contender) (r Result, err error) {
		s, err := b.stage(c, options{})
		if err != nil {
			return r, err
		}
		defer s.close()
		if _, err := s.dial(1000, 1); err != nil {
			return r, err
		}
		p := proto.Publish{Direct: 1000, Rate: 20_000, Size: size}
		if err := s.warm(p, 1); err != nil {
			return r, err
		}
		m, err := s.measure(proto.Begin{}, span(p, b.window()), 1, b.patience())
		if err != nil {
			return r, err
		}
		return m.result(), nil
	},
}

var churn = Scenario{
	Name:    "churn",
	Title:   "1,000 clients in one topic, 100 publishes a second of 128 bytes, while a thousand leaves and joins happen a second",
	Setting: "1,000 clients, 1,000 leaves and joins/s",
	Figures: []Figure{
		{Key: "cpu", Label: "CPU per delivery", Unit: "µs", Better: Lower, Floor: true, Main: "CPU per delivery while 1,000/s leave and join"},
		{Key: "p50", Label: "p50", Unit: "ms", Better: Lower},
		{Key: "p99", Label: "p99", Unit: "ms", Better: Lower},
		{Key: "max", Label: "max", Unit: "ms", Better: Lower},
		{Key: "call", Label: "publish call p99", Unit: "µs", Better: Lower},
		{Key: "rate", Label: "delivered", Unit: "/s"},
	},
	can: switches,
	run: func(b *Bench, c Contender) (r Result, err error) {
		s, err := b.stage(c, options{})
		if err != nil {
			return r, err
		}
		defer s.close()
		if _, err := s.dial(1000, 1); err != nil {
			return r, err
		}
		p := span(proto.Publish{Topics: all, Rate: 100, Size: size}, b.window())
		if err := s.warm(p, 1000); err != nil {
			return r, err
		}
		// Who has left gets nothing, so the number of frames is not known: the window ends when it is quiet.
		m, err := s.measure(proto.Begin{Churn: 1000}, p, 1000, b.patience())
		if err != nil {
			return r, err
		}
		m.Missing = 0
		r = m.result()
		r.Short = 0
		return r, nil
	},
}
