package hubtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/leak"
)

// Broker is a process that buses connect to.
type Broker interface {
	Kill()  // with SIGKILL
	Start() // again, at the same address; it returns when the broker takes connections
}

// quietTopics is how many topics there are on which nothing is published while the broker is away.
const quietTopics = 100

// key signs what the hubs send.
var key = []byte("0123456789abcdef")

// Killed has three hubs publish over a broker that is killed and started again, five times. Local subscribers get
// everything all the time, all is subscribed again within 5 s, each value that did not come is told to be missing, none comes
// twice, and nothing is left at the end.
func Killed(t *testing.T, broker Broker, connect func() cluster.Bus) {
	const rounds, interval = 5, 500 * time.Millisecond
	before := leak.All()
	c := New(t, []cluster.Bus{connect(), connect(), connect()}, wshub.WithPresence(interval, 0), wshub.WithSigning(key))
	busy := []string{"busy1", "busy2"}
	var quiet []string
	for i := range quietTopics {
		quiet = append(quiet, fmt.Sprintf("quiet%d", i))
	}
	c.populate(busy, quiet)
	c.ask(quiet)
	c.AwaitPresence(c.Nodes...)
	load := c.Begin(busy...)
	late := []string{}
	for round := range rounds {
		c.AwaitFlow(20, c.Nodes, c.Nodes, busy...)
		broker.Kill()
		c.AwaitBus("down", round+1, c.Nodes...)
		for _, n := range c.Nodes { // local delivery goes on
			c.AwaitFlow(20, []*Node{n}, []*Node{n}, busy...)
		}
		// Somebody is the first in a topic while there is no bus, somebody comes, and somebody goes.
		late = append(late, fmt.Sprintf("late%d", round))
		for _, n := range c.Nodes {
			n.Socket(late[round])
		}
		gone := c.Nodes[round%3].Enter()
		c.Nodes[(round+1)%3].Enter()
		c.Nodes[round%3].Exit(gone)

		broker.Start()
		began := time.Now()
		c.AwaitBus("up", round+1, c.Nodes...)
		c.ask(quiet)
		c.ask(late)
		took := time.Since(began)
		t.Logf("round %d: all is subscribed again %v after the start", round, took)
		if took > 5*time.Second {
			t.Errorf("round %d: all is subscribed again only %v after the start", round, took)
		}
		c.AwaitPresence(c.Nodes...)
	}
	c.AwaitFlow(20, c.Nodes, c.Nodes, busy...)
	load.End()

	// What is lost last is followed by no value that would show it.
	broker.Kill()
	c.AwaitBus("down", rounds+1, c.Nodes...)
	for _, n := range c.Nodes {
		n.Publish(n.Topic(busy[0]))
	}
	time.Sleep(2 * interval) // nothing is waited for: heartbeats are to be lost too
	broker.Start()
	c.AwaitBus("up", rounds+1, c.Nodes...)
	c.close(busy, quiet, late)
	c.awaitNone(before)
}

// ask has each node publish one value of each topic, and waits until all have come.
func (c *Cluster) ask(topics []string) {
	c.t.Helper()
	for _, n := range c.Nodes {
		for _, name := range topics {
			n.Publish(n.Topic(name))
		}
	}
	c.AwaitReceived(c.Nodes, c.Nodes, topics...)
}

// close makes the account and ends the hubs. Of the first topics values were lost, of the others none.
func (c *Cluster) close(topics ...[]string) {
	c.t.Helper()
	for i, names := range topics {
		c.AwaitAccounted(names...)
		received, missing := c.Account(names...)
		c.t.Logf("%s and others: %d values received, %d missing and told", names[0], received, missing)
		if i == 0 && missing == 0 {
			c.t.Error("nothing was lost: what does this test show?")
		}
		if i > 0 && missing > 0 {
			c.t.Errorf("%d values are missing that were published while all were up", missing)
		}
	}
	for _, n := range c.Nodes {
		if s := n.Stats().Bus; s.Malformed+s.Foreign+s.Unsigned+s.Replayed+s.Invalid != 0 {
			c.t.Errorf("%s: %+v", n.Node(), s)
		}
		n.End()
	}
}

// awaitNone waits until there are no more goroutines than before: those on their way out need a moment. A broker that was
// started again has others than the first.
func (c *Cluster) awaitNone(before leak.Goroutines) {
	c.t.Helper()
	for _, client := range c.clients {
		client.Abort()
	}
	c.Poll("no goroutine is left", func() bool { return len(leak.All()) <= len(before) })
}
