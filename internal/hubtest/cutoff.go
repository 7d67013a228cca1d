package hubtest

import (
	"os"
	"testing"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
)

// cutOff returns for how long CutOff cuts a node off: 6 s, or what WSHUB_CUTOFF says.
func cutOff(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("WSHUB_CUTOFF")
	if text == "" {
		return 6 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal("WSHUB_CUTOFF: ", err)
	}
	return d
}

// CutOff has three hubs publish, of which the third is cut off for a while by a network that drops without a word. It serves
// its own meanwhile, and says that its bus is down; the others drop it, and lose nothing of each other. Afterwards all is as
// it should be, and what was lost was told.
func CutOff(t *testing.T, connect func(proxied bool) cluster.Bus, drop func(bool)) {
	d := cutOff(t)
	c := New(t, []cluster.Bus{connect(false), connect(false), connect(true)}, wshub.WithPresence(500*time.Millisecond, 0), wshub.WithSigning(key))
	busy, quiet := []string{"busy1", "busy2"}, []string{"quiet1", "quiet2"}
	c.populate(busy, quiet)
	c.ask(quiet)
	all, here, far := c.Nodes, c.Nodes[:2], c.Nodes[2:]
	passing := make([]*wshub.Session, len(all))
	for i, n := range all {
		passing[i] = n.Enter()
	}
	c.AwaitPresence(all...)
	load := c.Begin(busy...)
	c.AwaitFlow(20, all, all, busy...)

	drop(true)
	began := time.Now()
	c.AwaitBus("down", 1, far...)
	t.Logf("noticed after %v", time.Since(began))
	for i, n := range all {
		n.Exit(passing[i])
		n.Enter()
	}
	c.AwaitPresence(here...)
	c.AwaitPresence(far...)
	time.Sleep(d - time.Since(began)) // nothing is waited for: this is how long it lasts
	c.AwaitFlow(20, here, here, busy...)
	c.AwaitFlow(20, far, far, busy...)

	drop(false)
	began = time.Now()
	c.AwaitBus("up", 1, far...)
	c.ask(quiet)
	took := time.Since(began)
	t.Logf("after %v without a network all is subscribed again %v later", d, took)
	if took > 5*time.Second {
		t.Errorf("all is subscribed again only %v later", took)
	}
	c.AwaitPresence(all...)
	c.AwaitFlow(20, all, all, busy...)
	load.End()
	c.AwaitAccounted(busy...)
	for _, n := range here {
		if s := n.Stats().Bus; s.Failed != 0 {
			t.Errorf("%s: %+v", n.Node(), s)
		}
	}
	if n := c.Missing(here[0], here[1]) + c.Missing(here[1], here[0]); n != 0 {
		t.Errorf("%d values are missing between those that were not cut off", n)
	}
	c.close(busy, quiet)
}

// Gone cuts the third of three hubs off for good. Its members are gone from presence after three beats, and it can be shut
// down.
func Gone(t *testing.T, connect func(proxied bool) cluster.Bus, drop func(bool)) {
	const interval = time.Second
	c := New(t, []cluster.Bus{connect(false), connect(false), connect(true)}, wshub.WithPresence(interval, 0))
	busy := []string{"busy"}
	c.populate(busy, nil)
	c.AwaitPresence(c.Nodes...)
	load := c.Begin(busy...)
	c.AwaitFlow(20, c.Nodes, c.Nodes, busy...)

	drop(true)
	began := time.Now()
	c.AwaitPresence(c.Nodes[:2]...)
	took := time.Since(began)
	t.Logf("its members are gone after %v", took)
	if took > 4*interval { // the fourth for whoever is busy
		t.Errorf("its members are gone only after %v", took)
	}
	load.End()
	for _, n := range c.Nodes {
		n.End()
	}
}

// populate gives each node a stream and a socket in each of the busy topics, a socket in the quiet ones, and somebody in
// Lobby.
func (c *Cluster) populate(busy, quiet []string) {
	c.t.Helper()
	for _, n := range c.Nodes {
		for _, name := range busy {
			n.Stream(name)
		}
		n.Socket(busy...)
		n.Socket(quiet...)
		n.Enter()
	}
}
