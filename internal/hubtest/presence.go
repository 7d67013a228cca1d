package hubtest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/wshub-go/wshub"
)

// Lobby is the topic whose members come and go.
const Lobby = "lobby"

// Enter connects a session that joins Lobby.
func (n *Node) Enter() *wshub.Session {
	n.c.t.Helper()
	s := n.dial()
	if err := n.Topic(Lobby).Join(context.Background(), s); err != nil {
		n.c.t.Fatal(err)
	}
	n.c.change(func() { n.sessions[s.ID()] = struct{}{} })
	return s
}

// Exit ends a session of Enter.
func (n *Node) Exit(s *wshub.Session) {
	n.c.change(func() { delete(n.sessions, s.ID()) })
	s.Close(wshub.StatusNormalClosure, "")
	<-s.Done()
}

// watch has a goroutine add up what Watch tells of Lobby. The function returns who is there, as ids.
func (n *Node) watch() (there func() []string) {
	members := map[string]struct{}{} // guarded by the cluster's mu
	stream := n.Topic(Lobby).Watch(context.Background())
	n.readers.Go(func() {
		for ev := range stream.C() {
			n.c.change(func() {
				if ev.Kind == wshub.PresenceList {
					clear(members)
				}
				for _, m := range ev.Members {
					_, in := members[m.Session]
					if in != (ev.Kind == wshub.PresenceLeft) {
						n.c.t.Errorf("%s: %v %s, who is in: %v", n.Node(), ev.Kind, m.Session, in)
					}
					if ev.Kind == wshub.PresenceLeft {
						delete(members, m.Session)
					} else {
						members[m.Session] = struct{}{}
					}
				}
			})
		}
		if stream.Err() != wshub.ErrClosed {
			n.c.t.Errorf("%s: watch: %v", n.Node(), stream.Err())
		}
	})
	return func() []string {
		n.c.mu.Lock()
		defer n.c.mu.Unlock()
		return slices.Sorted(maps.Keys(members))
	}
}

// AwaitPresence waits until each of the nodes knows exactly the sessions in Lobby of those nodes, however it is asked, and
// counts no others.
func (c *Cluster) AwaitPresence(nodes ...*Node) {
	c.t.Helper()
	var want []string
	sessions := 0
	c.mu.Lock()
	for _, n := range nodes {
		want = slices.AppendSeq(want, maps.Keys(n.sessions))
		sessions += n.Len()
	}
	c.mu.Unlock()
	slices.Sort(want)
	for _, n := range nodes {
		c.Poll(n.Node()+" knows who is there", func() bool {
			return n.Health().Nodes == len(nodes) && slices.Equal(n.present(), want) && slices.Equal(n.there(), want) &&
				n.count(n.Everyone().Count) == sessions && n.count(n.Topic(Lobby).Count) == len(want)
		})
	}
}

func (n *Node) present() (ids []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	members, err := n.Topic(Lobby).Present(ctx)
	if err != nil {
		return nil
	}
	for _, m := range members {
		ids = append(ids, m.Session)
	}
	slices.Sort(ids)
	return ids
}

func (n *Node) count(count func(context.Context) (int, error)) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	v, err := count(ctx)
	if err != nil {
		return -1
	}
	return v
}
