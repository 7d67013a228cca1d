package wshub

import (
	"container/list"
	"slices"
	"time"

	"github.com/wshub-go/wshub/internal/fanout"
)

// held is the members whose sessions have ended and whose watchers have not been told yet, since their users may come
// back: with another session, on any node. It lives as long as somebody watches, and [attendance.mu] guards all of it.
type held struct {
	grace time.Duration
	timer *fanout.Timer // started for the first of all, or earlier

	all       list.List                // of *heldMember, by the time they are over
	bySession map[string]*list.Element // of all
	byUser    map[string][]*list.Element
}

type heldMember struct {
	Member
	until time.Time // without a monotonic reading, as the timer sees it
}

func newHeld(grace time.Duration, timer *fanout.Timer) *held {
	return &held{
		grace: grace, timer: timer,
		bySession: make(map[string]*list.Element), byUser: make(map[string][]*list.Element),
	}
}

// hold takes members that have gone and returns those that cannot be held. It changes the slice.
func (x *held) hold(members []Member) []Member {
	return slices.DeleteFunc(members, func(m Member) bool {
		if m.User == "" {
			return false // nobody knows whether he comes back
		}
		e := x.all.PushBack(&heldMember{m, time.Now().Add(x.grace).Round(0)})
		x.bySession[m.Session] = e
		x.byUser[m.User] = append(x.byUser[m.User], e)
		if e == x.all.Front() {
			x.timer.Start(e.Value.(*heldMember).until)
		}
		return true
	})
}

// comeBack takes members that have come. It returns those that watchers do not know yet, and for each of them whom its
// user has come back for, if there is somebody: the one that is held longest. A member that is held itself was thought
// to be gone. It changes the slice.
func (x *held) comeBack(members []Member) (joined, left []Member) {
	joined = slices.DeleteFunc(members, func(m Member) bool {
		e := x.bySession[m.Session]
		if e != nil {
			x.release(e)
		}
		return e != nil
	})
	for _, m := range joined {
		if of := x.byUser[m.User]; len(of) > 0 {
			left = append(left, x.release(of[0]))
		}
	}
	return joined, left
}

// release ends the holding of one.
func (x *held) release(e *list.Element) Member {
	m := x.all.Remove(e).(*heldMember).Member
	delete(x.bySession, m.Session)
	of := x.byUser[m.User]
	i := slices.Index(of, e)
	if of = slices.Delete(of, i, i+1); len(of) > 0 {
		x.byUser[m.User] = of
	} else {
		delete(x.byUser, m.User)
	}
	return m
}

// over releases those whose time is over and starts the timer for the others.
func (x *held) over(now time.Time) (left []Member) {
	for e := x.all.Front(); e != nil; e = x.all.Front() {
		if until := e.Value.(*heldMember).until; until.After(now) {
			x.timer.Start(until)
			break
		}
		left = append(left, x.release(e))
	}
	return left
}

// appendTo appends those that are held to members.
func (x *held) appendTo(members []Member) []Member {
	for e := x.all.Front(); e != nil; e = e.Next() {
		members = append(members, e.Value.(*heldMember).Member)
	}
	return members
}

// graceOver is called by the timer of held.
func (a *attendance) graceOver() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held != nil { // else the last watcher has gone
		a.publishLocked(PresenceLeft, a.held.over(time.Now()), nil)
	}
}
