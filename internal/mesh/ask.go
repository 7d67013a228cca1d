package mesh

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

const (
	// askAgain is when those that have not answered are asked once more: the bus may have lost it.
	askAgain = time.Second
	// maxMembers bounds what one node may say it has in a topic.
	maxMembers = 1 << 20
	// maxReplies bounds the lists that others have asked for. Who gets none asks again.
	maxReplies = 4096
)

// What can be asked.
const (
	questionUser    = iota + 1 // how many sessions has the user?
	questionSession            // is the session there? 1 or 0
	questionMembers            // who is in the topic?
)

// asks are the questions of this node that wait for answers.
type asks struct {
	answers uint64   // given; the loop's
	replies []*reply // lists that were asked for and have not been sent, in the order in which they will be; the loop's

	mu     sync.Mutex
	next   uint64          // guarded by mu
	open   map[uint64]*ask // guarded by mu
	closed bool            // guarded by mu
}

// ask is one of them. It is guarded by asks.mu, but for what is immutable.
type ask struct {
	question byte             // immutable
	done     chan struct{}    // immutable; closed when nobody is waited for any more
	waiting  map[Origin]*part // those that have not answered
	count    uint64           // of those that have
	members  []NodeMembers    // likewise
	err      error            // why done is closed although somebody has not answered
}

// part is what has come of an answer.
type part struct {
	node    string
	answer  uint64 // its number at the node that gives it
	next    uint64 // part
	members []Member
}

// reply is a list that somebody has asked for, or what is left of it.
type reply struct {
	to      *peer
	id      uint64 // of the ask
	topic   string
	answer  uint64 // its number, 0: not begun
	next    uint64 // part
	members []Member
}

func (a *asks) init() { a.open = make(map[uint64]*ask) }

// CountUser asks all other nodes. It waits for them until ctx ends, or those that do not answer are gone: the count is then
// of those that have answered, and the error ctx's cause, or [cluster.ErrClosed].
func (n *Node) CountUser(ctx context.Context, user string) (int, error) {
	a, err := n.ask(ctx, questionUser, user, nil)
	return clampInt(int64(a.count)), err
}

// AskSession asks a session's node whether it is there.
func (n *Node) AskSession(ctx context.Context, id string) (bool, error) {
	node, _, _ := strings.Cut(id, ".")
	a, err := n.ask(ctx, questionSession, id, &node)
	return a.count > 0, err
}

// Present asks all other nodes who is in a topic, likewise. Those that have answered are in the order of their ids, those
// that have nobody too.
func (n *Node) Present(ctx context.Context, topic string) ([]NodeMembers, error) {
	a, err := n.ask(ctx, questionMembers, topic, nil)
	slices.SortFunc(a.members, func(a, b NodeMembers) int { return cmp.Compare(a.Node, b.Node) })
	return a.members, err
}

// NodeMembers is who one node has in a topic.
type NodeMembers struct {
	Node    string
	Members []Member
}

// ask asks all peers, or those of one id, and waits. The ask is the caller's when it returns.
func (n *Node) ask(ctx context.Context, question byte, text string, node *string) (*ask, error) {
	a, id, err := n.openAsk(question, node)
	if err != nil || id == 0 {
		return a, err
	}
	defer n.peers.asks.end(id)
	body := appendText(append(binary.AppendUvarint(n.appendIntro(nil), id), question), text)
	if node == nil {
		n.post(subjectControl, kindAsk, body)
	} else {
		n.post(nodeSubject(*node), kindAsk, body)
	}
	timer := time.NewTimer(askAgain)
	defer timer.Stop()
	for {
		select {
		case <-a.done:
			return a, a.err
		case <-ctx.Done():
			return a, context.Cause(ctx)
		case <-timer.C:
			for _, node := range n.peers.asks.missing(a) {
				n.post(nodeSubject(node), kindAsk, body)
			}
			timer.Reset(askAgain)
		}
	}
}

// openAsk begins an ask. The id is 0 if there is nobody to ask.
func (n *Node) openAsk(question byte, node *string) (*ask, uint64, error) {
	p := &n.peers
	a := &ask{question: question, done: make(chan struct{}), waiting: make(map[Origin]*part)}
	p.asks.mu.Lock()
	defer p.asks.mu.Unlock()
	if p.asks.closed {
		return a, 0, cluster.ErrClosed
	}
	// A peer that goes is taken from all first, and then, under asks.mu, from each ask.
	p.mu.RLock()
	for o, pr := range p.all {
		if node == nil || pr.node == *node {
			a.waiting[o] = &part{node: pr.node}
		}
	}
	p.mu.RUnlock()
	if len(a.waiting) == 0 {
		return a, 0, nil
	}
	p.asks.next++
	p.asks.open[p.asks.next] = a
	return a, p.asks.next, nil
}

func (s *asks) end(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, id)
}

// missing returns the ids of those that have not answered.
func (s *asks) missing(a *ask) (nodes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, part := range a.waiting {
		nodes = append(nodes, part.node)
	}
	return nodes
}

// gone ends the waits for a peer.
func (s *asks) gone(o Origin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, a := range s.open {
		if _, ok := a.waiting[o]; ok {
			s.answeredLocked(id, a, o)
		}
	}
}

