package cluster

import (
	"slices"
	"sync"
)

// Memory is a broker in memory, for hubs of one process and for tests. It keeps every promise of a [Bus] and more: what
// Publish has taken is in the queue of each subscriber when it returns, in the same order for all of them, and nothing is
// lost but what a connection has no room for, see [WithQueue]. Data is copied: nobody shares bytes with anybody.
//
// It is a simulator too. [Memory.SetFaults] has it lose, delay, repeat and reorder messages, as chance has it that a seed
// decides; [Memory.Partition] splits the network, [Memory.Down] takes the broker away, and the methods of [MemoryBus] do
// the like to one connection. [Memory.Tap] sees each message and can withhold it; [Memory.Published] and
// [Memory.Delivered] tell who has sent and got what. All of it may be called at any time by any goroutine, and works in a
// testing/synctest bubble in fake time, when the Memory is made in it.
//
// A Memory has no goroutine while no message is delayed and no queue has more than 256. Of a longer queue the first 256 can
// be read without waiting, and the rest follows them.
type Memory struct {
	queue      int
	echo       bool
	maxPayload int

	mu     sync.Mutex // guards all below, and the fields of MemoryBus that say so; nothing waits while it is held
	buses  []*MemoryBus
	made   uint64              // connections so far
	routes map[string][]*route // by subject; in the order of the connections' numbers
	closed bool
	down   bool
	tap    func(Delivery) bool
	count  counters
	net    network
}

// route is that a connection listens to a subject.
type route struct {
	to    *MemoryBus
	count *Traffic // delivered to the connection's name on the subject
}

// MemoryOption sets up a [Memory].
type MemoryOption func(*Memory)

// WithQueue has each connection keep n messages, at least 1, for its reader; what is more is lost, and told by Status.
// The default is 65,536.
func WithQueue(n int) MemoryOption { return func(m *Memory) { m.queue = max(1, n) } }

// WithEcho has a connection hear what it has itself published, as with some brokers. By default it does not.
func WithEcho() MemoryOption { return func(m *Memory) { m.echo = true } }

// WithMaxPayload sets how many bytes of data a message may have; more is [ErrTooLarge]. The default is 1 MiB.
func WithMaxPayload(n int) MemoryOption { return func(m *Memory) { m.maxPayload = n } }

// NewMemory returns a broker without connections.
func NewMemory(options ...MemoryOption) *Memory {
	m := &Memory{queue: 1 << 16, maxPayload: 1 << 20, routes: map[string][]*route{}}
	m.count.init()
	m.net.init()
	for _, o := range options {
		o(m)
	}
	return m
}

// Bus returns a new connection with a name of its own: "1" is the first. It is up unless the broker is down. Each hub
// needs one to itself.
func (m *Memory) Bus() *MemoryBus { return m.Connect("") }

// Connect is Bus with a name. A name stands for a place in the network: connections may have the same one, at the same
// time or after each other. They are then on the same side of each [Memory.Partition] and are counted as one.
func (m *Memory) Connect(name string) *MemoryBus {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.connectLocked(name)
	if m.closed {
		b.closed = true
		close(b.gone)
		b.in.close()
		b.status.close()
		close(b.ended)
		return b
	}
	m.buses = append(m.buses, b)
	b.tellLocked()
	return b
}

// Close closes all connections, and waits for the goroutines. A connection that is made later is closed.
func (m *Memory) Close() {
	m.mu.Lock()
	m.closed = true
	buses := slices.Clone(m.buses)
	m.mu.Unlock()
	for _, b := range buses {
		b.Close()
	}
	m.net.running.Wait()
}

// Down takes the broker away: messages that are under way are lost, and each connection is down and tells so, until Up.
func (m *Memory) Down() { m.setDown(true) }

// Up brings the broker back. The connections listen to all that they want to listen to when they tell that they are up.
func (m *Memory) Up() { m.setDown(false) }

func (m *Memory) setDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down == down {
		return
	}
	m.down = down
	if down {
		m.forgetLocked(func(*flight) bool { return true })
	}
	for _, b := range m.buses {
		b.wakeLocked()
		b.tellLocked()
	}
}

// publish sends one message of b to everyone who listens. Its bytes are the caller's.
func (m *Memory) publish(b *MemoryBus, msg Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case b.closed:
		return ErrClosed
	case b.killed:
		return nil
	case m.down || b.down:
		return ErrDown
	}
	m.count.sent(b.name, msg)
	routes := m.routes[msg.Subject]
	if m.tap != nil {
		routes = m.tapLocked(b, routes, msg)
	}
	for _, r := range routes {
		if r.to != b || m.echo {
			m.sendLocked(b, r, msg)
		}
	}
	return nil
}

// deliverLocked puts a message, whose bytes are nobody else's, into the queue of a connection.
func (m *Memory) deliverLocked(r *route, msg Message) {
	if !r.to.in.push(msg) {
		m.count.total.Lost++
		r.to.status.lost()
		return
	}
	r.count.add(len(msg.Data))
	m.count.total.Delivered.add(len(msg.Data))
}

// listenLocked adds a subject to those of a connection.
func (m *Memory) listenLocked(b *MemoryBus, subject string) {
	if _, has := b.wanted[subject]; has {
		return
	}
	r := &route{b, m.count.delivered.of(b.name, subject)}
	b.wanted[subject] = r
	routes := m.routes[subject]
	i, _ := slices.BinarySearchFunc(routes, b, byNumber)
	m.routes[subject] = slices.Insert(routes, i, r)
}

// ignoreLocked takes a subject away from a connection.
func (m *Memory) ignoreLocked(b *MemoryBus, subject string) {
	if _, has := b.wanted[subject]; !has {
		return
	}
	delete(b.wanted, subject)
	routes := m.routes[subject]
	i, _ := slices.BinarySearchFunc(routes, b, byNumber)
	if routes = slices.Delete(routes, i, i+1); len(routes) == 0 {
		delete(m.routes, subject)
		return
	}
	m.routes[subject] = routes
}

func byNumber(r *route, b *MemoryBus) int {
	switch {
	case r.to.number < b.number:
		return -1
	case r.to.number > b.number:
		return 1
	}
	return 0
}

// removeLocked forgets a connection.
func (m *Memory) removeLocked(b *MemoryBus) {
	for subject := range b.wanted {
		m.ignoreLocked(b, subject)
	}
	m.buses = slices.DeleteFunc(m.buses, func(other *MemoryBus) bool { return other == b })
	m.forgetLocked(func(f *flight) bool { return f.route.to == b })
}
