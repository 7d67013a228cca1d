package wshub_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
)

// simAccount is what came of the values that somebody listened to, once for each listener.
type simAccount struct {
	got, gaps, before, after int // received; told to be missing; lost before anything was heard of their node, or after the last
}

// check compares what every node knows with the truth.
func (s *sim) check() {
	var nodes []string
	var there [simTopics][]string
	users := map[string]int{}
	for _, n := range s.places {
		if n != nil {
			nodes = append(nodes, fmt.Sprint(n.id, " ", n.Len()))
		}
	}
	slices.Sort(nodes)
	for _, ss := range s.sessions {
		s.drain(ss)
		users[ss.user]++
		for topic := range there {
			if ss.in[topic] != nil {
				there[topic] = append(there[topic], ss.ID())
			}
		}
	}
	for topic := range there {
		slices.Sort(there[topic])
	}
	for _, n := range s.places {
		if n != nil {
			s.checkNode(n, nodes, there, users)
		}
	}
	s.checkValues()
	s.checkDirect()
}

func (s *sim) checkNode(n *simNode, nodes []string, there [simTopics][]string, users map[string]int) {
	ctx, cancel := context.WithTimeout(context.Background(), s.interval)
	defer cancel()
	var known []string
	for i := range n.Nodes() {
		known = append(known, fmt.Sprint(i.ID, " ", i.Sessions))
	}
	if slices.Sort(known); !slices.Equal(known, nodes) {
		s.t.Errorf("%s knows the nodes %q, want %q", n.id, known, nodes)
	}
	if c, err := n.Everyone().Count(ctx); c != len(s.sessions) || err != nil {
		s.t.Errorf("%s counts %d sessions, %v, want %d", n.id, c, err, len(s.sessions))
	}
	if c, err := n.User("user1").Count(ctx); c != users["user1"] || err != nil {
		s.t.Errorf("%s counts %d sessions of a user, %v, want %d", n.id, c, err, users["user1"])
	}
	for i, topic := range n.topics {
		if c, err := topic.Count(ctx); c != len(there[i]) || err != nil {
			s.t.Errorf("%s counts %d in topic %d, %v, want %d", n.id, c, i, err, len(there[i]))
		}
		if list, err := topic.Present(ctx); !slices.Equal(ids(list), there[i]) || err != nil {
			s.t.Errorf("%s: present in topic %d are %q, %v, want %q", n.id, i, ids(list), err, there[i])
		}
		for _, m := range n.models[i] {
			if got := m.known(); !slices.Equal(got, there[i]) || m.stream.Err() != nil {
				s.t.Errorf("%s has watched %q in topic %d, %v, want %q", n.id, got, i, m.stream.Err(), there[i])
			}
		}
		wantBalanced(s.t, topic.Stats())
	}
	v := n.Stats()
	s.checkStats(n, v)
	if v.Topics.Pending+v.Everyone.Pending+v.Direct.Pending != 0 {
		s.t.Errorf("%s: something is pending: %+v", n.id, v)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told.gaps != v.Bus.Gaps || n.told.missing != v.Bus.Missing || n.told.failed+n.refused != v.Bus.Failed || v.ObserverMissed != 0 {
		s.t.Errorf("%s was told %+v, and has counted %+v", n.id, n.told, v.Bus)
	}
}

// checkStats looks at what is true of a hub at any time.
func (s *sim) checkStats(n *simNode, v wshub.HubStats) {
	for name, a := range map[string]wshub.Tally{"topics": v.Topics, "everyone": v.Everyone, "direct": v.Direct} {
		wantBalanced(s.t, a)
		if a.Coalesced+a.Dropped+a.Filtered+a.Evicted != 0 {
			s.t.Errorf("%s %s: %+v", n.id, name, a)
		}
	}
	b := v.Bus
	if b.Malformed+b.Foreign+b.Unsigned+b.Invalid+b.Lost+b.Undelivered != 0 || b.Replayed != 0 && !s.network.hostile {
		s.t.Errorf("%s: %+v", n.id, b)
	}
	if b.Published < b.Beats || b.PublishedBytes < b.BeatBytes || b.Missing < b.Gaps || b.Received < b.Replayed+b.Repeated+b.Unwanted {
		s.t.Errorf("%s: %+v", n.id, b)
	}
}

// checkStream compares what a stream says with what came out of it.
func (s *sim) checkStream(st *simStream) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if a := st.Stats(); a.Sent != uint64(len(st.got)) || a.Offered != a.Sent+a.Undelivered || a.Undelivered != 0 {
		s.t.Errorf("a stream of %s got %d: %+v", st.node.id, len(st.got), a)
	}
}

