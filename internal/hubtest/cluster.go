package hubtest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/wshubtest"
)

// Patience is how long anything is waited for that has to come.
const Patience = 30 * time.Second

// Cluster is hubs on one broker, n1, n2 and so on.
type Cluster struct {
	Nodes []*Node

	t       testing.TB
	clients []*wshubtest.Client

	mu      sync.Mutex
	changed chan struct{} // closed at the next change; nil while nobody waits; guarded by mu
}

// Node is a hub, and what is known of it.
type Node struct {
	*wshub.Hub
	c       *Cluster
	topics  map[string]*Topic
	readers sync.WaitGroup
	there   func() []string // who is in Lobby, as is watched

	subscribers []*Subscriber       // guarded by c.mu
	gaps        map[source][]span   // that were told; guarded by c.mu
	states      map[string]int      // how often the bus has changed to one, as was told; guarded by c.mu
	state       string              // as was told last; guarded by c.mu
	failed      uint64              // messages that did not leave, as was told; guarded by c.mu
	sessions    map[string]struct{} // the ids of those that should be in Lobby; guarded by c.mu
}

// Topic is one of a node's, and how much it has published of it. One goroutine publishes at a time.
type Topic struct {
	wshub.Topic[string]
	published atomic.Uint64
}

// source is what is numbered: what one node publishes of a topic.
type source struct{ topic, origin string }

// New makes a hub for each bus, and waits until they know each other. They end with the test, and have to end well.
func New(t testing.TB, buses []cluster.Bus, opts ...wshub.Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for i, bus := range buses {
		id := fmt.Sprintf("n%d", i+1)
		h, err := wshub.New(append([]wshub.Option{wshub.WithBus(bus), wshub.WithNode(id), wshub.WithLogger(nil)}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		n := &Node{
			Hub: h, c: c, topics: map[string]*Topic{}, gaps: map[source][]span{}, states: map[string]int{}, sessions: map[string]struct{}{},
		}
		c.Nodes = append(c.Nodes, n)
		events := h.Events(context.Background(), wshub.Evict(60_000, time.Minute))
		n.readers.Go(func() { n.read(events) })
		n.there = n.watch()
		t.Cleanup(func() { n.End() })
	}
	c.Poll("the hubs know each other", func() bool {
		return !slices.ContainsFunc(c.Nodes, func(n *Node) bool { return n.Health().Nodes < len(buses) })
	})
	return c
}

// End shuts the hub down and waits for all that was started for it. It may be called twice.
func (n *Node) End() {
	n.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		n.c.t.Errorf("%s: %v", n.Node(), err)
	}
	n.readers.Wait()
}

// read takes the hub's events.
func (n *Node) read(events *wshub.Stream[wshub.Event]) {
	for ev := range events.C() {
		switch ev.Kind {
		case wshub.EventGap:
			n.c.change(func() { n.gap(ev) })
		case wshub.EventBus:
			n.c.change(func() {
				if n.state != ev.Name && (n.state != "" || ev.Name != "up") { // the first may come before somebody listens
					n.states[ev.Name]++
				}
				n.state = ev.Name
				n.failed += ev.N
			})
		case wshub.EventDropped, wshub.EventEvicted, wshub.EventError:
			n.c.t.Errorf("%s: %+v", n.Node(), ev)
		}
	}
	if events.Err() != wshub.ErrClosed {
		n.c.t.Errorf("%s: events: %v", n.Node(), events.Err())
	}
}

// change changes what mu guards, and wakes who waits.
func (c *Cluster) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// await waits until cond holds, which is evaluated under mu after each change.
func (c *Cluster) await(what string, cond func() bool) {
	c.t.Helper()
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	for {
		c.mu.Lock()
		if cond() {
			c.mu.Unlock()
			return
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-limit.C:
			c.t.Fatalf("not so after %v: %s\n%s", Patience, what, c.report())
		}
	}
}

// Poll waits for what nothing tells: it asks again and again.
func (c *Cluster) Poll(what string, cond func() bool) {
	c.t.Helper()
	for limit := time.Now().Add(Patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			c.t.Fatalf("not so after %v: %s\n%s", Patience, what, c.report())
		}
	}
}

// AwaitBus waits until the events of each of the nodes have told a change to a state of the bus for the nth time, and it is
// the last one that they told. The start, with a bus that is up, is no change.
func (c *Cluster) AwaitBus(state string, nth int, nodes ...*Node) {
	c.t.Helper()
	c.await(fmt.Sprintf("each bus is %s for the %d. time", state, nth), func() bool {
		return !slices.ContainsFunc(nodes, func(n *Node) bool { return n.state != state || n.states[state] < nth })
	})
	for _, n := range nodes {
		if h := n.Health(); h.Bus != state || !h.Ready || (state == "down") != (h.BusError != "") {
			c.t.Errorf("%s: an event has told that its bus is %s, its health says %+v", n.Node(), state, h)
		}
	}
}

// patient has publishers wait for whoever is slow, so that a value that is missing was lost between nodes.
var patient = wshub.Block(4096, time.Minute)

// Topic returns a topic of the node, which counts what is published through it.
func (n *Node) Topic(name string) *Topic {
	n.c.t.Helper()
	if t := n.topics[name]; t != nil {
		return t
	}
	made, err := wshub.NewTopic[string](n.Hub, name, patient)
	if err != nil {
		n.c.t.Fatal(err)
	}
	t := &Topic{Topic: made}
	n.topics[name] = t
	return t
}

// Publish publishes the next value of the topic and returns its number.
func (n *Node) Publish(t *Topic) uint64 {
	number := t.published.Load() + 1
	if err := t.Topic.Publish(context.Background(), fmt.Sprintf("%s %s %d", t.Name(), n.Node(), number)); err != nil {
		n.c.t.Errorf("%s: %v", n.Node(), err)
	}
	t.published.Store(number)
	return number
}

// Stream subscribes to a topic within the process.
func (n *Node) Stream(name string) *Subscriber {
	n.c.t.Helper()
	s := n.subscriber("stream", name)
	stream := n.Topic(name).Subscribe(context.Background())
	n.readers.Go(func() {
		for v := range stream.C() {
			s.got(v)
		}
		if stream.Err() != wshub.ErrClosed {
			n.c.t.Errorf("%s: stream of %q: %v", n.Node(), name, stream.Err())
		}
	})
	return s
}

// Socket connects a client whose session joins the topics.
func (n *Node) Socket(names ...string) *Subscriber {
	n.c.t.Helper()
	s := n.subscriber("socket", names...)
	session := n.dial(wshubtest.WithOnMessage(func(m wshubtest.Message) { s.got(string(m.Data)) }))
	for _, name := range names {
		if err := n.Topic(name).Join(context.Background(), session); err != nil {
			n.c.t.Fatal(err)
		}
	}
	return s
}

// dial connects a client and returns its session. Nobody reads what it sends; it ends with the hub.
func (n *Node) dial(opts ...wshubtest.DialOption) *wshub.Session {
	n.c.t.Helper()
	accepted := make(chan *wshub.Session, 1)
	client := wshubtest.Dial(n.c.t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := n.Accept(w, r)
		if err != nil {
			n.c.t.Errorf("%s: %v", n.Node(), err)
		}
		accepted <- s
	}), opts...)
	n.c.clients = append(n.c.clients, client)
	return <-accepted
}
