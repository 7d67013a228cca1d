package wshub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/mesh"
)

// farMember is a member on another node.
type farMember struct {
	Member
	origin mesh.Origin
}

// watchedFar reports whether other nodes watch who is in the topic.
func (st *topicState) watchedFar() bool {
	n := st.hub.mesh
	return n != nil && n.Watched(st.name)
}

// tellFarLocked tells the other nodes of a change here.
func (a *attendance) tellFarLocked(m Member, joined, ended bool) {
	if !joined {
		m.Data = nil // they have it
	}
	a.st.hub.mesh.Tell(a.st.name, mesh.Member{Session: m.Session, User: m.User, Data: m.Data}, joined, ended)
}

// watchFarLocked begins to keep the members of other nodes and reports whether there may be any: then ready is called
// once they are known.
func (a *attendance) watchFarLocked() bool {
	n := a.st.hub.mesh
	if n == nil {
		return false
	}
	a.far = make(map[string]farMember)
	n.Watch(a.st.name)
	return true
}

func (a *attendance) unwatchFarLocked() {
	if a.far == nil {
		return
	}
	a.far = nil
	a.st.hub.mesh.Unwatch(a.st.name)
}

// ready gives the watchers their list.
func (a *attendance) ready() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.log == nil || a.listed {
		return // nobody watches any more, or again
	}
	a.listed = true
	a.publishLocked(PresenceList, a.watchedLocked(), nil)
}

// present returns who is there, without those held back.
func (a *attendance) present(ctx context.Context) ([]Member, error) {
	list, all := a.presentHere()
	if all {
		return list, nil
	}
	nodes, err := a.st.hub.mesh.Present(ctx, a.st.name)
	seen := make(map[string]struct{}, len(list))
	for _, m := range list {
		seen[m.Session] = struct{}{}
	}
	for _, n := range nodes {
		for _, fm := range n.Members {
			m := memberOf(n.Node, fm)
			if _, twice := seen[m.Session]; !twice {
				seen[m.Session] = struct{}{}
				list = append(list, m)
			}
		}
	}
	if errors.Is(err, cluster.ErrClosed) {
		err = ErrClosed // only the hub closes its bus for good here
	}
	if err != nil {
		err = fmt.Errorf("present in %q: %w", a.st.name, err)
	}
	return list, err
}

// presentHere returns who is known to be there without asking, and whether that is all.
func (a *attendance) presentHere() (list []Member, all bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list = a.hereLocked()
	if a.far == nil || !a.listed {
		return list, a.st.hub.mesh == nil
	}
	for _, m := range a.far {
		list = append(list, m.Member)
	}
	return list, true
}

// memberOf returns a member of another node. Its bytes may be anybody's: data that is no JSON is left out, or no event
// with it could be sent to clients.
func memberOf(node string, m mesh.Member) Member {
	if len(m.Data) > maxMemberData || !json.Valid(m.Data) || !utf8.Valid(m.Data) {
		m.Data = nil
	}
	return Member{Session: m.Session, User: m.User, Node: node, Data: m.Data}
}

// addFarLocked enters a member and reports whether he is new. One that another node had is now this one's.
func (a *attendance) addFarLocked(of mesh.Origin, m Member) bool {
	_, known := a.far[m.Session]
	if m.Session == "" || !known && a.st.hub.table.get(m.Session) != nil {
		return false // nobody, or one of ours, whatever somebody says
	}
	a.far[m.Session] = farMember{m, of}
	return !known
}

// membersAre replaces the members of a node. What became of those who are missing now nobody has heard; they are taken
// to have ended.
func (a *attendance) membersAre(of mesh.Origin, node string, members []mesh.Member) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.far == nil {
		return // nobody watches any more
	}
	var joined, left []Member
	there := make(map[string]struct{}, len(members))
	for _, fm := range members {
		m := memberOf(node, fm)
		there[m.Session] = struct{}{}
		if a.addFarLocked(of, m) {
			joined = append(joined, m)
		}
	}
	for id, m := range a.far {
		if _, still := there[id]; m.origin == of && !still {
			delete(a.far, id)
			left = append(left, m.Member)
		}
	}
	a.changedLocked(joined, left, true)
}

// memberChanged enters one change. That one is there already, or is not, may come of a list that was made in between.
func (a *attendance) memberChanged(of mesh.Origin, m Member, joined, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.far == nil {
		return
	}
	if joined {
		if a.addFarLocked(of, m) {
			a.changedLocked([]Member{m}, nil, false)
		}
		return
	}
	was, known := a.far[m.Session]
	if !known || was.origin != of {
		return
	}
	delete(a.far, m.Session)
	m.Data = was.Data
	a.changedLocked(nil, []Member{m}, ended)
}

// membersGone takes the members of a node away that is gone.
func (a *attendance) membersGone(of mesh.Origin) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var left []Member
	for id, m := range a.far {
		if m.origin == of {
			delete(a.far, id)
			left = append(left, m.Member)
		}
	}
	a.changedLocked(nil, left, true)
}

// What the cluster asks, and tells, of who is in a topic; see mesh.Host.

// presenceMembers returns who is in a topic here, and the number of the last change that other nodes were told.
func (h *Hub) presenceMembers(topic string) ([]mesh.Member, uint64) {
	told := h.mesh.Told(topic) // before anybody is looked for, or somebody might join and be told in between
	st := h.reg.known(topic)
	if st == nil {
		return nil, told
	}
	return st.attendance().forFar()
}

func (h *Hub) presenceMembersAre(topic string, of mesh.Origin, node string, members []mesh.Member) {
	if a := h.reg.attendanceOf(topic); a != nil {
		a.membersAre(of, node, members)
	}
}

func (h *Hub) presenceChanged(topic string, of mesh.Origin, node string, m mesh.Member, joined, ended bool) {
	if a := h.reg.attendanceOf(topic); a != nil {
		a.memberChanged(of, memberOf(node, m), joined, ended)
	}
}

func (h *Hub) presenceGone(topic string, of mesh.Origin) {
	if a := h.reg.attendanceOf(topic); a != nil {
		a.membersGone(of)
	}
}

func (h *Hub) presenceReady(topic string) {
	if a := h.reg.attendanceOf(topic); a != nil {
		a.ready()
	}
}

// attendanceOf returns the attendance of a topic that is watched, or was; else nil.
func (r *registry) attendanceOf(topic string) *attendance {
	if st := r.known(topic); st != nil {
		return st.present.Load()
	}
	return nil
}

// forFar returns the members here, and the number of the last change that other nodes were told: the list has all changes
// up to it. It may have one more of a session, which they then hear of twice.
func (a *attendance) forFar() ([]mesh.Member, uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	here := a.hereLocked()
	list := make([]mesh.Member, len(here))
	for i, m := range here {
		list[i] = mesh.Member{Session: m.Session, User: m.User, Data: m.Data}
	}
	return list, a.st.hub.mesh.Told(a.st.name)
}

// known returns the state of a name that somebody uses, or nil.
func (r *registry) known(name string) *topicState {
	sh := r.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.names[name].Value()
}