// simSpan is a time in which somebody on a node listened to a topic.
type simSpan struct {
	node      *simNode
	from, to  int
	listeners []*simListener
	got       map[int][]uint64 // numbers that somebody received, by node, sorted
}

// checkValues sees to it that everybody who listened got each value, once and in order, or his node has told that it is
// missing. What a node missed before it heard anything of another one is none of that; and of what came last nobody can
// know when that node is over, or he himself was.
func (s *sim) checkValues() {
	s.account = simAccount{}
	for topic := range simTopics + 1 {
		byNode := map[*simNode][]*simListener{}
		for _, l := range s.listeners {
			if l.topic == topic {
				byNode[l.node] = append(byNode[l.node], l)
			}
		}
		for _, n := range s.nodes {
			for _, span := range s.spans(n, topic, byNode[n]) {
				for _, l := range span.listeners {
					s.checkListener(span, l)
				}
			}
		}
	}
}

// spans returns when somebody on n listened to a topic.
func (s *sim) spans(n *simNode, topic int, all []*simListener) (spans []*simSpan) {
	if topic == simEveryone && len(all) > 0 {
		spans = append(spans, &simSpan{node: n, to: never}) // always
	}
	slices.SortStableFunc(all, func(a, b *simListener) int { return a.from - b.from })
	for _, l := range all {
		if len(spans) == 0 || spans[len(spans)-1].to <= l.from {
			spans = append(spans, &simSpan{node: n, from: l.from, to: l.to})
		}
		span := spans[len(spans)-1]
		span.to = max(span.to, l.to)
		span.listeners = append(span.listeners, l)
	}
	for _, span := range spans {
		sets := map[int]map[uint64]bool{}
		for _, l := range span.listeners {
			l.mu.Lock()
			for _, ref := range l.got {
				if sets[ref.node] == nil {
					sets[ref.node] = map[uint64]bool{}
				}
				sets[ref.node][ref.number] = true
			}
			l.mu.Unlock()
		}
		span.got = map[int][]uint64{}
		for node, set := range sets {
			span.got[node] = slices.Sorted(maps.Keys(set))
		}
	}
	return spans
}

func (s *sim) checkListener(span *simSpan, l *simListener) {
	name := fmt.Sprintf("%s, topic %d, moments %d to %d", l.node.id, l.topic, l.from, l.to)
	got, last := map[simRef]bool{}, map[int]uint64{}
	l.mu.Lock()
	for _, ref := range l.got {
		if ref.number <= last[ref.node] {
			s.t.Errorf("%s: %d of %s after %d", name, ref.number, s.nodes[ref.node].id, last[ref.node])
		}
		if ref.number > s.nodes[ref.node].numbers[l.topic] {
			s.t.Errorf("%s: %d of %s was never published", name, ref.number, s.nodes[ref.node].id)
		}
		got[ref], last[ref.node] = true, ref.number
	}
	l.mu.Unlock()
	for _, v := range s.values[l.topic] {
		if v.at < l.from || v.at >= l.to {
			continue
		}
		of := s.nodes[v.node]
		missing := l.node.missing(l.topic, of.id, v.number)
		if got[simRef{v.node, v.number}] {
			s.account.got++
			if missing != nil && missing.origin != "" && s.byID[of.id] == 1 && missing.at >= l.from && missing.at < l.to {
				s.t.Errorf("%s: got %d of %s, which was told to be missing: %+v", name, v.number, of.id, *missing)
			}
			continue
		}
		if v.failed {
			continue
		}
		heard := span.got[v.node]
		switch {
		case v.node == l.node.index || v.calm:
			s.t.Errorf("%s: %d of %s, published at %d in a calm, did not come", name, v.number, of.id, v.at)
		case missing != nil:
			s.account.gaps++
		case len(heard) == 0 || heard[0] > v.number:
			s.account.before++
		case last[v.node] < v.number && (l.to != never || of.over && heard[len(heard)-1] < v.number):
			s.account.after++
		default:
			s.t.Errorf("%s: %d of %s, published at %d, did not come, and nobody said so; heard %v", name, v.number, of.id, v.at, heard)
		}
	}
}

