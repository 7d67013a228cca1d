package mesh

import (
	"time"
)

const (
	// readyWithin is when a watch is ready though not all have answered.
	readyWithin = time.Second
	// watchAgain is when a peer is asked for its list again. Its answer or the question was lost.
	watchAgain = 2 * time.Second
	// watchGrace is how long changes may come behind what shows that they are missing: no bus keeps the order of different
	// subjects.
	watchGrace = 200 * time.Millisecond
	// maxEarly bounds the changes of one peer in one topic that wait for those before them, or for the list.
	maxEarly = 1024
)

// watches are the topics of which the host wants to know who is in them on other nodes. Of each peer it gets a list, with the
// number of the last change in it, and then the changes behind that. The loop's.
type watches struct {
	all       map[string]*watch
	sum       uint64              // of the hashes of those that were told; see watchHash
	announce  []*watch            // the bus listens to them; to be told
	retire    []string            // told, and watched no more; to be told
	unready   map[*watch]struct{} // WatchReady is owed
	unsettled map[*sight]struct{} // to be asked for their lists
}

// watch is one of them.
type watch struct {
	topic   string
	told    bool // to the peers
	of      map[Origin]*sight
	missing int       // peers from the beginning of which there is no list
	until   time.Time // when it is ready at the latest
}

// sight is what one peer has in one watched topic. It is settled when its list was told and no change is missing.
type sight struct {
	w      *watch
	of     *peer
	first  bool // counted in missing
	listed bool // MembersAre was called
	number uint64
	latest uint64            // the greatest number that was heard of
	asked  time.Time         // for its list, last
	askAt  time.Time         // while it is not settled
	early  map[uint64]change // those that wait for the ones before them
	list   *listing          // a list that is not complete
}

// change is a member that came or went.
type change struct {
	member        Member
	joined, ended bool
}

// listing is a list of which some parts have come.
type listing struct {
	number  uint64
	serial  uint64 // of the list at the node whose it is
	next    uint64 // part
	members []Member
}

func (w *watches) init() {
	w.all = make(map[string]*watch)
	w.unready = make(map[*watch]struct{})
	w.unsettled = make(map[*sight]struct{})
}

// watchHash is what a watched topic adds to the sum that heartbeats tell, by which a message that was lost is noticed: FNV-1a.
func watchHash(topic string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(topic) {
		h = (h ^ uint64(topic[i])) * 1099511628211
	}
	return h
}

// Watch has Host told of a topic's members on other nodes, until Unwatch. WatchReady comes once for each Watch, unless
// Unwatch comes first. They do not wait, and are called in turns for one topic; Host may be told something of an earlier
// Watch until the loop has taken notice of Unwatch, but what it is told of members is then true as well, and begins anew
// with MembersAre.
func (n *Node) Watch(topic string)   { n.do(func() { n.beginWatch(topic) }) }
func (n *Node) Unwatch(topic string) { n.do(func() { n.endWatch(topic) }) }

func (n *Node) beginWatch(topic string) {
	ws := &n.peers.watch
	if ws.all[topic] != nil {
		return
	}
	w := &watch{topic: topic, of: make(map[Origin]*sight), until: time.Now().Add(readyWithin)}
	ws.all[topic] = w
	ws.unready[w] = struct{}{}
	for _, pr := range n.peers.all {
		ws.see(w, pr).first = true
		w.missing++
	}
	n.want(subject(prefixPresence, topic), func() {
		if ws.all[topic] == w && !w.told {
			ws.announce = append(ws.announce, w)
		}
	})
}

func (n *Node) endWatch(topic string) {
	ws := &n.peers.watch
	w := ws.all[topic]
	if w == nil {
		return
	}
	delete(ws.all, topic)
	delete(ws.unready, w)
	for _, s := range w.of {
		delete(ws.unsettled, s)
	}
	n.unwant(subject(prefixPresence, topic))
	if w.told {
		ws.retire = append(ws.retire, topic)
	}
}

// see begins to look at what a peer has in a watched topic.
func (ws *watches) see(w *watch, pr *peer) *sight {
	s := &sight{w: w, of: pr}
	w.of[pr.origin] = s
	ws.unsettled[s] = struct{}{}
	return s
}

