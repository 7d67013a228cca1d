package mesh

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// silentIntervals is after how many of its intervals without a word a node is gone.
	silentIntervals = 3
	// stalled is by how much the loop is late when it was not the others who were silent: the process was stopped, or the
	// machine asleep.
	stalled = time.Second
	// goneFor is how long what is still under way of a node that said goodbye is not taken for another one of that origin.
	goneFor = time.Minute

	maxPeers     = 4096
	maxConflicts = 1024
	maxTopics    = 1 << 20 // of one peer, with members or watched
)

var (
	errCrowded = fmt.Errorf("%w: too many nodes", ErrMalformed)
	errTopics  = fmt.Errorf("%w: a node with too many topics", ErrMalformed)
	errRenamed = fmt.Errorf("%w: a node that has changed its id", ErrMalformed)
)

// peers is what a node knows of the others, and has told them. What is not said to be guarded is the loop's.
type peers struct {
	begun     bool                 // said hello
	due       time.Time            // when pulse asked to be called
	conflicts map[Origin]struct{}  // other processes with this id that the host was told of
	departed  map[Origin]time.Time // those that said goodbye, and until when that counts

	// The loop alone writes these, under mu; others read them under mu.
	mu     sync.RWMutex
	all    map[Origin]*peer
	nodes  map[string]Origin // by id; of two with one id the later
	totals map[string]*total // of topics, those that a peer has

	sessions atomic.Int64 // of all peers; the loop's to write

	beats beats
	sync  snapshots
	asks  asks
	watch watches
	tell  tellings
}

// peer is another node. What is not said to be immutable or atomic is the loop's.
type peer struct {
	origin Origin // immutable
	node   string // immutable
	since  time.Time

	heard    atomic.Int64 // see sinceStart; the loop's to write
	sessions atomic.Int64 // the loop's to write

	interval time.Duration
	number   uint64            // of its last heartbeat
	behind   bool              // something was missed: what is known of it is not all
	wantAt   time.Time         // when to ask it for all, while behind
	counts   map[*total]uint64 // its members, by topic; never 0
	incoming *incoming         // a snapshot that is not complete

	watches  map[string]struct{} // the topics it watches
	watchSum uint64              // see watchHash
}

// total is how many members a topic has on all peers together.
type total struct {
	name string // immutable
	n    atomic.Int64
	refs int // tables that have it; the loop's
}

// topicPeers is what a Topic keeps for what its members have to be told of.
type topicPeers struct {
	changed atomic.Bool // is in beats.changed, or about to be
}

func (p *peers) init(*Node) {
	p.conflicts = make(map[Origin]struct{})
	p.departed = make(map[Origin]time.Time)
	p.all = make(map[Origin]*peer)
	p.nodes = make(map[string]Origin)
	p.totals = make(map[string]*total)
	p.beats.init()
	p.asks.init()
	p.watch.init()
	p.tell.init()
}

// Others returns how many members the topic has on other nodes, in O(1): as of their last heartbeats.
func (t *Topic) Others() int {
	if t.name == "" {
		return t.n.OtherSessions()
	}
	p := &t.n.peers
	p.mu.RLock()
	defer p.mu.RUnlock()
	if total := p.totals[t.name]; total != nil {
		return clampInt(total.n.Load())
	}
	return 0
}

// OtherSessions returns how many sessions other nodes have, in O(1).
func (n *Node) OtherSessions() int { return clampInt(n.peers.sessions.Load()) }

func clampInt(v int64) int { return int(min(v, math.MaxInt)) }

// Peer is another node.
type Peer struct {
	Origin   Origin
	Node     string
	Sessions int
	Since    time.Time // when it was first heard of
	Heard    time.Time // when last
}

// Peers returns the other nodes, in the order of their ids.
func (n *Node) Peers() []Peer {
	p := &n.peers
	p.mu.RLock()
	list := make([]Peer, 0, len(p.all))
	for _, pr := range p.all {
		list = append(list, Peer{
			Origin:   pr.origin,
			Node:     pr.node,
			Sessions: clampInt(pr.sessions.Load()),
			Since:    pr.since,
			Heard:    n.started.Add(time.Duration(pr.heard.Load())),
		})
	}
	p.mu.RUnlock()
	slices.SortFunc(list, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Origin, b.Origin))
	})
	return list
}

