package hubtest

import (
	"context"
	"sync"
	"time"
)

// Load is publishers on each node, and others that ask the nodes questions.
type Load struct {
	c    *Cluster
	stop chan struct{}
	once sync.Once
	wait sync.WaitGroup
}

const (
	publishEach = 5 * time.Millisecond
	askEach     = 25 * time.Millisecond
	askFor      = time.Second // bounds a question
)

// Begin has each node publish to the topics, 200 values of each a second, and ask where a user is and
// who is in Lobby, until End.
func (c *Cluster) Begin(topics ...string) *Load {
	l := &Load{c: c, stop: make(chan struct{})}
	c.t.Cleanup(l.End)
	for _, n := range c.Nodes {
		all := make([]*Topic, len(topics))
		for i, name := range topics {
			all[i] = n.Topic(name)
		}
		lobby := n.Topic(Lobby)
		l.repeat(publishEach, func() {
			for _, t := range all {
				n.Publish(t)
			}
		})
		l.repeat(askEach, func() {
			ctx, cancel := context.WithTimeout(context.Background(), askFor)
			defer cancel()
			began := time.Now()
			n.User("somebody").Count(ctx) // cut off it fails, which is right
			lobby.Present(ctx)
			if took := time.Since(began); took > 5*askFor {
				c.t.Errorf("%s: two questions with %v took %v", n.Node(), askFor, took)
			}
		})
	}
	return l
}

// repeat calls f now and then until End.
func (l *Load) repeat(each time.Duration, f func()) {
	l.wait.Go(func() {
		tick := time.NewTicker(each)
		defer tick.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-tick.C:
				f()
			}
		}
	})
}

// End waits until nobody publishes or asks any more. The test's end calls it too.
func (l *Load) End() {
	l.once.Do(func() { close(l.stop) })
	l.wait.Wait()
}

// AwaitFlow waits until n more values of each topic have come from each node to each subscriber of the others.
func (c *Cluster) AwaitFlow(n uint64, from, to []*Node, topics ...string) {
	c.t.Helper()
	goals := c.goals(from, to, topics)
	c.mu.Lock()
	for i, g := range goals {
		goals[i].upTo = count(*g.s.seen[g.of]) + n
	}
	c.mu.Unlock()
	c.awaitGoals("values flow", goals, func(g goal) bool { return count(*g.s.seen[g.of]) >= g.upTo })
}