// watchPeer begins to look at a new peer.
func (n *Node) watchPeer(pr *peer) {
	for _, w := range n.peers.watch.all {
		n.peers.watch.see(w, pr)
	}
}

// unwatchPeer ends it.
func (n *Node) unwatchPeer(pr *peer) {
	ws := &n.peers.watch
	for _, w := range ws.all {
		s := w.of[pr.origin]
		if s == nil {
			continue
		}
		delete(w.of, pr.origin)
		delete(ws.unsettled, s)
		ws.answered(s)
		if s.listed {
			n.host.MembersGone(w.topic, pr.origin)
		}
	}
	n.nudge() // somebody may be ready
}

// answered notes that a peer is not waited for any more.
func (ws *watches) answered(s *sight) {
	if s.first {
		s.first = false
		s.w.missing--
	}
}

// watchDue tells the peers what is watched, asks again those of whom something is missing, and tells the host what is ready.
// It returns when to call it again.
func (n *Node) watchDue(now time.Time) (next time.Time) {
	ws := &n.peers.watch
	if len(ws.retire) > 0 {
		for _, topic := range ws.retire {
			ws.sum -= watchHash(topic)
		}
		n.postNames(subjectControl, kindUnwatch, nil, ws.retire)
		ws.retire = nil
	}
	if len(ws.announce) > 0 {
		var topics []string
		for _, w := range ws.announce {
			if ws.all[w.topic] != w || w.told {
				continue // watched no more
			}
			w.told = true
			ws.sum += watchHash(w.topic)
			topics = append(topics, w.topic)
			for _, s := range w.of {
				s.asked, s.askAt = now, now.Add(watchAgain)
			}
		}
		ws.announce = nil
		n.postNames(subjectControl, kindWatch, n.appendIntro(nil), topics)
	}
	var ask map[*peer][]string
	for s := range ws.unsettled {
		if !s.w.told {
			continue // all will be told soon
		}
		if !now.Before(s.askAt) {
			if ask == nil {
				ask = make(map[*peer][]string)
			}
			ask[s.of] = append(ask[s.of], s.w.topic)
			s.asked, s.askAt = now, now.Add(watchAgain)
		}
		next = earlier(next, s.askAt)
	}
	for pr, topics := range ask {
		n.postNames(nodeSubject(pr.node), kindWatch, n.appendIntro(nil), topics)
	}
	for w := range ws.unready {
		if w.missing > 0 && now.Before(w.until) {
			next = earlier(next, w.until)
			continue
		}
		delete(ws.unready, w)
		n.host.WatchReady(w.topic)
	}
	return next
}

// postNames posts names, in as many messages as it takes, each with head first.
func (n *Node) postNames(subject string, k kind, head []byte, names []string) {
	var body []byte
	for _, name := range names {
		if len(body) >= maxBody-maxItem {
			n.post(subject, k, body)
			body = nil
		}
		if body == nil {
			body = append(body, head...)
		}
		body = appendName(body, name)
	}
	if body != nil {
		n.post(subject, k, body)
	}
}

// sight returns what a peer has in a topic, nil if it is not watched.
func (ws *watches) sight(o Origin, topic []byte) *sight {
	w := ws.all[string(topic)]
	if w == nil {
		return nil
	}
	return w.of[o]
}

// settle has a sight asked for its list if something is missing, after a while in which it may still come.
func (n *Node) settle(s *sight, now time.Time) {
	ws := &n.peers.watch
	if s.listed && s.number >= s.latest {
		delete(ws.unsettled, s)
		s.early = nil
		return
	}
	if _, ok := ws.unsettled[s]; ok {
		return
	}
	ws.unsettled[s] = struct{}{}
	s.askAt = now.Add(watchGrace)
	if pause := s.asked.Add(watchAgain / 2); s.askAt.Before(pause) {
		s.askAt = pause
	}
	n.nudge()
}

