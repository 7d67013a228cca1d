package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/wshubtest"
)

// interval is that of the heartbeats, settled the time in which nodes that hear each other know all of each other.
const (
	interval = time.Second
	settled  = 4 * interval
)

// attendee is a node, and its part of the room.
type attendee struct {
	*wshub.Hub
	bus  *cluster.MemoryBus
	room wshub.Topic[string]
}

// attendees returns nodes with the given names that know each other.
func attendees(t *testing.T, memory *cluster.Memory, grace time.Duration, names ...string) []*attendee {
	t.Helper()
	var all []*attendee
	for _, name := range names {
		all = append(all, newAttendee(t, memory, name, grace, withData(name)))
	}
	time.Sleep(settled)
	return all
}

func newAttendee(t *testing.T, memory *cluster.Memory, name string, grace time.Duration, opts ...wshub.Option) *attendee {
	t.Helper()
	a := &attendee{bus: memory.Connect(name)}
	a.Hub = newHub(t, append(opts, byPath, wshub.WithLogger(nil), wshub.WithNode(name), wshub.WithBus(a.bus), wshub.WithPresence(interval, grace))...)
	a.room = newTopic[string](t, a.Hub, "room", wshub.Policy{})
	return a
}

// withData has the members of a node tell whose they are.
func withData(node string) wshub.Option {
	return wshub.WithMember(func(s *wshub.Session) any { return s.User() + " of " + node })
}

// enter has a user's new session join the room.
func (a *attendee) enter(t *testing.T, user string) (*wshub.Session, *wshubtest.Client) {
	t.Helper()
	s, c := userSession(t, a.Hub, user)
	join(t, a.room, s)
	return s, c
}

// check compares Present and Count with the truth.
func (a *attendee) check(t *testing.T, ss ...*wshub.Session) {
	t.Helper()
	present(t, a.room, ss...)
	if n, err := a.room.Count(t.Context()); n != len(ss) || err != nil {
		t.Errorf("%s counts %d, %v, want %d", a.Node(), n, err, len(ss))
	}
}

// stop ends a hub's process, as kill -9 does.
func (a *attendee) kill() {
	a.bus.Kill()
	a.Close()
}

func newMemory(t *testing.T, opts ...cluster.MemoryOption) *cluster.Memory {
	m := cluster.NewMemory(opts...)
	t.Cleanup(m.Close)
	return m
}

func TestPresenceCrosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := attendees(t, newMemory(t), 0, "a", "b", "c")
		a, b, c := all[0], all[1], all[2]
		ann, _ := a.enter(t, "ann")
		bob, _ := b.enter(t, "bob")
		time.Sleep(settled)
		for _, x := range all {
			x.check(t, ann, bob)
		}
		w := c.room.Watch(t.Context())
		e := expect(t, w, wshub.PresenceList, ann, bob)
		for _, m := range e.Members {
			of := "a"
			if m.User == "bob" {
				of = "b"
			}
			if m.Node != of || string(m.Data) != fmt.Sprintf("%q", m.User+" of "+of) {
				t.Errorf("listed %+v", m)
			}
		}
		second := c.room.Watch(t.Context())
		expect(t, second, wshub.PresenceList, ann, bob) // at once
		cid, conn := b.enter(t, "cid")
		for _, w := range []*wshub.Stream[wshub.PresenceEvent]{w, second} {
			if m := expect(t, w, wshub.PresenceJoined, cid).Members[0]; m.User != "cid" || m.Node != "b" || string(m.Data) != `"cid of b"` {
				t.Errorf("joined %+v", m)
			}
		}
		time.Sleep(interval) // for the counts
		c.check(t, ann, bob, cid)
		dan, _ := c.enter(t, "dan")
		expect(t, w, wshub.PresenceJoined, dan)
		end(cid, conn)
		if m := expect(t, w, wshub.PresenceLeft, cid).Members[0]; m.User != "cid" || m.Node != "b" || string(m.Data) != `"cid of b"` {
			t.Errorf("left %+v", m)
		}
		if err := a.room.Leave(ann); err != nil {
			t.Fatal(err)
		}
		expect(t, w, wshub.PresenceLeft, ann)
		join(t, a.room, ann)
		expect(t, w, wshub.PresenceJoined, ann)
		expectQuiet(t, w)
		time.Sleep(settled)
		expectQuiet(t, w)
		for _, x := range all {
			x.check(t, ann, bob, dan)
		}
	})
}

