package hubtest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wshub-go/wshub"
)

// span is numbers of one source, both ends included.
type span struct{ from, to uint64 }

func count(spans []span) (n uint64) {
	for _, s := range spans {
		n += s.to - s.from + 1
	}
	return n
}

// Subscriber is a stream or a socket, and what has come to it.
type Subscriber struct {
	node   *Node
	kind   string
	topics []string
	seen   map[source]*[]span // what has come, in its order; guarded by the cluster's mu
}

// subscriber makes one, which has seen nothing yet of any node.
func (n *Node) subscriber(kind string, topics ...string) *Subscriber {
	s := &Subscriber{node: n, kind: kind, topics: topics, seen: map[source]*[]span{}}
	for _, t := range topics {
		for _, from := range n.c.Nodes {
			s.seen[source{t, from.Node()}] = new([]span)
		}
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.subscribers = append(n.subscribers, s)
	return s
}

// got takes a value, which has to come after those that have come of its source.
func (s *Subscriber) got(value string) {
	s.node.c.change(func() {
		fields := strings.Fields(value)
		if len(fields) != 3 {
			s.node.c.t.Errorf("%s: a value %.100q", s.node.Node(), value)
			return
		}
		from := source{fields[0], fields[1]}
		number, err := strconv.ParseUint(fields[2], 10, 64)
		seen := s.seen[from]
		if err != nil || seen == nil {
			s.node.c.t.Errorf("%s: a value %.100q", s.node.Node(), value)
			return
		}
		last := &span{}
		if len(*seen) > 0 {
			last = &(*seen)[len(*seen)-1]
		}
		switch {
		case number <= last.to:
			s.node.c.t.Errorf("%s: a %s gets %q after number %d", s.node.Node(), s.kind, value, last.to)
		case number == last.to+1 && last.to > 0:
			last.to = number
		default:
			*seen = append(*seen, span{number, number})
		}
	})
}

// gap takes what an EventGap tells. Callers hold mu.
func (n *Node) gap(ev wshub.Event) {
	if ev.Origin == "" || ev.Origin == n.Node() || ev.From == 0 || ev.To < ev.From || ev.N != ev.To-ev.From+1 {
		n.c.t.Errorf("%s: %+v", n.Node(), ev)
		return
	}
	at := source{ev.Topic, ev.Origin}
	n.gaps[at] = append(n.gaps[at], span{ev.From, ev.To})
}

// A goal is a number that has to come of a source.
type goal struct {
	s    *Subscriber
	of   source
	upTo uint64
}

// AwaitReceived waits until each subscriber of a node among to has got what the node from has published last of each topic.
func (c *Cluster) AwaitReceived(from, to []*Node, topics ...string) {
	c.t.Helper()
	c.awaitGoals("the last value is received", c.goals(from, to, topics), func(g goal) bool {
		seen := *g.s.seen[g.of]
		return len(seen) > 0 && seen[len(seen)-1].to >= g.upTo
	})
}

// AwaitAccounted waits until all that was published was received by each subscriber, or told to be missing.
func (c *Cluster) AwaitAccounted(topics ...string) {
	c.t.Helper()
	c.awaitGoals("everything is received or told to be missing", c.goals(c.Nodes, c.Nodes, topics), func(g goal) bool {
		return count(*g.s.seen[g.of])+count(g.s.node.gaps[g.of]) >= g.upTo
	})
}

func (c *Cluster) goals(from, to []*Node, topics []string) (goals []goal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range to {
		for _, s := range n.subscribers {
			for _, t := range topics {
				for _, f := range from {
					of := source{t, f.Node()}
					if s.seen[of] != nil {
						goals = append(goals, goal{s, of, f.topics[t].published.Load()})
					}
				}
			}
		}
	}
	return goals
}

// awaitGoals waits until each goal was reached at some time.
func (c *Cluster) awaitGoals(what string, goals []goal, reached func(goal) bool) {
	c.t.Helper()
	c.await(what, func() bool {
		for len(goals) > 0 && reached(goals[len(goals)-1]) {
			goals = goals[:len(goals)-1]
		}
		return len(goals) == 0
	})
}

// Account checks that each subscriber has got, in order and once, exactly what was published but for what its node was
// told to be missing, and that nothing is missing of its own node. It returns how many values were received, and how many
// were missing, by all subscribers together.
func (c *Cluster) Account(topics ...string) (received, missing uint64) {
	c.t.Helper()
	goals := c.goals(c.Nodes, c.Nodes, topics)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range goals {
		seen, gaps := *g.s.seen[g.of], g.s.node.gaps[g.of]
		received += count(seen)
		missing += count(gaps)
		if len(gaps) > 0 && g.of.origin == g.s.node.Node() {
			c.t.Errorf("%s: gaps %v in its own values of %q", g.of.origin, gaps, g.of.topic)
		}
		if !exact(seen, gaps, g.upTo) {
			c.t.Errorf("%s: of 1-%d that %s has published of %q a %s has got %v, and missing are %v",
				g.s.node.Node(), g.upTo, g.of.origin, g.of.topic, g.s.kind, seen, gaps)
		}
	}
	return received, missing
}

// exact reports whether the spans of both together are 1 to upTo, each number once.
func exact(seen, gaps []span, upTo uint64) bool {
	all := slices.Concat(seen, gaps)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	next := uint64(1)
	for _, s := range all {
		if s.from != next {
			return false
		}
		next = s.to + 1
	}
	return next == upTo+1
}

// Missing returns how many values of one node another was told to be missing, of all topics.
func (c *Cluster) Missing(from, at *Node) (n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for of, gaps := range at.gaps {
		if of.origin == from.Node() {
			n += count(gaps)
		}
	}
	return n
}

// report is how all is, for a failure.
func (c *Cluster) report() string {
	var b strings.Builder
	for _, n := range c.Nodes {
		h := n.Health()
		fmt.Fprintf(&b, "%s: bus %s %s, %d nodes, %+v\n", n.Node(), h.Bus, h.BusError, h.Nodes, n.Stats().Bus)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := 0
	for _, n := range c.Nodes {
		fmt.Fprintf(&b, "%s: told %v, now %q\n", n.Node(), n.states, n.state)
		for _, s := range n.subscribers {
			for of, seen := range s.seen {
				f := n.c.node(of.origin).topics[of.topic]
				if f == nil || count(*seen)+count(n.gaps[of]) == f.published.Load() {
					continue
				}
				if lines++; lines > 20 {
					return b.String() + "...\n"
				}
				fmt.Fprintf(&b, "%s %s: %v: got %v, missing %v of %d\n", n.Node(), s.kind, of, *seen, n.gaps[of], f.published.Load())
			}
		}
	}
	return b.String()
}

func (c *Cluster) node(id string) *Node {
	return c.Nodes[slices.IndexFunc(c.Nodes, func(n *Node) bool { return n.Node() == id })]
}
