package mesh

import (
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// Origin tells processes apart: a node that is started again is another one. Never 0.
type Origin uint64

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
	Refused(cause error)       // a message was not taken: ErrMalformed, ErrVersion, ErrUnsigned, ErrReplayed
	Failed(n int, cause error) // messages did not leave, since the last call; cause is that of the last of them
}

// Member is a session in a topic, of some node.
type Member struct {
	Session, User string
	Data          []byte // JSON or nil; immutable
}

// Gap is what was published and is not received.
type Gap struct {
	Node     string // "" while it has not said its id
	Topic    string // "" is everyone
	From, To uint64 // numbers, both included
}

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
	Receive(v Value) // in order for each origin; must not wait. Once more after Unwant, it may be
	Len() int        // members here
}