// The list of a topic that nobody has named on a node is empty there, and its first member is told.
func TestPresenceOfTopicsNobodyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newMemory(t)
		all := []*attendee{newAttendee(t, memory, "a", 0), newAttendee(t, memory, "b", 0)}
		time.Sleep(settled)
		w := newTopic[string](t, all[0].Hub, "elsewhere", wshub.Policy{}).Watch(t.Context())
		expect(t, w, wshub.PresenceList)
		for range 3 {
			ss, cc := sessions(t, all[1].Hub, 1)
			join(t, newTopic[string](t, all[1].Hub, "elsewhere", wshub.Policy{}), ss...)
			expect(t, w, wshub.PresenceJoined, ss...)
			end(ss[0], cc[0])
			expect(t, w, wshub.PresenceLeft, ss...)
			collect() // the state of the name
		}
		expectQuiet(t, w)
	})
}

// Watchers that come and go find who is there now, whatever was told before.
func TestPresenceWatchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := attendees(t, newMemory(t), 0, "a", "b")
		a, b := all[0], all[1]
		ann, _ := a.enter(t, "ann")
		for i := range 4 {
			w := b.room.Watch(t.Context())
			expect(t, w, wshub.PresenceList, ann)
			for range 3 {
				if err := a.room.Leave(ann); err != nil {
					t.Fatal(err)
				}
				expect(t, w, wshub.PresenceLeft, ann)
				join(t, a.room, ann)
				expect(t, w, wshub.PresenceJoined, ann)
			}
			w.Close()
			if i%2 == 1 {
				time.Sleep(settled)
			}
		}
	})
}

// A node that is killed takes its members with it within three beats, and nothing else happens.
func TestPresenceOfKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := attendees(t, newMemory(t), 0, "a", "b", "c")
		a, b, c := all[0], all[1], all[2]
		ann, _ := a.enter(t, "ann")
		bob, _ := b.enter(t, "bob")
		bea, _ := b.enter(t, "bea")
		time.Sleep(settled)
		w := c.room.Watch(t.Context())
		expect(t, w, wshub.PresenceList, ann, bob, bea)
		b.kill()
		killed := time.Now()
		expectQuiet(t, w)
		e := <-w.C()
		if took := e.Time.Sub(killed); took > 3*interval+interval/4 {
			t.Errorf("gone after %v", took)
		}
		if e.Kind != wshub.PresenceLeft || !slices.Equal(ids(e.Members), idsOf(bob, bea)) {
			t.Errorf("got %+v", e)
		}
		for _, x := range []*attendee{a, c} {
			x.check(t, ann)
		}
		again := newAttendee(t, newMemory(t), "b", 0) // of another cluster
		again.check(t)
		time.Sleep(10 * interval)
		expectQuiet(t, w)
	})
}

// A node that says goodbye takes its members with it at once.
func TestPresenceOfShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := attendees(t, newMemory(t), 0, "a", "b")
		a, b := all[0], all[1]
		ann, _ := a.enter(t, "ann")
		bob, _ := b.enter(t, "bob")
		w := a.room.Watch(t.Context())
		expect(t, w, wshub.PresenceList, ann, bob)
		begun := time.Now()
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect(t, w, wshub.PresenceLeft, bob)
		if took := time.Since(begun); took > interval/2 {
			t.Errorf("after %v", took)
		}
		a.check(t, ann)
		time.Sleep(10 * interval)
		expectQuiet(t, w)
	})
}

