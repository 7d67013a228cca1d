package mesh

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// beatPace is how far apart heartbeats are at least, and peerPace for each peer.
	beatPace = 100 * time.Millisecond
	peerPace = 2 * time.Millisecond
	// downPause is how often to look whether the bus is up again.
	downPause = 250 * time.Millisecond
)

// beats is what this node tells the others of itself. A heartbeat is due every interval, or a little before: so that three
// intervals have three of them, and those of different nodes do not stay in step. It tells what has changed. When counts
// change there are more of them, which tell those alone.
type beats struct {
	// The loop's.
	number   uint64            // of the last
	last     time.Time         // when it was posted
	next     time.Time         // when the next is due, though nothing changes
	told     map[string]uint64 // members by topic, as of number; never 0
	sessions uint64            // as of number
	topics   []*Topic          // taken from changed, not looked at yet
	numbers  []lastNumber      // not told yet
	presence []presenceNumber  // not told yet

	sessionsChanged atomic.Bool

	mu      sync.Mutex
	changed []*Topic // whose Len has changed; guarded by mu
}

func (b *beats) init() { b.told = make(map[string]uint64) }

// Changed is called after Len has changed. It does not wait.
func (t *Topic) Changed() {
	if t.name == "" {
		t.n.SessionsChanged()
		return
	}
	if t.peers.changed.Swap(true) {
		return
	}
	b := &t.n.peers.beats
	b.mu.Lock()
	b.changed = append(b.changed, t)
	first := len(b.changed) == 1
	b.mu.Unlock()
	if first {
		t.n.nudge()
	}
}

// SessionsChanged is called after Host.Sessions has changed. It does not wait.
func (n *Node) SessionsChanged() {
	if !n.peers.beats.sessionsChanged.Swap(true) {
		n.nudge()
	}
}

// pending reports whether counts may have changed since the last heartbeat.
func (b *beats) pending() bool {
	if len(b.topics) > 0 || len(b.numbers) > 0 || len(b.presence) > 0 || b.sessionsChanged.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.changed) > 0
}

// beatDue sends a heartbeat when one is due, and returns when the next is.
func (n *Node) beatDue(now time.Time) (next time.Time) {
	p := &n.peers
	b := &p.beats
	switch {
	case !p.begun:
		return time.Time{}
	case len(p.sync.bodies) > 0:
		return now.Add(bodyPause) // nothing comes between the parts of a snapshot
	case n.isDown():
		return now.Add(downPause) // it would be lost
	}
	pace := max(beatPace, time.Duration(len(p.all))*peerPace)
	early := b.last.Add(pace)
	regular := !now.Before(b.next)
	if regular || b.pending() && !now.Before(early) {
		n.beat(now, regular)
		early = now.Add(pace)
	}
	if b.pending() {
		return earlier(b.next, early)
	}
	return b.next
}

// beat posts a heartbeat: always one when it is regular, else only when there is something to tell.
func (n *Node) beat(now time.Time, regular bool) {
	b := &n.peers.beats
	if regular {
		b.next = now.Add(n.config.Interval - n.config.Interval/50 - jitter(n.config.Interval/6))
		b.numbers = append(b.numbers, n.takeNumbers()...)
		b.presence = append(b.presence, n.peers.tell.take()...)
	}
	b.mu.Lock()
	b.topics = append(b.topics, b.changed...)
	clear(b.changed)
	b.changed = b.changed[:0]
	b.mu.Unlock()

	tell := regular
	if b.sessionsChanged.Swap(false) { // before it is looked at
		tell = tell || uint64(n.host.Sessions()) != b.sessions
	}
	r := report{n: n, post: func(body []byte) {
		n.post(subjectControl, kindBeat, body)
		n.stats.beats.Add(1)
		n.stats.beatBytes.Add(uint64((&envelope{payload: body}).size()))
	}}
	if tell {
		r.begin()
	}
	for len(b.topics) > 0 && r.posted < maxBodies {
		t := b.topics[0]
		b.topics[0] = nil
		b.topics = b.topics[1:]
		t.peers.changed.Store(false) // before Len is looked at
		count := uint64(min(max(t.host.Len(), 0), maxCount))
		if count == b.told[t.name] || len(t.name) > maxNameLen {
			continue
		}
		if count == 0 {
			if delete(b.told, t.name); len(b.told) == 0 {
				b.told = make(map[string]uint64) // a map never gives its room back
			}
		} else {
			b.told[t.name] = count
		}
		r.count(t.name, count)
	}
	for len(b.numbers) > 0 && r.posted < maxBodies {
		r.number(b.numbers[0])
		b.numbers = b.numbers[1:]
	}
	for len(b.presence) > 0 && r.posted < maxBodies {
		r.presence(b.presence[0])
		b.presence = b.presence[1:]
	}
	if len(b.topics) == 0 {
		b.topics = nil
	}
	if r.end() {
		b.last = now
	}
}

func (n *Node) receiveBeat(o Origin, c cutter, now time.Time) bool {
	h := c.reported(false)
	if h.number == 0 || !c.items() {
		return false
	}
	pr := n.meet(o, h.intro, h.number == 1, now)
	if pr == nil || h.number <= pr.number {
		return true // not to be listened to, or a repeat
	}
	// What it says is true, whatever was missed before it.
	if h.number != pr.number+1 {
		n.fallBehind(pr, now)
	}
	pr.number = h.number
	n.peers.setSessions(pr, h.sessions)
	for c.more() {
		switch it := c.item(); it.kind {
		case itemCount:
			if !n.peers.setCount(pr, it.name, it.number) {
				n.refuse(errTopics)
				return true
			}
		case itemNumber:
			n.heard(o, string(it.name), it.epoch, it.number)
		case itemPresence:
			n.presenceIs(pr, it.name, it.number, now)
		}
	}
	if h.watchSum != pr.watchSum {
		n.fallBehind(pr, now)
	}
	return true
}