// knows reports whether a node with this id is there. Any goroutine may call it.
func (p *peers) knows(node string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, ok := p.nodes[node]
	return ok
}

// nodeOf returns the id of a node, "" while it has not said it. The loop calls it.
func (p *peers) nodeOf(o Origin) string {
	if pr := p.all[o]; pr != nil {
		return pr.node
	}
	return ""
}

// hello tells all that this node is there, and has them tell what they have. The loop calls it, once the bus listens.
func (n *Node) hello() {
	n.peers.begun = true
	n.post(subjectControl, kindHello, n.appendIntro(nil))
}

// bye tells all that this node goes, and ends what waits for them. The loop calls it, as its last.
func (n *Node) bye() {
	if n.peers.begun {
		n.post(subjectControl, kindBye, nil)
	}
	n.peers.asks.close()
}

// pulse does what is due and returns when to call it again. The loop calls it.
func (n *Node) pulse(now time.Time) (next time.Time) {
	p := &n.peers
	if late := now.Sub(p.due); late > stalled && !p.due.IsZero() {
		for _, pr := range p.all {
			pr.heard.Add(int64(late))
		}
	}
	next = now.Add(n.config.Interval)
	for _, due := range []func(time.Time) time.Time{
		n.evict,
		n.wantAll,
		n.watchDue,
		n.listsDue,
		n.repliesDue,
		n.snapshotDue,
		n.beatDue, // after what it tells the sum of
	} {
		if t := due(now); !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	p.due = next
	return next
}

// evict drops the nodes that have fallen silent.
func (n *Node) evict(now time.Time) (next time.Time) {
	p := &n.peers
	for o, until := range p.departed {
		if !now.Before(until) {
			delete(p.departed, o)
		}
	}
	for _, pr := range p.all {
		until := n.started.Add(time.Duration(pr.heard.Load()) + silentIntervals*pr.interval)
		if !now.Before(until) {
			n.stats.evicted.Add(1)
			n.leave(pr)
			continue
		}
		next = earlier(next, until)
	}
	return next
}

// sinceStart returns a time as what a peer keeps of it. It counts from a time of the monotonic clock: nobody is to go because
// the machine's clock is set.
func (n *Node) sinceStart(now time.Time) int64 { return int64(now.Sub(n.started)) }

// earlier returns the earlier of two times of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// jitter returns a random duration below d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// control takes a message of another node about itself. The loop calls it.
func (n *Node) control(m *envelope, _ string) {
	c := cutter{rest: m.payload}
	now := time.Now()
	ok := false
	switch m.kind {
	case kindHello:
		ok = n.receiveHello(m.origin, c, now)
	case kindBye:
		if ok = c.whole(); ok {
			n.receiveBye(m.origin, now)
		}
	case kindBeat:
		ok = n.receiveBeat(m.origin, c, now)
	case kindPart:
		ok = n.receivePart(m.origin, c, now)
	case kindWant:
		ok = n.receiveWant(m.origin, c, now)
	case kindAsk:
		ok = n.receiveAsk(m.origin, c, now)
	case kindAnswer:
		ok = n.receiveAnswer(m.origin, c, now)
	case kindWatch:
		ok = n.receiveWatch(m.origin, c, now)
	case kindUnwatch:
		ok = n.receiveUnwatch(m.origin, c, now)
	case kindMembers:
		ok = n.receiveMembers(m.origin, c, now)
	case kindChange:
		ok = n.receiveChange(m.origin, c, now)
	}
	if !ok {
		n.refuse(ErrMalformed)
	}
}

func (n *Node) receiveHello(o Origin, c cutter, now time.Time) bool {
	in := c.intro()
	if !c.whole() {
		return false
	}
	if n.meet(o, in, true, now) != nil {
		// Those who start at once are to get one answer.
		n.snapshotSoon(now, jitter(min(answerWithin+time.Duration(len(n.peers.all))*peerPace, time.Second)))
	}
	return true
}

func (n *Node) receiveBye(o Origin, now time.Time) {
	p := &n.peers
	if pr := p.all[o]; pr != nil {
		n.leave(pr)
	}
	if len(p.departed) >= maxPeers {
		clear(p.departed) // somebody plays
	}
	p.departed[o] = now.Add(goneFor)
}

// meet returns the peer that introduces itself, and adds it when it is new: all is known of it, namely nothing yet, or it has
// to be asked. It returns nil when it is not to be listened to.
func (n *Node) meet(o Origin, in intro, complete bool, now time.Time) *peer {
	p := &n.peers
	if pr := p.all[o]; pr != nil {
		if pr.node != string(in.node) {
			n.refuse(errRenamed)
			return nil
		}
		pr.interval = in.interval
		pr.heard.Store(n.sinceStart(now))
		return pr
	}
	if _, ok := p.departed[o]; ok {
		return nil
	}
	if len(p.all) >= maxPeers {
		n.refuse(errCrowded)
		return nil
	}
	pr := &peer{
		origin:   o,
		node:     string(in.node),
		since:    now,
		interval: in.interval,
		counts:   make(map[*total]uint64),
		watches:  make(map[string]struct{}),
	}
	pr.heard.Store(n.sinceStart(now))
	p.mu.Lock()
	p.all[o] = pr
	p.nodes[pr.node] = o
	p.mu.Unlock()
	if !complete {
		n.fallBehind(pr, now)
	}
	n.watchPeer(pr)
	if pr.node == n.config.Node {
		n.conflict(o)
	}
	n.nudge()
	return pr
}

// known returns the peer of an origin that is heard of now, nil if it was not introduced.
func (n *Node) known(o Origin, now time.Time) *peer {
	pr := n.peers.all[o]
	if pr == nil {
		n.stats.unwanted.Add(1)
		return nil
	}
	pr.heard.Store(n.sinceStart(now))
	return pr
}

func (n *Node) conflict(o Origin) {
	p := &n.peers
	if _, told := p.conflicts[o]; told || len(p.conflicts) >= maxConflicts {
		return
	}
	p.conflicts[o] = struct{}{}
	n.host.Conflict(n.config.Node)
}

// leave drops a peer and all that is known of it.
func (n *Node) leave(pr *peer) {
	p := &n.peers
	n.forget(pr.origin)
	p.mu.Lock()
	delete(p.all, pr.origin)
	if p.nodes[pr.node] == pr.origin {
		delete(p.nodes, pr.node)
		for o, other := range p.all {
			if other.node == pr.node {
				p.nodes[pr.node] = o
			}
		}
	}
	p.mu.Unlock()
	p.setSessions(pr, 0)
	pr.drop(p)
	p.replace(pr, nil)
	p.asks.gone(pr.origin)
	p.asks.unreply(pr)
	p.tell.gone(pr)
	n.unwatchPeer(pr)
}

// setSessions tells how many sessions a peer has.
func (p *peers) setSessions(pr *peer, count uint64) {
	before := pr.sessions.Swap(int64(count))
	p.sessions.Add(int64(count) - before)
}

// total returns the total of a topic, which has one more table from now on.
func (p *peers) total(name []byte) *total {
	t := p.totals[string(name)]
	if t == nil {
		t = &total{name: string(name)}
		p.mu.Lock()
		p.totals[t.name] = t
		p.mu.Unlock()
	}
	t.refs++
	return t
}

// release takes a table from a total.
func (p *peers) release(t *total) {
	if t.refs--; t.refs > 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if delete(p.totals, t.name); len(p.totals) == 0 {
		p.totals = make(map[string]*total) // a map never gives its room back
	}
}

// setCount tells how many members a peer has in a topic. It reports whether there is room to know it.
func (p *peers) setCount(pr *peer, name []byte, count uint64) bool {
	t := p.totals[string(name)]
	before, ok := uint64(0), false
	if t != nil {
		before, ok = pr.counts[t]
	}
	switch {
	case count == before:
		return true
	case !ok && len(pr.counts) >= maxTopics:
		return false
	case !ok:
		t = p.total(name)
	}
	t.n.Add(int64(count) - int64(before))
	if count > 0 {
		pr.counts[t] = count
		return true
	}
	delete(pr.counts, t)
	p.release(t)
	if len(pr.counts) == 0 {
		pr.counts = make(map[*total]uint64) // likewise
	}
	return true
}

// replace puts another table in place of a peer's. No total is ever seen without either.
func (p *peers) replace(pr *peer, counts map[*total]uint64) {
	before := pr.counts
	pr.counts = counts
	for t, count := range counts {
		t.n.Add(int64(count) - int64(before[t]))
	}
	for t, count := range before {
		if _, ok := counts[t]; !ok {
			t.n.Add(-int64(count))
		}
		p.release(t)
	}
}
