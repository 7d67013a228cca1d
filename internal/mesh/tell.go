package mesh

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// Flags of a change.
const (
	changeJoined = 1 << 0
	changeEnded  = 1 << 1
	changeFlags  = changeJoined | changeEnded
)

// tellings are the topics that other nodes watch: changes of who is in them here are told, and numbered. Who begins to watch
// gets a list.
//
// A number is never used again: those of a topic that comes to be watched go on from the greatest of all. So whatever
// anybody remembers from an earlier time is less.
type tellings struct {
	owed  map[owed]struct{} // the loop's
	list  *parts            // the one that is being sent to somebody; the loop's
	lists uint64            // sent; the loop's

	any atomic.Int64 // len(topics)

	mu     sync.RWMutex
	topics map[string]*telling // guarded by mu; the loop alone adds and removes
	last   uint64              // the greatest number; guarded by mu
	fresh  []*telling          // those with changes since take; guarded by mu
}

// telling is one of them. It is guarded by tellings.mu, but for what is the loop's.
type telling struct {
	topic    string // immutable
	watchers int    // peers; the loop's
	base     uint64 // the number before its first change; immutable
	number   uint64
	fresh    bool // in tellings.fresh
}

// owed is a list that a peer has to be sent.
type owed struct {
	to    *peer
	topic string
}

// parts is what is left of a list.
type parts struct {
	owed           // to whom, and of what
	number, serial uint64
	next           uint64 // part
	members        []Member
}

// presenceNumber is the number of the last change that was told of a topic.
type presenceNumber struct {
	topic  string
	number uint64
}

func (t *tellings) init() {
	t.owed = make(map[owed]struct{})
	t.topics = make(map[string]*telling)
}