// A partition in which nobody misses three beats does not show, but for what has happened meanwhile.
func TestPresenceShortPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newMemory(t)
		all := attendees(t, memory, 0, "a", "b", "c")
		a, b, c := all[0], all[1], all[2]
		ann, _ := a.enter(t, "ann")
		bob, conn := b.enter(t, "bob")
		w := c.room.Watch(t.Context())
		expect(t, w, wshub.PresenceList, ann, bob)
		for range 5 {
			memory.Partition([]string{"c"})
			time.Sleep(interval)
			memory.Partition()
			time.Sleep(settled)
			expectQuiet(t, w)
		}
		memory.Partition([]string{"c"})
		end(bob, conn)
		time.Sleep(interval / 2)
		bea, _ := b.enter(t, "bea")
		time.Sleep(interval / 2)
		memory.Partition()
		time.Sleep(settled)
		seen := changes(t, w)
		if len(seen) != 2 || seen[bob.ID()] != wshub.PresenceLeft || seen[bea.ID()] != wshub.PresenceJoined {
			t.Errorf("got %v", seen)
		}
		for _, x := range all {
			x.check(t, ann, bea)
		}
	})
}

// changes takes the events there are, and returns what they tell of each session, which is one thing.
func changes(t *testing.T, w *wshub.Stream[wshub.PresenceEvent]) map[string]wshub.PresenceKind {
	t.Helper()
	seen := map[string]wshub.PresenceKind{}
	for {
		synctest.Wait()
		select {
		case e := <-w.C():
			for _, m := range e.Members {
				if seen[m.Session] != 0 {
					t.Errorf("%v %s after %v", e.Kind, m.Session, seen[m.Session])
				}
				seen[m.Session] = e.Kind
			}
			continue
		default:
		}
		return seen
	}
}

// A longer partition is as if the others had gone, and come.
func TestPresenceLongPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newMemory(t)
		all := attendees(t, memory, 0, "a", "b")
		a, b := all[0], all[1]
		ann, _ := a.enter(t, "ann")
		bob, _ := b.enter(t, "bob")
		w := a.room.Watch(t.Context())
		expect(t, w, wshub.PresenceList, ann, bob)
		for range 3 {
			memory.Partition([]string{"b"})
			time.Sleep(10 * interval)
			expect(t, w, wshub.PresenceLeft, bob)
			a.check(t, ann)
			b.check(t, bob)
			memory.Partition()
			time.Sleep(settled)
			expect(t, w, wshub.PresenceJoined, bob)
			a.check(t, ann, bob)
		}
		expectQuiet(t, w)
	})
}

// A user whose node goes comes back on another one: he is never seen to be absent.
func TestPitfall34GraceAcrossNodes(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*testing.T, *attendee, *wshub.Session, *wshubtest.Client)
	}{
		{"session", func(t *testing.T, a *attendee, s *wshub.Session, c *wshubtest.Client) { end(s, c) }},
		{"shutdown", func(t *testing.T, a *attendee, _ *wshub.Session, _ *wshubtest.Client) {
			if err := a.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}},
		{"close", func(t *testing.T, a *attendee, _ *wshub.Session, _ *wshubtest.Client) { a.Close() }},
		{"kill", func(t *testing.T, a *attendee, _ *wshub.Session, _ *wshubtest.Client) {
			a.kill()
			time.Sleep(4 * interval)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := attendees(t, newMemory(t), grace, "a", "b", "c")
				a, b, c := all[0], all[1], all[2]
				bob, _ := b.enter(t, "bob")
				ann, conn := a.enter(t, "ann")
				w := c.room.Watch(t.Context())
				expect(t, w, wshub.PresenceList, bob, ann)
				test.end(t, a, ann, conn)
				expectQuiet(t, w)
				time.Sleep(interval)
				c.check(t, bob) // the truth
				back, conn := b.enter(t, "ann")
				expect(t, w, wshub.PresenceJoined, back)
				if m := expect(t, w, wshub.PresenceLeft, ann).Members[0]; m.User != "ann" || m.Node != "a" || string(m.Data) != `"ann of a"` {
					t.Errorf("left %+v", m)
				}
				end(back, conn)
				time.Sleep(grace - interval)
				expectQuiet(t, w)
				time.Sleep(interval + time.Millisecond)
				expect(t, w, wshub.PresenceLeft, back)
				if err := b.room.Leave(bob); err != nil {
					t.Fatal(err)
				}
				expect(t, w, wshub.PresenceLeft, bob)
				expectQuiet(t, w)
			})
		})
	}
}

