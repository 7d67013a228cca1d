package cluster

// Traffic is a number of messages, and of the bytes of their data.
type Traffic struct {
	Messages, Bytes uint64
}

func (t *Traffic) add(bytes int) {
	t.Messages++
	t.Bytes += uint64(bytes)
}

// Delivery is a message on its way to one connection.
type Delivery struct {
	From, To string // names of connections
	Message
}

// MemoryStats is what a [Memory] has counted since it was made, and what it has now.
type MemoryStats struct {
	Published Traffic // taken by Publish of a connection
	Delivered Traffic // put into the queue of a connection: none, one or many times for each that was published
	Lost      uint64  // for connections whose queue was full
	Dropped   uint64  // on purpose: by faults, taps, partitions, or something that is cut, killed or down
	Repeated  uint64  // by faults

	Connections, Subjects, Delayed int // now: connections, subjects that anybody listens to, messages on their way
}

// counters are guarded by Memory.mu.
type counters struct {
	total                MemoryStats
	published, delivered ledger
}

func (c *counters) init() { c.published, c.delivered = ledger{}, ledger{} }

// sent counts a message that is published.
func (c *counters) sent(name string, msg Message) {
	c.total.Published.add(len(msg.Data))
	c.published.of(name, msg.Subject).add(len(msg.Data))
}

// ledger counts by connection's name and by subject.
type ledger map[string]map[string]*Traffic

// of returns the entry, a new one when there is none.
func (l ledger) of(name, subject string) *Traffic {
	subjects := l[name]
	if subjects == nil {
		subjects = map[string]*Traffic{}
		l[name] = subjects
	}
	t := subjects[subject]
	if t == nil {
		t = &Traffic{}
		subjects[subject] = t
	}
	return t
}

// sum adds up the entries of a name and a subject; "" is all of them.
func (l ledger) sum(name, subject string) Traffic {
	var sum Traffic
	add := func(subjects map[string]*Traffic) {
		if subject != "" {
			if t := subjects[subject]; t != nil {
				sum.Messages += t.Messages
				sum.Bytes += t.Bytes
			}
			return
		}
		for _, t := range subjects {
			sum.Messages += t.Messages
			sum.Bytes += t.Bytes
		}
	}
	if name != "" {
		add(l[name])
		return sum
	}
	for _, subjects := range l {
		add(subjects)
	}
	return sum
}

// Published returns what the connections of a name have published on a subject. "" is all names, or all subjects.
func (m *Memory) Published(from, subject string) Traffic {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count.published.sum(from, subject)
}

// Delivered returns what was put into the queues of a name's connections on a subject. "" is all names, or all subjects.
func (m *Memory) Delivered(to, subject string) Traffic {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count.delivered.sum(to, subject)
}

// Subscribers returns the names of the connections that listen to a subject, in the order in which they were made.
func (m *Memory) Subscribers(subject string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, r := range m.routes[subject] {
		names = append(names, r.to.name)
	}
	return names
}

// Stats returns the counters.
func (m *Memory) Stats() MemoryStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.count.total
	s.Connections, s.Subjects, s.Delayed = len(m.buses), len(m.routes), len(m.net.flights)
	return s
}
