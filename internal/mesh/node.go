package mesh

import (
	"context"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// Config is what a node is made with.
type Config struct {
	Bus      cluster.Bus // the node's from New on: Close closes it
	Node     string      // its id
	Interval time.Duration
	Keys     [][]byte // the first signs, all are taken; none: nothing is signed, and what is signed is refused
	Host     Host
	Everyone TopicHost // the topic of all sessions: always wanted
}

// Origin tells processes apart: a node that is started again is another one. Never 0.
type Origin uint64

// Member is a session in a topic, of some node.
type Member struct {
	Session, User string
	Data          []byte // JSON or nil; immutable
}

// Host is the hub.
type Host interface {
	Sessions() int                // how many there are here
	UserSessions(user string) int // of a user
	HasSession(id string) bool
	Deliver(to To, m Payload)
	Kick(to To, code uint16, reason string)
	Leave(to To, topic string)

	// Members returns who is in a topic here, and the number of the last change that was told of it, 0 for none: the list has
	// all changes up to it and none after. See Tell.
	Members(topic string) ([]Member, uint64)
	// MembersAre tells all members that a node has in a topic that is watched, in place of those told before.
	MembersAre(topic string, of Origin, node string, members []Member)
	// MemberChanged tells one that came or went, after MembersAre of the same node. ended: the session has, not only its
	// membership.
	MemberChanged(topic string, of Origin, node string, m Member, joined, ended bool)
	// MembersGone tells that a node is gone, and all its members with it.
	MembersGone(topic string, of Origin)
	// WatchReady tells that every node there was when the Watch began has told its members, or is gone, or that it has taken
	// too long.
	WatchReady(topic string)

	Gap(g Gap)
	Bus(s cluster.Status)      // each change, and losses
	Conflict(node string)      // another process has this node's id
	Refused(cause error)       // a message was not taken: errMalformed, errVersion, errSignature, ...
	Failed(n int, cause error) // messages did not leave
}

// Gap is what was published and is not received.
type Gap struct {
	Node     string // "" while it has not said its id
	Topic    string // "" is everyone
	From, To uint64 // numbers, both included
}

// To is who a message is for: sessions of other nodes.
type To struct {
	Kind ToKind
	ID   string // of the user or the session
}

// ToKind is a kind of audience.
type ToKind uint8

// The kinds.
const (
	ToEveryone ToKind = iota + 1 // Kick and Leave only
	ToUser
	ToSession
)

// Payload is a message for clients.
type Payload struct {
	Binary bool
	Data   []byte
}

// Value is a value of a topic that another node has published. Its bytes are the receiver's.
type Value struct {
	Payload
	Origin        Origin
	Epoch, Number uint64
	Time          time.Time // when it was published
	Key           []byte    // as Outgoing's; nil: not told
}

// TopicHost is one topic of the hub.
type TopicHost interface {
	Receive(v Value) // in order for each origin; must not wait
	Len() int        // members here
}

// Outgoing is a value for other nodes.
type Outgoing struct {
	Payload        // copied
	Key     []byte // at most MaxKey bytes, else it is left out and the receiver has to decode the value
}

// MaxKey is how long a key may be that travels with its value.
const MaxKey = 16

// Node is this process in the cluster.
type Node struct{}

// New starts a node: it listens, and says hello.
func New(c Config) *Node { panic("not yet") }

// Origin returns the node's.
func (n *Node) Origin() Origin { panic("not yet") }

// Close says goodbye, lets what is in the outbox out while ctx lasts, closes the bus and waits for the goroutines.
// ctx ended is no reason to leave a goroutine; a second call waits for the first.
func (n *Node) Close(ctx context.Context) error { panic("not yet") }

// Everyone returns the topic of Config.Everyone.
func (n *Node) Everyone() *Topic { panic("not yet") }

// Topic returns a topic's part of the cluster, which begins a new epoch. It costs nothing until it is wanted or published
// to. The caller has one at a time for a name.
func (n *Node) Topic(name string, epoch uint64, host TopicHost) *Topic { panic("not yet") }

// Topic is a topic as the cluster knows it.
type Topic struct{}

// Want has the node listen to the topic until Unwant, which takes effect after a while (lingering), so that one that
// comes back costs nothing. They are called in turns, and do not wait.
func (t *Topic) Want()   { panic("not yet") }
func (t *Topic) Unwant() { panic("not yet") }

// Await waits until the bus listens to the topic, which is wanted: not while the bus is down, and 1 s at most.
func (t *Topic) Await(ctx context.Context) { panic("not yet") }

// Publish gives the value a number and puts it into the outbox; it does not wait. What cannot leave is told as Failed.
func (t *Topic) Publish(v Outgoing) { panic("not yet") }

// PublishSure is Publish that waits until the bus has taken the message, bounded by ctx. With an error (ErrClosed,
// ErrDown, ErrTooLarge of package cluster, errBusy, ctx's cause) it was not taken, or nobody knows.
func (t *Topic) PublishSure(ctx context.Context, v Outgoing) error { panic("not yet") }

// Next returns the number that the next Publish will give, as long as nobody else publishes.
func (t *Topic) Next() (epoch, number uint64) { panic("not yet") }

// Changed is called after Len has changed. It does not wait.
func (t *Topic) Changed() { panic("not yet") }

// Others returns how many members the topic has on other nodes, in O(1): as of their last heartbeats.
func (t *Topic) Others() int { panic("not yet") }

// SessionsChanged is called after Host.Sessions has changed. It does not wait.
func (n *Node) SessionsChanged() { panic("not yet") }

// OtherSessions returns how many sessions other nodes have, in O(1).
func (n *Node) OtherSessions() int { panic("not yet") }

// WantUser and UnwantUser: the user has sessions here. They do not wait, and are called in turns for one user.
func (n *Node) WantUser(user string)   { panic("not yet") }
func (n *Node) UnwantUser(user string) { panic("not yet") }

// Send sends a message to a user's or a session's other nodes; it does not wait. A session of a node that is not known is
// false.
func (n *Node) Send(to To, m Payload) bool { panic("not yet") }

// Kick and Leave likewise, also for everyone.
func (n *Node) Kick(to To, code uint16, reason string) bool { panic("not yet") }
func (n *Node) Leave(to To, topic string) bool              { panic("not yet") }

// CountUser asks all other nodes. It waits for them until ctx ends, or those that do not answer are gone: the count is then
// of those that have answered, and the error ctx's cause.
func (n *Node) CountUser(ctx context.Context, user string) (int, error) { panic("not yet") }

// AskSession asks a session's node whether it is there.
func (n *Node) AskSession(ctx context.Context, id string) (bool, error) { panic("not yet") }

// Present asks all other nodes who is in a topic, likewise.
func (n *Node) Present(ctx context.Context, topic string) ([]NodeMembers, error) { panic("not yet") }

// NodeMembers is who one node has in a topic.
type NodeMembers struct {
	Node    string
	Members []Member
}

// Watch has Host told of a topic's members on other nodes, until Unwatch. WatchReady comes once for each Watch. They do
// not wait, and are called in turns for one topic.
func (n *Node) Watch(topic string)   { panic("not yet") }
func (n *Node) Unwatch(topic string) { panic("not yet") }

// Watched reports whether another node watches the topic: changes have to be told then. It is quick.
func (n *Node) Watched(topic string) bool { panic("not yet") }

// Tell tells those that watch of a change here, and returns its number (see Host.Members); 0 when nobody watches. The
// caller holds its own lock around its change, Tell, and Members. It does not wait.
func (n *Node) Tell(topic string, m Member, joined, ended bool) uint64 { panic("not yet") }

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

// State returns how the bus is, and why.
func (n *Node) State() (cluster.State, error) { panic("not yet") }

// Stats is what a node has counted. All of it only grows.
type Stats struct {
	Published, PublishedBytes uint64 // messages that the bus took, control included, and their bytes
	Failed                    uint64 // messages that it did not take
	Received, ReceivedBytes   uint64 // messages received, control included, and their bytes; own ones that come back are not counted
	Malformed, Foreign        uint64 // of those: refused since they are no envelopes, or of another version
	Unsigned, Replayed        uint64 // refused since the signature is missing or wrong, or too old, or was seen before
	Repeated                  uint64 // values that came twice, or after their gap was told
	Unwanted                  uint64 // for a topic, user or session that is not here any more
	Gaps, Missing             uint64 // gaps, and values in them
	Lost                      uint64 // messages that the bus says it lost
	Evicted                   uint64 // nodes that fell silent
	Beats, BeatBytes          uint64 // heartbeats sent, and their bytes
}

// Stats returns the counters.
func (n *Node) Stats() Stats { panic("not yet") }
