package mesh

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// folk is a node of a test with the host's side of it: who is in which topic, and what it was told of others.
type folk struct {
	*Node
	t    testing.TB
	id   string
	bus  *cluster.MemoryBus
	size atomic.Int64 // sessions

	mu        sync.Mutex
	topics    map[string]*folkTopic
	here      map[string]map[string]Member // by topic and session
	told      map[string]uint64            // numbers of Tell
	users     map[string]int
	views     map[string]map[Origin]map[string]Member // what is watched, by topic, origin and session
	ready     map[string]int
	lists     int // calls of MembersAre
	conflicts int
	refused   []error
	gaps      []Gap
}

type folkTopic struct {
	*Topic
	size atomic.Int64
}

func (t *folkTopic) Len() int      { return int(t.size.Load()) }
func (t *folkTopic) Receive(Value) {}

func (f *folk) Sessions() int { return int(f.size.Load()) }
func (f *folk) Len() int      { return f.Sessions() } // of everyone
func (f *folk) Receive(Value) {}

func (f *folk) UserSessions(user string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.users[user]
}
func (f *folk) HasSession(id string) bool { return strings.HasSuffix(id, ".there") }
func (f *folk) Deliver(To, Payload)       {}
func (f *folk) Kick(To, uint16, string)   {}
func (f *folk) Leave(To, string)          {}
func (f *folk) Failed(int, error)         {}
func (f *folk) Bus(s cluster.Status)      {}
func (f *folk) Gap(g Gap)                 { f.mu.Lock(); f.gaps = append(f.gaps, g); f.mu.Unlock() }
func (f *folk) Conflict(string)           { f.mu.Lock(); f.conflicts++; f.mu.Unlock() }
func (f *folk) Refused(err error)         { f.mu.Lock(); f.refused = append(f.refused, err); f.mu.Unlock() }
func (f *folk) WatchReady(topic string)   { f.mu.Lock(); f.ready[topic]++; f.mu.Unlock() }

func (f *folk) Members(topic string) ([]Member, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.here[topic])), f.told[topic]
}

func (f *folk) MembersAre(topic string, of Origin, node string, members []Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	if f.views[topic] == nil {
		return // an Unwatch the loop has not seen
	}
	list := map[string]Member{}
	for _, m := range members {
		if _, twice := list[m.Session]; twice {
			f.t.Errorf("%s: %s is twice in the list of %s in %s", f.id, m.Session, node, topic)
		}
		list[m.Session] = m
	}
	f.views[topic][of] = list
}

func (f *folk) MemberChanged(topic string, of Origin, node string, m Member, joined, _ bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	view := f.views[topic]
	if view == nil || view[of] == nil {
		return // as above
	}
	if _, is := view[of][m.Session]; is == joined {
		f.t.Errorf("%s: %s of %s: joined %t, was there %t in %s", f.id, m.Session, node, joined, is, topic)
	}
	if joined {
		view[of][m.Session] = m
	} else {
		delete(view[of], m.Session)
	}
}

func (f *folk) MembersGone(topic string, of Origin) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.views[topic], of)
}

// topic returns a topic of the node.
func (f *folk) topic(name string) *folkTopic {
	t := f.topics[name]
	if t == nil {
		t = &folkTopic{}
		t.Topic = f.Node.Topic(name, 1, t)
		f.topics[name] = t
	}
	return t
}

// set sets how many members a topic has.
func (f *folk) set(name string, n int) {
	t := f.topic(name)
	t.size.Store(int64(n))
	t.Changed()
}

func (f *folk) setSessions(n int) {
	f.size.Store(int64(n))
	f.SessionsChanged()
}

// toggle has a session join a topic, or leave it.
func (f *folk) toggle(topic, session string) {
	f.mu.Lock()
	m := Member{Session: session, User: "u" + session, Data: []byte(`{"a":1}`)}
	_, is := f.here[topic][session]
	if is {
		delete(f.here[topic], session)
	} else {
		if f.here[topic] == nil {
			f.here[topic] = map[string]Member{}
		}
		f.here[topic][session] = m
	}
	if n := f.Tell(topic, m, !is, false); n > 0 {
		f.told[topic] = n
	}
	size := len(f.here[topic])
	f.mu.Unlock()
	f.set(topic, size)
}

func (f *folk) watch(topic string) {
	f.mu.Lock()
	f.views[topic] = map[Origin]map[string]Member{}
	f.mu.Unlock()
	f.Node.Watch(topic)
}

func (f *folk) unwatch(topic string) {
	f.mu.Lock()
	delete(f.views, topic)
	f.mu.Unlock()
	f.Node.Unwatch(topic)
}