// With a grace longer than it takes, a node that was thought to be gone has never been away.
func TestGraceOverLongPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newMemory(t)
		all := attendees(t, memory, grace, "a", "b")
		a, b := all[0], all[1]
		bob, conn := b.enter(t, "bob")
		w := a.room.Watch(t.Context())
		expect(t, w, wshub.PresenceList, bob)
		memory.Partition([]string{"b"})
		time.Sleep(6 * interval)
		a.check(t)
		memory.Partition()
		time.Sleep(settled)
		a.check(t, bob)
		time.Sleep(2 * grace)
		expectQuiet(t, w)
		end(bob, conn)
		time.Sleep(grace + time.Millisecond)
		expect(t, w, wshub.PresenceLeft, bob)
	})
}

// Present does not wait for a node that is gone longer than its context.
func TestPresentIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := attendees(t, newMemory(t), 0, "a", "b", "c")
		a, b, c := all[0], all[1], all[2]
		ann, _ := a.enter(t, "ann")
		bob, _ := b.enter(t, "bob")
		cid, _ := c.enter(t, "cid")
		time.Sleep(settled)
		a.check(t, ann, bob, cid)
		c.kill()
		begun := time.Now()
		enough := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), interval/2, enough)
		defer cancel()
		got, err := a.room.Present(ctx)
		if took := time.Since(begun); took != interval/2 || !errors.Is(err, enough) || !slices.Equal(ids(got), idsOf(ann, bob)) {
			t.Errorf("after %v: %v, %v", took, got, err)
		}
		got, err = a.room.Present(t.Context()) // until it is gone
		if took := time.Since(begun); took > 4*interval || err != nil || !slices.Equal(ids(got), idsOf(ann, bob)) {
			t.Errorf("after %v: %v, %v", took, got, err)
		}
		a.check(t, ann, bob)
	})
}

// The first list does not wait for a node that does not answer longer than a second, and has it when it does.
func TestWatchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newMemory(t)
		all := attendees(t, memory, 0, "a", "b")
		a, b := all[0], all[1]
		ann, _ := a.enter(t, "ann")
		bob, _ := b.enter(t, "bob")
		time.Sleep(settled)
		memory.Partition([]string{"b"})
		begun := time.Now()
		w := a.room.Watch(t.Context())
		expectQuiet(t, w)
		cid, _ := a.enter(t, "cid")
		expectQuiet(t, w)
		e := <-w.C()
		if took := time.Since(begun); took != time.Second || e.Kind != wshub.PresenceList || !slices.Equal(ids(e.Members), idsOf(ann, cid)) {
			t.Errorf("after %v: %+v", took, e)
		}
		memory.Partition()
		time.Sleep(settled)
		expect(t, w, wshub.PresenceJoined, bob)
		expectQuiet(t, w)
	})
}

// When the last watcher has gone nobody is told any more.
func TestPresenceUnwatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newMemory(t)
		all := attendees(t, memory, grace, "a", "b")
		a, b := all[0], all[1]
		w, second := a.room.Watch(t.Context()), a.room.Watch(t.Context())
		expect(t, w, wshub.PresenceList)
		expect(t, second, wshub.PresenceList)
		subject := "wshub.p.room"
		told := func() uint64 { return memory.Published("b", subject).Messages }
		bob, _ := b.enter(t, "bob")
		expect(t, w, wshub.PresenceJoined, bob)
		if told() == 0 || len(memory.Subscribers(subject)) != 1 {
			t.Fatalf("%d messages to %q", told(), memory.Subscribers(subject))
		}
		w.Close()
		before := told()
		bea, _ := b.enter(t, "bea")
		expect(t, second, wshub.PresenceJoined, bob)
		expect(t, second, wshub.PresenceJoined, bea)
		if told() == before {
			t.Error("nothing was told to the second watcher")
		}
		second.Close()
		time.Sleep(10 * time.Second)
		before = told()
		bel, _ := b.enter(t, "bel")
		time.Sleep(settled)
		if told() != before || len(memory.Subscribers(subject)) != 0 {
			t.Errorf("%d messages more, to %q", told()-before, memory.Subscribers(subject))
		}
		a.check(t, bob, bea, bel)
	})
}

// collect has what nobody holds any more collected.
func collect() {
	for range 3 {
		runtime.GC()
		synctest.Wait()
	}
}