// missing returns the gap in which a node has reported a value, nil for none. Gaps of a node whose id is not known are of
// any.
func (n *simNode) missing(topic int, origin string, number uint64) *simGap {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, g := range n.gaps[topic] {
		if (g.origin == origin || g.origin == "") && g.from <= number && number <= g.to {
			return &n.gaps[topic][i]
		}
	}
	return nil
}

// checkDirect looks at messages to sessions and users: nobody else gets them, nobody gets them twice unless the bus repeats
// what it is given, and while nothing is wrong they arrive.
func (s *sim) checkDirect() {
	for _, ss := range slices.Concat(s.sessions, s.past) {
		for i, times := range ss.received {
			d := s.direct[i]
			if !slices.Contains(d.to, ss) && (d.calm || d.user == "" || d.user != ss.user) || times > 1 && !s.network.hostile {
				s.t.Errorf("%s got message %d %d times", ss.ID(), i, times)
			}
		}
	}
	for i, d := range s.direct {
		for _, ss := range d.to {
			if d.calm && ss.received[i] != 1 {
				s.t.Errorf("%s got message %d %d times, in a calm", ss.ID(), i, ss.received[i])
			}
		}
	}
}

// end ends all, in any order and way, and looks at the sums.
func (s *sim) end() {
	var published, failed, received uint64
	for len(s.streams) > 0 {
		s.closeStream(s.streams[0])
	}
	s.r.Shuffle(len(s.places), func(i, j int) { s.places[i], s.places[j] = s.places[j], s.places[i] })
	for _, n := range slices.Clone(s.places) {
		if n != nil {
			n.place = slices.Index(s.places, n)
			s.over(n, s.r.IntN(4) == 0)
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
	for _, n := range s.nodes {
		s.checkStats(n, n.stats)
		published += n.stats.Bus.Published
		failed += n.stats.Bus.Failed
		received += n.stats.Bus.Received
		v := n.Stats()
		if n.Len() != 0 || v.Topics.Pending+v.Everyone.Pending+v.Direct.Pending != 0 {
			s.t.Errorf("%s, which is over: %+v", n.id, v)
		}
		if h := n.Health(); h.Bus != "closed" {
			s.t.Errorf("%s, which is over: %+v", n.id, h)
		}
	}
	m := s.memory.Stats()
	if m.Connections != 0 || m.Subjects != 0 || m.Lost != 0 {
		s.t.Errorf("the broker has %+v", m)
	}
	if published != m.Published.Messages {
		s.t.Errorf("the hubs have published %d messages, the broker has %d", published, m.Published.Messages)
	}
	if received > m.Delivered.Messages || received < m.Delivered.Messages-m.Delivered.Messages/100 {
		s.t.Errorf("the hubs have received %d messages, the broker has delivered %d", received, m.Delivered.Messages)
	}
	s.t.Logf("%d nodes, %d sessions, %d listeners: %+v; %d messages on the bus, %d refused, %d delivered",
		len(s.nodes), len(s.past), len(s.listeners), s.account, published, failed, m.Delivered.Messages)
}