// sees returns who it was told is in a topic, sorted.
func (f *folk) sees(topic string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, of := range f.views[topic] {
		for session := range of {
			list = append(list, session)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// has returns who is in a topic here.
func (f *folk) has(topic string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.here[topic]))
}

func (f *folk) peers() string {
	var ids []string
	for _, p := range f.Peers() {
		ids = append(ids, fmt.Sprintf("%s:%d", p.Node, p.Sessions))
	}
	return strings.Join(ids, " ")
}

// looks is how much of what a node keeps there is.
type looks struct {
	peers, nodes, departed, behind int
	totals                         int // topics that peers have
	asks, unsettled, unready, owed int
	told                           int // topics that others watch
	snapshots                      uint64
	pending                        bool // a heartbeat about changes
}

func (f *folk) look() (l looks) {
	looked := make(chan struct{})
	look := sync.OnceFunc(func() {
		defer close(looked)
		p := &f.Node.peers
		l = looks{
			peers: len(p.all), nodes: len(p.nodes), departed: len(p.departed),
			totals:    len(p.totals),
			unsettled: len(p.watch.unsettled), unready: len(p.watch.unready), owed: len(p.tell.owed),
			told:      len(p.tell.topics),
			snapshots: p.sync.posted,
			pending:   p.beats.pending(),
		}
		for _, pr := range p.all {
			if pr.behind || pr.incoming != nil {
				l.behind++
			}
		}
		p.asks.mu.Lock()
		defer p.asks.mu.Unlock()
		l.asks = len(p.asks.open)
	})
	f.do(look)
	select {
	case <-looked:
	case <-f.said: // there is no loop any more
		look()
	}
	return l
}

// readies returns how often a watch was ready, of all topics with "".
func (f *folk) readies(topic string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if topic != "" {
		return f.ready[topic]
	}
	sum := 0
	for _, n := range f.ready {
		sum += n
	}
	return sum
}

func (f *folk) listsTold() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lists
}

// number returns the last number of Tell.
func (f *folk) number(topic string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told[topic]
}

func (f *folk) takeGaps() []Gap {
	f.mu.Lock()
	defer f.mu.Unlock()
	gaps := f.gaps
	f.gaps = nil
	return gaps
}

func (f *folk) end() { f.Close(context.Background()) }

const testInterval = 5 * time.Second

// start starts a node, and ends it with the test. It must be in a bubble.
func start(t testing.TB, net *cluster.Memory, id string, change ...func(*Config)) *folk {
	f := &folk{
		t:      t,
		id:     id,
		bus:    net.Connect(id),
		topics: map[string]*folkTopic{},
		here:   map[string]map[string]Member{},
		told:   map[string]uint64{},
		users:  map[string]int{},
		views:  map[string]map[Origin]map[string]Member{},
		ready:  map[string]int{},
	}
	c := Config{Bus: f.bus, Node: id, Interval: testInterval, Host: f, Everyone: f}
	for _, change := range change {
		change(&c)
	}
	f.Node = New(c)
	t.Cleanup(f.end)
	return f
}

// startAll starts nodes named for their numbers, and waits until they know each other.
func startAll(t testing.TB, net *cluster.Memory, n int) []*folk {
	all := make([]*folk, n)
	for i := range all {
		all[i] = start(t, net, fmt.Sprintf("n%d", i))
	}
	settle(2 * time.Second)
	return all
}

// kill is the end of a node's process.
func (f *folk) kill() {
	f.bus.Kill()
	f.end()
}

func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// bubble runs a test in fake time.
func bubble(t *testing.T, f func(t *testing.T, net *cluster.Memory), options ...cluster.MemoryOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := cluster.NewMemory(options...)
		t.Cleanup(net.Close)
		f(t, net)
	})
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// truth checks that what each node knows of the others is so.
func truth(t testing.TB, nodes []*folk, topics ...string) {
	t.Helper()
	for _, f := range nodes {
		sessions := 0
		for _, other := range nodes {
			if other != f {
				sessions += other.Sessions()
			}
		}
		want(t, f.id+" sessions", f.OtherSessions(), sessions)
		want(t, f.id+" peers", len(f.Peers()), len(nodes)-1)
		for _, topic := range topics {
			var members []string
			count := 0
			for _, other := range nodes {
				if other != f {
					members = append(members, other.has(topic)...)
					count += other.topic(topic).Len()
				}
			}
			want(t, f.id+" "+topic, f.topic(topic).Others(), count)
			if f.views[topic] != nil {
				slices.Sort(members)
				want(t, f.id+" sees in "+topic, f.sees(topic), strings.Join(members, " "))
			}
		}
	}
}