// Watched reports whether another node watches the topic: changes have to be told then. It is quick.
func (n *Node) Watched(topic string) bool {
	t := &n.peers.tell
	if t.any.Load() == 0 {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.topics[topic] != nil
}

// Tell tells those that watch of a change here, and returns its number (see Host.Members); 0 when nobody watches. The
// caller holds its own lock around its change, Tell, and Members. It does not wait.
func (n *Node) Tell(topic string, m Member, joined, ended bool) uint64 {
	t := &n.peers.tell
	if t.any.Load() == 0 {
		return 0
	}
	// The message enters the outbox under the lock under which it gets its number.
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.topics[topic]
	if w == nil {
		return 0
	}
	w.number++
	t.last = max(t.last, w.number)
	if !w.fresh {
		w.fresh = true
		t.fresh = append(t.fresh, w)
	}
	var flags byte
	if joined {
		flags |= changeJoined
	}
	if ended {
		flags |= changeEnded
	}
	body := binary.AppendUvarint(appendName(make([]byte, 0, 64+len(topic)+len(m.Session)+len(m.User)+len(m.Data)), topic), w.number)
	n.post(subject(prefixPresence, topic), kindChange, appendMember(append(body, flags), m))
	return w.number
}

// Told returns the number that Tell last gave a topic, and 0 when nobody watches. It is quick.
func (n *Node) Told(topic string) uint64 {
	t := &n.peers.tell
	t.mu.RLock()
	defer t.mu.RUnlock()
	if w := t.topics[topic]; w != nil {
		return w.number
	}
	return 0
}

// take returns the last numbers of those with changes since the last call. The loop calls it.
func (t *tellings) take() []presenceNumber {
	t.mu.Lock()
	defer t.mu.Unlock()
	var last []presenceNumber
	for _, w := range t.fresh {
		w.fresh = false
		if t.topics[w.topic] == w {
			last = append(last, presenceNumber{w.topic, w.number})
		}
	}
	t.fresh = nil
	return last
}

// all returns the last numbers. The loop calls it.
func (t *tellings) all() []presenceNumber {
	t.mu.RLock()
	defer t.mu.RUnlock()
	last := make([]presenceNumber, 0, len(t.topics))
	for _, w := range t.topics {
		last = append(last, presenceNumber{w.topic, w.number})
	}
	return last
}

// begin notes that a peer watches a topic. It reports whether there is room to know it.
func (t *tellings) begin(pr *peer, topic string) bool {
	if _, ok := pr.watches[topic]; ok {
		return true
	}
	if len(pr.watches) >= maxTopics {
		return false
	}
	pr.watches[topic] = struct{}{}
	pr.watchSum += watchHash(topic)
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.topics[topic]
	if w == nil {
		t.last++
		w = &telling{topic: topic, base: t.last, number: t.last}
		t.topics[topic] = w
		t.any.Add(1)
	}
	w.watchers++
	return true
}

// end notes that a peer watches a topic no more.
func (t *tellings) end(pr *peer, topic string) {
	if _, ok := pr.watches[topic]; !ok {
		return
	}
	delete(pr.watches, topic)
	pr.watchSum -= watchHash(topic)
	delete(t.owed, owed{pr, topic})
	if t.list != nil && t.list.owed == (owed{pr, topic}) {
		t.list = nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.topics[topic]
	if w.watchers--; w.watchers == 0 {
		delete(t.topics, topic)
		t.any.Add(-1)
	}
}

// gone notes that a peer is gone.
func (t *tellings) gone(pr *peer) {
	for topic := range pr.watches {
		t.end(pr, topic)
	}
}

func (n *Node) receiveWatch(o Origin, c cutter, now time.Time) bool {
	in := c.intro()
	if !c.names() {
		return false
	}
	pr := n.meet(o, in, false, now)
	if pr == nil {
		return true
	}
	for c.more() {
		n.owe(pr, string(c.name()))
	}
	return true
}

// owe notes that a peer watches a topic, and has it sent the list soon.
func (n *Node) owe(pr *peer, topic string) {
	t := &n.peers.tell
	if !t.begin(pr, topic) {
		n.refuse(errTopics)
		return
	}
	if t.list != nil && t.list.owed == (owed{pr, topic}) {
		return // on its way
	}
	if len(t.owed) == 0 {
		n.nudge()
	}
	t.owed[owed{pr, topic}] = struct{}{}
}

// names reports whether all that is left are names that are not empty. The copy that it reads leaves c where it is.
func (c cutter) names() bool {
	for c.more() {
		if len(c.name()) == 0 {
			return false
		}
	}
	return c.whole()
}

func (n *Node) receiveUnwatch(o Origin, c cutter, now time.Time) bool {
	if !c.names() {
		return false
	}
	pr := n.known(o, now)
	if pr == nil {
		return true
	}
	for c.more() {
		n.peers.tell.end(pr, string(c.name()))
	}
	return true
}

// watchesAre notes all that a peer watches. It gets the lists of what it was not known to watch: changes of it were not told.
func (n *Node) watchesAre(pr *peer, topics []string) {
	are := make(map[string]struct{}, len(topics))
	for _, topic := range topics {
		are[topic] = struct{}{}
	}
	for topic := range pr.watches {
		if _, ok := are[topic]; !ok {
			n.peers.tell.end(pr, topic)
		}
	}
	for topic := range are {
		if _, ok := pr.watches[topic]; !ok {
			n.owe(pr, topic)
		}
	}
}

// listsDue sends lists that are owed, one after the other, and returns when to call it again.
func (n *Node) listsDue(now time.Time) (next time.Time) {
	t := &n.peers.tell
	bodies := make(map[*peer][]byte)
	posted := 0
	post := func(to *peer) {
		if body := bodies[to]; body != nil {
			n.post(nodeSubject(to.node), kindMembers, body)
			posted++
			delete(bodies, to)
		}
	}
	for t.list != nil || n.nextList() {
		if posted >= maxBodies || !n.out.hasRoom() {
			next = now.Add(bodyPause)
			break
		}
		l := t.list
		some, rest := cutMembers(l.members)
		part := l.next << 1
		if len(rest) == 0 {
			part |= 1
		}
		b := binary.AppendUvarint(appendName(nil, l.topic), l.number)
		b = binary.AppendUvarint(b, l.serial)
		b = binary.AppendUvarint(b, part)
		b = binary.AppendUvarint(b, uint64(len(some)))
		for _, m := range some {
			b = appendMember(b, m)
		}
		if len(bodies[l.to])+len(b) > maxBody {
			post(l.to)
		}
		if bodies[l.to] == nil {
			bodies[l.to] = binary.BigEndian.AppendUint64(nil, uint64(l.to.origin))
		}
		bodies[l.to] = append(bodies[l.to], b...)
		if l.members, l.next = rest, l.next+1; len(rest) == 0 {
			t.list = nil
		}
	}
	for to := range bodies {
		post(to)
	}
	return next
}

// nextList begins one of the lists that are owed, and reports whether there is one.
func (n *Node) nextList() bool {
	t := &n.peers.tell
	for o := range t.owed {
		delete(t.owed, o)
		t.mu.RLock()
		base := t.topics[o.topic].base
		t.mu.RUnlock()
		members, number := n.host.Members(o.topic)
		t.lists++
		// What was told before anybody watched is in the list.
		t.list = &parts{owed: o, number: max(number, base), serial: t.lists, members: members}
		return true
	}
	return false
}
