package scenario

import (
	"errors"
	"fmt"
	"sync"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

var (
	overNATS  = overBroker("nats", "NATS")
	overRedis = overBroker("redis", "Redis")
)

// overBroker is three nodes, with a topic of a hundred clients on each, and each publish goes to a topic of the next node.
func overBroker(kind, name string) Scenario {
	const nodes, perTopic = 3, 100
	return Scenario{
		Name: "cluster-" + kind,
		Title: "three nodes over " + name + ", each with a topic of 100 clients; 200 publishes a second of 128 bytes on each node, to the topic " +
			"of the next one: 60,000 deliveries a second",
		Setting: "three nodes, 600 publishes/s, 100 clients each",
		Figures: []Figure{
			{Key: "cpu", Label: "CPU of the nodes per publish", Unit: "µs", Better: Lower, Main: "CPU per publish to 100 clients of another node, over " + name},
			{Key: "p50", Label: "p50", Unit: "ms", Better: Lower, Late: true},
			{Key: "p99", Label: "p99", Unit: "ms", Better: Lower, Late: true, Main: "p99 latency to another node, over " + name},
			{Key: "max", Label: "max", Unit: "ms", Better: Lower, Late: true},
			{Key: "rate", Label: "delivered", Unit: "/s", Better: Higher},
			{Key: "call", Label: "publish call p99", Unit: "µs", Better: Lower, Late: true},
		},
		can: hasClusters,
		run: func(b *Bench, c Contender) (r Result, err error) {
			broker, err := b.Start("-role", "broker", "-broker", kind)
			if err != nil {
				return r, fmt.Errorf("start the broker: %w", err)
			}
			defer broker.Kill()
			ready, err := broker.Ready()
			if err != nil {
				return r, fmt.Errorf("start the broker: %w", err)
			}
			s, err := b.stage(c, options{bus: ready.Addr}, "node-0", "node-1", "node-2")
			if err != nil {
				return r, err
			}
			defer s.close()
			if _, err := s.dial(nodes*perTopic, nodes); err != nil {
				return r, err
			}
			p := proto.Publish{Rate: 200, Size: size}
			if err := s.greet(p, perTopic); err != nil {
				return r, err
			}
			m, err := s.cross(span(p, b.window()), perTopic)
			if err != nil {
				return r, err
			}
			r = m.result()
			r.Figures["cpu"] = m.cpu * 1e6 / float64(max(m.published.Count, 1))
			return r, nil
		},
	}
}

// greet publishes across until all of it arrives: a node hears of another's topics a moment after they have members.
func (s *stage) greet(p proto.Publish, audience int) error {
	p.Count = 20
	for range 20 {
		m, err := s.cross(p, audience)
		if err != nil {
			return err
		}
		if m.Frames == m.expected {
			return nil
		}
	}
	return errors.New("publishes do not reach the other nodes")
}

// cross is measure for several nodes at once: each publishes p to the topic of the next one.
func (s *stage) cross(p proto.Publish, audience int) (m measured, err error) {
	if err := s.begin(&proto.Begin{}, &p); err != nil {
		return m, err
	}
	n := len(s.servers)
	cpu := make([]float64, n)
	all := make([]measured, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i, server := range s.servers {
		wg.Go(func() {
			p := p
			p.Topics = []int{(i + 1) % n}
			var before proto.Stats
			if errs[i] = server.Do(proto.DoStats, proto.StatsOf{}, &before); errs[i] == nil {
				cpu[i] = before.CPU
				errs[i] = server.Do(proto.DoPublish, p, &all[i].published)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return m, err
	}
	m.due = due(p)
	for i := range all {
		m.published.Count += all[i].published.Count
		m.expected += int64(all[i].published.Count) * int64(audience)
		if call := all[i].published.Call; call.P99 > m.published.Call.P99 {
			m.published.Call = call // the node that did worst
		}
	}
	if err := s.endWindow(&m, s.bench.patience()); err != nil {
		return m, err
	}
	for i, server := range s.servers {
		var after proto.Stats
		if err := server.Do(proto.DoStats, proto.StatsOf{}, &after); err != nil {
			return m, err
		}
		m.cpu += after.CPU - cpu[i]
	}
	return m, nil
}
