package mesh

import (
	"encoding/binary"
	"time"
)

const (
	// answerWithin is how long those who need a snapshot have to say so, before one is made for all of them.
	answerWithin = 50 * time.Millisecond
	// snapshotPause is how far apart snapshots are at least.
	snapshotPause = time.Second
	// wantWithin is how long somebody else's request, or what answers it, may make one's own needless.
	wantWithin = 100 * time.Millisecond
	// wantAgain is when to ask again.
	wantAgain = 2 * time.Second
)

// snapshots are what this node sends to those who have missed heartbeats. They go to all, since who misses one is seldom
// alone: after a partition half the cluster asks. The loop's.
type snapshots struct {
	due    time.Time // when to make one, zero: nobody wants one
	last   time.Time // when one was made
	bodies [][]byte  // parts that are not posted yet
	next   time.Time // when to post more of them
	posted uint64    // snapshots so far
}

// incoming is a snapshot of a peer of which some parts have come.
type incoming struct {
	number  uint64 // of the heartbeat
	next    uint64 // part
	counts  map[*total]uint64
	watches []string
	values  []lastNumber
	changes []presenceNumber
}

// fallBehind notes that something of a peer was missed.
func (n *Node) fallBehind(pr *peer, now time.Time) {
	if !pr.behind {
		pr.behind = true
		pr.wantAt = now.Add(jitter(wantWithin))
		n.nudge()
	}
}

// wantAll asks those of whom something was missed for all.
func (n *Node) wantAll(now time.Time) (next time.Time) {
	for _, pr := range n.peers.all {
		if !pr.behind {
			continue
		}
		if !now.Before(pr.wantAt) {
			pr.wantAt = now.Add(wantAgain)
			n.post(nodeSubject(pr.node), kindWant, binary.BigEndian.AppendUint64(n.appendIntro(nil), uint64(pr.origin)))
		}
		next = earlier(next, pr.wantAt)
	}
	return next
}

func (n *Node) receiveWant(o Origin, c cutter, now time.Time) bool {
	in, of := c.intro(), c.origin()
	if !c.whole() {
		return false
	}
	if n.meet(o, in, false, now) != nil && of == n.origin { // else it is the other node of this id that is asked
		n.snapshotSoon(now, answerWithin)
	}
	return true
}

// snapshotSoon has a snapshot made, after a while at most.
func (n *Node) snapshotSoon(now time.Time, after time.Duration) {
	s := &n.peers.sync
	at := now.Add(after)
	if pause := s.last.Add(snapshotPause); at.Before(pause) {
		at = pause
	}
	if s.due.IsZero() || at.Before(s.due) {
		s.due = at
		n.nudge()
	}
}

// snapshotDue makes a snapshot when one is due, and posts its parts. It returns when to call again.
func (n *Node) snapshotDue(now time.Time) (next time.Time) {
	s := &n.peers.sync
	if !n.peers.begun {
		return time.Time{}
	}
	if len(s.bodies) == 0 && !s.due.IsZero() && !now.Before(s.due) {
		s.due, s.last = time.Time{}, now
		s.posted++
		s.bodies = n.snapshot()
	}
	if len(s.bodies) > 0 && !now.Before(s.next) {
		some := s.bodies[:min(len(s.bodies), maxBodies)]
		if !n.out.hasRoom() {
			some = some[:1] // heartbeats wait for the last
		}
		for _, body := range some {
			n.post(subjectControl, kindPart, body)
		}
		clear(some)
		if s.bodies = s.bodies[len(some):]; len(s.bodies) == 0 {
			s.bodies = nil
		}
		s.next = now.Add(bodyPause)
	}
	if len(s.bodies) > 0 {
		return s.next
	}
	return s.due
}

// snapshot returns the parts of a snapshot.
func (n *Node) snapshot() (bodies [][]byte) {
	p := &n.peers
	r := report{n: n, snapshot: true, post: func(body []byte) { bodies = append(bodies, body) }}
	r.begin()
	for topic, count := range p.beats.told {
		r.count(topic, count)
	}
	for _, last := range n.allNumbers() {
		r.number(last)
	}
	for _, last := range p.tell.all() {
		r.presence(last)
	}
	for topic, w := range p.watch.all {
		if w.told {
			r.watch(topic)
		}
	}
	r.end()
	return bodies
}

func (n *Node) receivePart(o Origin, c cutter, now time.Time) bool {
	p := &n.peers
	h := c.reported(true)
	if !c.items() {
		return false
	}
	pr := n.meet(o, h.intro, false, now)
	switch {
	case pr == nil:
		return true
	case h.number < pr.number || h.number == pr.number && !pr.behind:
		pr.drop(p)
		return true // it says nothing new
	case h.part == 0:
		pr.drop(p)
		n.fallBehind(pr, now) // until all parts are there
		pr.incoming = &incoming{number: h.number, counts: make(map[*total]uint64)}
		pr.wantAt = now.Add(wantAgain)
	case pr.incoming == nil || pr.incoming.number != h.number || pr.incoming.next != h.part:
		pr.drop(p)
		return true // some part was lost; it will be asked again
	}
	in := pr.incoming
	in.next++
	for c.more() {
		switch it := c.item(); it.kind {
		case itemCount:
			if t, ok := p.totals[string(it.name)]; ok && in.counts[t] > 0 || it.number == 0 {
				break // twice, or none
			}
			in.counts[p.total(it.name)] = it.number
		case itemNumber:
			in.values = append(in.values, lastNumber{string(it.name), it.epoch, it.number})
		case itemPresence:
			in.changes = append(in.changes, presenceNumber{string(it.name), it.number})
		case itemWatch:
			in.watches = append(in.watches, string(it.name))
		}
	}
	if max(len(in.counts), len(in.values), len(in.changes), len(in.watches)) > maxTopics {
		pr.drop(p)
		n.refuse(errTopics)
		return true
	}
	if !h.last {
		return true
	}
	pr.incoming = nil
	pr.behind = false
	pr.number = in.number
	p.setSessions(pr, h.sessions)
	p.replace(pr, in.counts)
	n.watchesAre(pr, in.watches)
	for _, last := range in.values {
		n.heard(o, last.name, last.epoch, last.number)
	}
	for _, last := range in.changes {
		n.presenceIs(pr, []byte(last.topic), last.number, now)
	}
	return true
}

// drop forgets the parts of a snapshot.
func (pr *peer) drop(p *peers) {
	if pr.incoming == nil {
		return
	}
	for t := range pr.incoming.counts {
		p.release(t)
	}
	pr.incoming = nil
}
