package mesh

import "time"

// peers is what a node knows of the others.
type peers struct{}

// topicPeers is what a topic has on other nodes, and what has to be told of it.
type topicPeers struct{}

func (p *peers) init(n *Node) {}

// knows reports whether a node with this id is there. Any goroutine may call it.
func (p *peers) knows(node string) bool { return false }

// nodeOf returns the id of a node, "" while it has not said it. The loop calls it.
func (p *peers) nodeOf(o Origin) string { return "" }

func (n *Node) control(m *envelope, subject string) {}

func (n *Node) pulse(now time.Time) (next time.Time) { return now.Add(n.config.Interval) }

func (n *Node) hello() {}

func (n *Node) bye() {}

// Changed is called after Len has changed. It does not wait.
func (t *Topic) Changed() { panic("not yet") }

// Others returns how many members the topic has on other nodes, in O(1): as of their last heartbeats.
func (t *Topic) Others() int { panic("not yet") }

// SessionsChanged is called after Host.Sessions has changed. It does not wait.
func (n *Node) SessionsChanged() { panic("not yet") }

// OtherSessions returns how many sessions other nodes have, in O(1).
func (n *Node) OtherSessions() int { panic("not yet") }

// Peers returns the other nodes, in the order of their ids.
func (n *Node) Peers() []Peer { panic("not yet") }

// Peer is another node.
type Peer struct {
	Origin   Origin
	Node     string
	Sessions int
	Since    time.Time // when it was first heard of
	Heard    time.Time // when last
}
