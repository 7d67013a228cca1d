package wshub

import (
	"fmt"
	"log/slog"
	"unicode/utf8"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/mesh"
)

// meshHost is the hub as its node sees it. It is a type of its own so that the methods are not Hub's.
//
// They are called by the goroutine that reads the bus, which waits for nothing of the user's.
type meshHost struct {
	*Hub
	met   chan struct{} // closed once meet has set all that other goroutines may look at
	state cluster.State // that goroutine's own, as is told
	told  bool          // state was
}

func (x *meshHost) Sessions() int { return x.table.len() }

func (x *meshHost) UserSessions(user string) int {
	if user == "" {
		return 0
	}
	return x.table.countUser(user)
}

func (x *meshHost) HasSession(id string) bool { return x.table.get(id) != nil }

// Deliver sends what another node has for a user or a session.
func (x *meshHost) Deliver(to mesh.To, p mesh.Payload) {
	m := Message{Kind: kindOf(p), Data: p.Data}
	if m.validate() != nil {
		x.counts.invalid.Add(1)
		return
	}
	x.errand(len(m.Data), func() {
		for _, s := range x.meant(to) {
			x.deliver(s, m)
		}
	})
}

// meant returns who is meant here.
func (x *meshHost) meant(to mesh.To) []*Session {
	a := Audience{h: x.Hub, id: to.ID}
	switch to.Kind {
	case mesh.ToEveryone:
		a.kind = everyone
	case mesh.ToUser:
		a.kind = ofUser
	case mesh.ToSession:
		a.kind = oneSession
	}
	return a.sessions()
}

// Kick closes sessions as Audience.Close on another node has asked.
func (x *meshHost) Kick(to mesh.To, code uint16, reason string) {
	c := StatusCode(code)
	if !c.valid() || !utf8.ValidString(reason) {
		x.counts.invalid.Add(1)
		return
	}
	x.errand(0, func() {
		for _, s := range x.meant(to) {
			s.expel(closedWith(c, reason))
		}
	})
}

// Leave takes sessions out of a topic as Audience.Leave on another node has asked.
func (x *meshHost) Leave(to mesh.To, topic string) {
	x.errand(0, func() {
		st := x.reg.living(topic)
		if st == nil {
			return
		}
		if to.Kind == mesh.ToEveryone {
			for s := range st.members() { // who may be few of all
				st.leave(s)
			}
			return
		}
		for _, s := range x.meant(to) {
			st.leave(s)
		}
	})
}

// task runs f in a goroutine of the hub.
func (h *Hub) task(f func()) {
	if !h.tasks.enter() {
		return // closed: they end anyway
	}
	go func() { // owner: the hub; ends with f
		defer h.tasks.leave()
		f()
	}()
}

// Gap tells of values that another node has published and that are lost.
func (x *meshHost) Gap(g mesh.Gap) {
	x.emit(Event{Kind: EventGap, Origin: g.Node, Topic: g.Topic, From: g.From, To: g.To, N: g.To - g.From + 1})
}

// Bus tells how the bus is, and what it has lost.
func (x *meshHost) Bus(s cluster.Status) {
	if !x.told && s.State == cluster.StateDown && s.Err == nil && s.Lost == 0 {
		return // it is being connected for the first time
	}
	news := x.told && s.State != x.state || !x.told && s.State != cluster.StateUp
	x.state, x.told = s.State, true
	var cause error
	if s.Err != nil {
		cause = fmt.Errorf("%w: %w", ErrBus, s.Err)
	}
	x.emit(Event{Kind: EventBus, Name: s.State.String(), Cause: cause, N: s.Lost})
	if !news || x.closedErr() != nil {
		return
	}
	level := slog.LevelInfo
	if s.State != cluster.StateUp {
		level = slog.LevelWarn
	}
	x.aside(x.line("bus is "+s.State.String(), level, "bus is "+s.State.String(), "err", s.Err))
}

// Conflict tells that another node has the id of this one.
func (x *meshHost) Conflict(node string) {
	x.emit(Event{Kind: EventBus, Name: x.state.String(), Origin: node, Cause: ErrNodeConflict})
	x.aside(x.line("node conflict", slog.LevelError, "another node has the id of this one", "node", node))
}

// Refused tells of a message that the node did not take. It has counted it.
func (x *meshHost) Refused(cause error) {
	x.aside(x.line("bus refused", slog.LevelWarn, "a message from the bus was refused", "err", cause))
}

// Failed tells of messages that did not leave.
func (x *meshHost) Failed(n int, cause error) {
	x.emit(Event{Kind: EventBus, Name: x.state.String(), Cause: fmt.Errorf("%w: %w", ErrBus, cause), N: uint64(max(n, 0))})
}

// nodeOf returns the id of a node, "" when it is gone or has not said it yet.
func (h *Hub) nodeOf(of mesh.Origin) string {
	for _, p := range h.mesh.Peers() {
		if p.Origin == of {
			return p.Node
		}
	}
	return ""
}

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
