package wshub

import (
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/mesh"
)

// meshHost is the hub as its node sees it. It is a type of its own so that the methods are not Hub's.
type meshHost struct {
	*Hub
	met   chan struct{} // closed once meet has set all that other goroutines may look at
	state cluster.State // the loop's own
}

func (x *meshHost) Sessions() int                               { return x.table.len() }
func (x *meshHost) UserSessions(user string) int                { return 0 }
func (x *meshHost) HasSession(id string) bool                   { return x.table.get(id) != nil }
func (x *meshHost) Deliver(to mesh.To, m mesh.Payload)          {}
func (x *meshHost) Kick(to mesh.To, code uint16, reason string) {}
func (x *meshHost) Leave(to mesh.To, topic string)              {}
func (x *meshHost) Gap(g mesh.Gap)                              {}
func (x *meshHost) Bus(s cluster.Status)                        {}
func (x *meshHost) Conflict(node string)                        {}
func (x *meshHost) Refused(cause error)                         {}
func (x *meshHost) Failed(n int, cause error)                   {}

// Who is in topics, see presence_far.go. They may look at Hub.mesh.

func (x *meshHost) Members(topic string) ([]mesh.Member, uint64) {
	<-x.met
	return x.presenceMembers(topic)
}

func (x *meshHost) MembersAre(topic string, of mesh.Origin, node string, members []mesh.Member) {
	<-x.met
	x.presenceMembersAre(topic, of, node, members)
}

func (x *meshHost) MemberChanged(topic string, of mesh.Origin, node string, m mesh.Member, joined, ended bool) {
	<-x.met
	x.presenceChanged(topic, of, node, m, joined, ended)
}

func (x *meshHost) MembersGone(topic string, of mesh.Origin) {
	<-x.met
	x.presenceGone(topic, of)
}

func (x *meshHost) WatchReady(topic string) {
	<-x.met
	x.presenceReady(topic)
}