// A list is a block of members of one topic, or several parts of it:
//
//	name, number, serial, index of the part times two, and 1 in the last; how many members, members
//
// receiveMembers takes some.
func (n *Node) receiveMembers(o Origin, c cutter, now time.Time) bool {
	to := c.origin()
	check := c
	for check.more() {
		check.block()
		for range check.members() {
			if check.skipMember(); check.bad {
				break
			}
		}
	}
	if !check.whole() {
		return false
	}
	if to != n.origin { // the other node of this id watches
		return true
	}
	n.known(o, now)
	for c.more() {
		b := c.block()
		count := c.members()
		s := n.peers.watch.sight(o, b.topic)
		if s == nil || !s.expects(b) {
			for range count {
				c.skipMember()
			}
			continue
		}
		s.list.next++
		s.asked, s.askAt = now, now.Add(watchAgain) // the rest is on its way
		for range count {
			s.list.members = append(s.list.members, c.member())
		}
		switch {
		case len(s.list.members) > maxMembers:
			s.list = nil
			n.refuse(ErrMalformed)
		case b.last:
			n.listed(s, now)
		}
	}
	return true
}

// block is the head of a list.
type block struct {
	topic                []byte
	number, serial, part uint64
	last                 bool
}

func (c *cutter) block() block {
	b := block{topic: c.name(), number: c.uvarint(), serial: c.uvarint()}
	v := c.uvarint()
	b.part, b.last = v>>1, v&1 != 0
	return b
}

// members takes how many members follow, of three bytes at least.
func (c *cutter) members() uint64 { return c.count(uint64(len(c.rest)) / 3) }

// expects reports whether a part of a list is the one to come.
func (s *sight) expects(b block) bool {
	if s.listed && b.number <= s.number {
		return false // it says nothing new
	}
	if b.part == 0 && (s.list == nil || b.serial > s.list.serial) {
		s.list = &listing{number: b.number, serial: b.serial}
	}
	// Else it is a repeat, or something was lost: it is asked again.
	return s.list != nil && s.list.number == b.number && s.list.serial == b.serial && s.list.next == b.part
}

// listed tells a list that is complete, and the changes behind it that were early.
func (n *Node) listed(s *sight, now time.Time) {
	list := s.list
	s.list = nil
	s.listed = true
	s.number = list.number
	s.latest = max(s.latest, s.number)
	for number := range s.early {
		if number <= s.number {
			delete(s.early, number)
		}
	}
	n.host.MembersAre(s.w.topic, s.of.origin, s.of.node, list.members)
	n.tellEarly(s)
	if s.first {
		n.peers.watch.answered(s)
		n.nudge() // it may be ready
	}
	delete(n.peers.watch.unsettled, s) // asked again later rather than sooner
	n.settle(s, now)
}

// tellEarly tells the changes whose turn has come.
func (n *Node) tellEarly(s *sight) {
	for {
		c, ok := s.early[s.number+1]
		if !ok {
			return
		}
		s.number++
		delete(s.early, s.number)
		n.host.MemberChanged(s.w.topic, s.of.origin, s.of.node, c.member, c.joined, c.ended)
	}
}

func (n *Node) receiveChange(o Origin, c cutter, now time.Time) bool {
	topic, number, flags, m := c.name(), c.uvarint(), c.byte(), c.member()
	if !c.whole() || number == 0 || flags&^changeFlags != 0 {
		return false
	}
	s := n.peers.watch.sight(o, topic)
	switch {
	case n.known(o, now) == nil:
		return true
	case s == nil:
		n.stats.unwanted.Add(1)
		return true
	case s.listed && number <= s.number:
		n.stats.repeated.Add(1)
		return true
	}
	s.latest = max(s.latest, number)
	if len(s.early) < maxEarly || s.listed && number == s.number+1 {
		if s.early == nil {
			s.early = make(map[uint64]change)
		}
		s.early[number] = change{m, flags&changeJoined != 0, flags&changeEnded != 0}
	}
	if s.listed {
		n.tellEarly(s)
	}
	n.settle(s, now)
	return true
}

// presenceIs takes the number of the last change that a peer has told in a topic.
func (n *Node) presenceIs(pr *peer, topic []byte, number uint64, now time.Time) {
	if s := n.peers.watch.sight(pr.origin, topic); s != nil && number > s.latest {
		s.latest = number
		n.settle(s, now)
	}
}