func (s *asks) answeredLocked(id uint64, a *ask, o Origin) {
	if delete(a.waiting, o); len(a.waiting) == 0 {
		delete(s.open, id)
		close(a.done)
	}
}

// close ends all asks, and those that are still to come.
func (s *asks) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, a := range s.open {
		a.err = cluster.ErrClosed
		close(a.done)
	}
	clear(s.open)
}

// receiveAsk answers. The node that asks need not be known, but it is from now on.
func (n *Node) receiveAsk(o Origin, c cutter, now time.Time) bool {
	in, id, question, text := c.intro(), c.uvarint(), c.byte(), c.text()
	if !c.whole() {
		return false
	}
	switch question {
	case questionUser, questionSession, questionMembers:
	default:
		return false
	}
	pr := n.meet(o, in, false, now)
	if pr == nil {
		return true
	}
	switch question {
	case questionUser:
		count := min(max(n.host.UserSessions(string(text)), 0), maxCount)
		n.post(nodeSubject(pr.node), kindAnswer, binary.AppendUvarint(n.beginAnswer(o, id), uint64(count)))
	case questionSession:
		is := byte(0)
		if n.host.HasSession(string(text)) {
			is = 1
		}
		n.post(nodeSubject(pr.node), kindAnswer, append(n.beginAnswer(o, id), is))
	case questionMembers:
		n.oweReply(pr, id, string(text))
	}
	return true
}

// beginAnswer returns the head of an answer of one part.
func (n *Node) beginAnswer(o Origin, id uint64) []byte {
	n.peers.asks.answers++
	return appendAnswer(nil, o, id, n.peers.asks.answers, 0, true)
}

func appendAnswer(b []byte, o Origin, id, answer, part uint64, last bool) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(o))
	b = binary.AppendUvarint(b, id)
	b = binary.AppendUvarint(b, answer)
	part <<= 1
	if last {
		part |= 1
	}
	return binary.AppendUvarint(b, part)
}

// oweReply has a list sent soon, unless it is on its way already.
func (n *Node) oweReply(pr *peer, id uint64, topic string) {
	s := &n.peers.asks
	if len(s.replies) >= maxReplies || slices.ContainsFunc(s.replies, func(r *reply) bool { return r.to == pr && r.id == id }) {
		return
	}
	s.replies = append(s.replies, &reply{to: pr, id: id, topic: topic})
	n.nudge()
}

// repliesDue sends lists that were asked for, one after the other, and returns when to call it again.
func (n *Node) repliesDue(now time.Time) (next time.Time) {
	s := &n.peers.asks
	for posted := 0; len(s.replies) > 0; posted++ {
		if posted >= maxBodies || !n.out.hasRoom() {
			return now.Add(bodyPause)
		}
		r := s.replies[0]
		if r.answer == 0 {
			s.answers++
			r.answer = s.answers
			r.members, _ = n.host.Members(r.topic)
		}
		some, rest := cutMembers(r.members)
		b := appendAnswer(nil, r.to.origin, r.id, r.answer, r.next, len(rest) == 0)
		for _, m := range some {
			b = appendMember(b, m)
		}
		n.post(nodeSubject(r.to.node), kindAnswer, b)
		if r.members, r.next = rest, r.next+1; len(rest) == 0 {
			s.replies = slices.Delete(s.replies, 0, 1)
		}
	}
	s.replies = nil
	return time.Time{}
}

// unreply forgets what a peer that is gone has asked for.
func (s *asks) unreply(pr *peer) {
	s.replies = slices.DeleteFunc(s.replies, func(r *reply) bool { return r.to == pr })
}

// cutMembers splits a list where a body is full. Of a list that is not empty it takes at least one.
func cutMembers(members []Member) (some, rest []Member) {
	size := 0
	for i, m := range members {
		size += len(m.Session) + len(m.User) + len(m.Data) + 8
		if i > 0 && size > maxBody-maxItem {
			return members[:i], members[i:]
		}
	}
	return members, nil
}

func (n *Node) receiveAnswer(o Origin, c cutter, now time.Time) bool {
	to, id, answer, index := c.origin(), c.uvarint(), c.uvarint(), c.uvarint()
	last := index&1 != 0
	index >>= 1
	if c.bad {
		return false
	}
	if to != n.origin { // the other node of this id has asked
		return true
	}
	n.known(o, now)
	s := &n.peers.asks
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.open[id]
	if a == nil {
		return true // too late
	}
	part := a.waiting[o]
	if part == nil {
		return true
	}
	if a.question != questionMembers {
		count := c.count(maxCount)
		if !c.whole() {
			return false
		}
		a.count += count
		s.answeredLocked(id, a, o)
		return true
	}
	for check := c; ; check.skipMember() {
		if check.whole() {
			break
		}
		if check.bad {
			return false
		}
	}
	// Somebody who is asked twice, by us or by a bus that repeats, gives two answers, whose order is not the same.
	if index == 0 && answer > part.answer {
		part.answer, part.next, part.members = answer, 0, nil
	}
	if answer != part.answer || index != part.next || len(part.members) > maxMembers {
		return true // a repeat, or something between was lost: it is asked again
	}
	part.next++
	for c.more() {
		part.members = append(part.members, c.member())
	}
	if last {
		a.members = append(a.members, NodeMembers{part.node, part.members})
		s.answeredLocked(id, a, o)
	}
	return true
}
