package cluster

import (
	"bytes"
	"container/heap"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// WithSeed decides what chance does, see [Memory.SetFaults]. The default is 1.
func WithSeed(seed uint64) MemoryOption { return func(m *Memory) { m.net.seed = seed } }

// Faults is what a network does to messages. Each message has its chances for each connection that it goes to. They
// depend on the seed, the names of both, and how many messages have gone that way with faults before: not on what others
// do at the same time.
type Faults struct {
	Drop float64 // chance from 0 to 1 that a message does not arrive

	// MinDelay and MaxDelay bound how long a message takes. On one subject those of one publisher do not overtake each
	// other, as a Bus has to see to; others do.
	MinDelay, MaxDelay time.Duration

	// Duplicate and Reorder are chances of what no Bus may do, for tests of what protects against it: that a message
	// arrives twice, and that it does not keep its turn but takes MaxDelay, at least a millisecond, while those behind
	// it may overtake it.
	Duplicate, Reorder float64
}

// SetFaults replaces the faults that messages meet from now on; the zero Faults ends them. Messages that are under way
// still arrive when they would have.
func (m *Memory) SetFaults(f Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.net.faults = f
}

// Partition splits the network into groups of names that do not hear each other; names that are in no group are one
// more. It replaces the partition before, and also holds for messages that are under way. Nobody is told. Without groups
// it is healed.
func (m *Memory) Partition(groups ...[]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.net.side = map[string]int{}
	for i, names := range groups {
		for _, name := range names {
			m.net.side[name] = i + 1
		}
	}
}

// Tap has f see each message once for each connection that it goes to, and decide whether it does. It comes before
// faults, on the goroutine that publishes, before Publish returns and before anybody receives the message; it may be
// called by several at once, with no lock held. The bytes are the publisher's: f may neither change nor keep them. nil
// ends it.
func (m *Memory) Tap(f func(d Delivery) (pass bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tap = f
}

// Down takes the connection away, and it tells so, until Up. What is under way to it is lost. Others do not notice.
func (b *MemoryBus) Down() { b.setDown(true) }

// Up brings the connection back. It listens to all that it wants to listen to when it tells that it is up.
func (b *MemoryBus) Up() { b.setDown(false) }

func (b *MemoryBus) setDown(down bool) {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	if b.down == down {
		return
	}
	b.down = down
	if down {
		b.m.forgetLocked(func(f *flight) bool { return f.route.to == b })
		b.wakeLocked()
	}
	b.tellLocked()
}

// Cut silently takes the connection off the network, until Mend: Publish takes messages that arrive nowhere, nothing is
// received, Subscribe waits, and the state stays what it is. Messages that arrive while the connection is cut are lost.
func (b *MemoryBus) Cut() {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	if b.cut == nil {
		b.cut = make(chan struct{})
	}
}

// Mend ends a Cut.
func (b *MemoryBus) Mend() {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.mendLocked()
}

func (b *MemoryBus) mendLocked() {
	b.wakeLocked()
	b.cut = nil
}

// wakeLocked has calls that wait for the end of a cut look again.
func (b *MemoryBus) wakeLocked() {
	if b.cut != nil {
		close(b.cut)
		b.cut = make(chan struct{})
	}
}

// Kill is the end of the connection's process, as by kill -9: at once, without a word to anybody. What it has published
// still arrives. Its methods go on without an error and do nothing, since nobody is there to see it; Close is still
// needed.
func (b *MemoryBus) Kill() {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	if b.closed || b.killed {
		return
	}
	b.killed = true
	b.mendLocked()
	b.m.removeLocked(b)
}

// network is what lies between connections. It is guarded by Memory.mu.
type network struct {
	seed    uint64
	faults  Faults
	side    map[string]int // of a partition, by name; 0 is the side of those that are not in it
	links   map[[2]string]*rand.Rand
	flights flights
	flows   map[flow]*pace
	made    uint64 // flights so far
	timer   *time.Timer
	due     time.Time      // of the timer
	running sync.WaitGroup // the timer, from its start until it is stopped or has run
}

// flow is messages that must not overtake each other.
type flow struct {
	from, to *MemoryBus
	subject  string
}

// pace is how many messages of a flow are under way, and when the last arrives.
type pace struct {
	n    int
	last time.Time
}

// flight is a message under way.
type flight struct {
	due    time.Time
	number uint64 // of two that are due at the same time the lower is first
	from   *MemoryBus
	route  *route
	msg    Message
	flow   bool // counted in its flow
}

func (n *network) init() {
	n.seed = 1
	n.side = map[string]int{}
	n.links = map[[2]string]*rand.Rand{}
	n.flows = map[flow]*pace{}
}

// link returns the source of chance for messages from one name to another.
func (n *network) link(from, to string) *rand.Rand {
	key := [2]string{from, to}
	r := n.links[key]
	if r == nil {
		h := fnv.New64a()
		h.Write([]byte(from))
		h.Write([]byte{0})
		h.Write([]byte(to))
		r = rand.New(rand.NewPCG(n.seed, h.Sum64()))
		n.links[key] = r
	}
	return r
}

// hearsLocked reports whether something can go from one connection to another now.
func (m *Memory) hearsLocked(from, to *MemoryBus) bool {
	return !to.down && to.cut == nil && m.net.side[from.name] == m.net.side[to.name]
}

// tapLocked asks the tap about each route and returns those that a message may go. It lets the lock go meanwhile.
func (m *Memory) tapLocked(b *MemoryBus, routes []*route, msg Message) []*route {
	tap, routes := m.tap, slices.Clone(routes)
	m.mu.Unlock()
	passed := slices.DeleteFunc(slices.Clone(routes), func(r *route) bool {
		return (r.to != b || m.echo) && !tap(Delivery{b.name, r.to.name, msg})
	})
	m.mu.Lock()
	passed = slices.DeleteFunc(passed, func(r *route) bool { return r.to.closed || r.to.killed }) // meanwhile
	m.count.total.Dropped += uint64(len(routes) - len(passed))
	return passed
}

// sendLocked sends a message to one connection through the network.
func (m *Memory) sendLocked(from *MemoryBus, r *route, msg Message) {
	if from.cut != nil || !m.hearsLocked(from, r.to) {
		m.count.total.Dropped++
		return
	}
	n := &m.net
	f := flow{from, r.to, msg.Subject}
	if n.faults == (Faults{}) && n.flows[f] == nil {
		m.deliverLocked(r, msg.clone())
		return
	}
	// Every chance is taken for every message, so that a change of one fault does not change what the others do.
	link := n.link(from.name, r.to.name)
	drop, twice := link.Float64() < n.faults.Drop, link.Float64() < n.faults.Duplicate
	late, where := link.Float64() < n.faults.Reorder, link.Float64()
	if drop {
		m.count.total.Dropped++
		return
	}
	delay := n.faults.MinDelay
	if more := n.faults.MaxDelay - delay; more > 0 {
		delay += time.Duration(where * float64(more))
	}
	if late {
		delay = max(n.faults.MaxDelay, n.faults.MinDelay, time.Millisecond)
	}
	m.flyLocked(f, r, msg.clone(), delay, !late)
	if twice {
		m.count.total.Repeated++
		m.flyLocked(f, r, msg.clone(), delay, !late)
	}
}

// flyLocked delivers a message after a delay; inTurn: not before those of its flow that are under way.
func (m *Memory) flyLocked(f flow, r *route, msg Message, delay time.Duration, inTurn bool) {
	n := &m.net
	now := time.Now()
	due, p := now.Add(delay), n.flows[f]
	if inTurn {
		if p == nil && delay <= 0 {
			m.deliverLocked(r, msg)
			return
		}
		if p == nil {
			p = &pace{}
			n.flows[f] = p
		}
		if due.Before(p.last) {
			due = p.last
		}
		p.n, p.last = p.n+1, due
	}
	n.made++
	heap.Push(&n.flights, &flight{due, n.made, f.from, r, msg, inTurn})
	m.wakeLocked(now)
}

// wakeLocked has the timer run when the first flight is due.
func (m *Memory) wakeLocked(now time.Time) {
	n := &m.net
	if n.timer != nil {
		if len(n.flights) > 0 && !n.flights[0].due.Before(n.due) {
			return // it is early enough
		}
		if !n.timer.Stop() {
			return // it runs, and looks when it has the lock
		}
		n.timer = nil
		n.running.Done()
	}
	if len(n.flights) == 0 {
		return
	}
	n.due = n.flights[0].due
	n.running.Add(1)
	n.timer = time.AfterFunc(n.due.Sub(now), m.land) // owned by the Memory; ends by itself, Close waits for it
}

// land delivers what is due.
func (m *Memory) land() {
	defer m.net.running.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := &m.net
	n.timer = nil
	now := time.Now()
	for len(n.flights) > 0 && !n.flights[0].due.After(now) {
		f := heap.Pop(&n.flights).(*flight)
		m.leaveFlowLocked(f)
		if !m.hearsLocked(f.from, f.route.to) {
			m.count.total.Dropped++
			continue
		}
		m.deliverLocked(f.route, f.msg)
	}
	m.wakeLocked(now)
}

func (m *Memory) leaveFlowLocked(f *flight) {
	if !f.flow {
		return
	}
	key := flow{f.from, f.route.to, f.msg.Subject}
	p := m.net.flows[key]
	if p.n--; p.n == 0 {
		delete(m.net.flows, key)
	}
}

// forgetLocked drops the flights that match.
func (m *Memory) forgetLocked(match func(*flight) bool) {
	n := &m.net
	kept := n.flights[:0]
	for _, f := range n.flights {
		if match(f) {
			m.leaveFlowLocked(f)
			m.count.total.Dropped++
			continue
		}
		kept = append(kept, f)
	}
	if len(kept) == len(n.flights) {
		return
	}
	clear(n.flights[len(kept):])
	n.flights = kept
	heap.Init(&n.flights)
	m.wakeLocked(time.Now())
}

// clone returns a message with bytes of its own.
func (m Message) clone() Message {
	return Message{m.Subject, bytes.Clone(m.Data)}
}

// flights is a heap: the first is due first.
type flights []*flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	if f[i].due.Equal(f[j].due) {
		return f[i].number < f[j].number
	}
	return f[i].due.Before(f[j].due)
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(*flight)) }
func (f *flights) Pop() any {
	old := *f
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*f = old[:len(old)-1]
	return last
}
