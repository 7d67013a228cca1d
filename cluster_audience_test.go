package wshub_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Everyone, a user and a session are reached on whatever node they are, in order, and only there.
func TestClusterSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 3, wshub.Authenticate(asQuery))
		ann1, cAnn1 := client(t, hubs[0], wshubtest.WithPath("/?as=ann"))
		_, cAnn2 := client(t, hubs[1], wshubtest.WithPath("/?as=ann"))
		bob, cBob := client(t, hubs[1], wshubtest.WithPath("/?as=bob"))
		_, cNobody := client(t, hubs[2])
		all := []*wshubtest.Client{cAnn1, cAnn2, cBob, cNobody}
		synctest.Wait()

		send := func(a wshub.Audience, texts ...string) {
			t.Helper()
			for _, s := range texts {
				if err := a.Send(t.Context(), wshub.Text(s)); err != nil {
					t.Fatalf("%v: %v", a, err)
				}
			}
		}
		expect := func(want string, cc ...*wshubtest.Client) {
			t.Helper()
			for _, c := range cc {
				c.ExpectText(want)
			}
			for _, c := range all {
				c.ExpectNothing()
			}
		}
		values := counted(1, 100)
		send(hubs[0].Everyone(), values...)
		send(hubs[0].User("ann"), values...)
		send(hubs[0].To(bob.ID()), values...)
		for _, c := range all {
			for _, v := range values {
				c.ExpectText(v)
			}
		}
		for _, c := range []*wshubtest.Client{cAnn1, cAnn2, cBob} {
			for _, v := range values {
				c.ExpectText(v)
			}
		}
		expect("")
		for from, want := range map[string][3]uint64{"wshub.all": {0, 100, 100}, "wshub.u.ann": {0, 100, 0}, "wshub.u.bob": {0, 0, 0}} {
			for i, id := range []string{"n1", "n2", "n3"} {
				if got := m.Delivered(id, from).Messages; got != want[i] {
					t.Errorf("%s got %d messages on %s, want %d", id, got, from, want[i])
				}
			}
		}

		send(hubs[0].Everyone().Except(ann1), "all but one here")
		expect("all but one here", cAnn2, cBob, cNobody)
		send(hubs[0].User("ann").Except(ann1), "ann but here")
		expect("ann but here", cAnn2)
		send(hubs[2].User("ann"), "from afar")
		expect("from afar", cAnn1, cAnn2)
		send(hubs[2].User("nobody"), "to nobody")
		send(hubs[2].User("nobody").Except(ann1), "to nobody")
		expect("")

		for what, a := range map[string]wshub.Audience{
			"the zero Audience": {}, "nobody's user": hubs[0].User(""), "no node": hubs[0].To("x"), "no node's session": hubs[0].To("x.y"),
			"a node that is not there": hubs[0].To("n9." + strings.Repeat("A", 26)), "nobody of this node": hubs[0].To("n1.X"),
			"an exception": hubs[0].To(ann1.ID()).Except(ann1), "nothing": hubs[0].To(""),
		} {
			if err := a.Send(t.Context(), wshub.Text("x")); !errors.Is(err, wshub.ErrNoSession) {
				t.Errorf("%s: %v", what, err)
			}
			if err := a.Close(t.Context(), 4000, ""); !errors.Is(err, wshub.ErrNoSession) {
				t.Errorf("close %s: %v", what, err)
			}
			if err := a.Leave(t.Context(), "room"); !errors.Is(err, wshub.ErrNoSession) {
				t.Errorf("%s leaves: %v", what, err)
			}
			if n, err := a.Count(t.Context()); n != 0 || err != nil {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
		for _, a := range []wshub.Audience{hubs[2].Everyone(), hubs[2].User("ann"), hubs[2].To(bob.ID())} {
			if err := a.Send(t.Context(), wshub.Text("\xff")); !errors.Is(err, wshub.ErrUTF8) {
				t.Errorf("%v: %v", a, err)
			}
			if err := a.Send(t.Context(), wshub.Message{}); !errors.Is(err, wshub.ErrKind) {
				t.Errorf("%v: %v", a, err)
			}
		}
		expect("")
	})
}

// Kicks reach those they mean on all nodes.
func TestClusterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hubs := nodes(t, 2, wshub.Authenticate(asQuery))
		_, ann1 := client(t, hubs[0], wshubtest.WithPath("/?as=ann"))
		_, ann2 := client(t, hubs[1], wshubtest.WithPath("/?as=ann"))
		bob, bob2 := client(t, hubs[1], wshubtest.WithPath("/?as=bob"))
		here, c1 := client(t, hubs[0])
		_, c2 := client(t, hubs[1])
		synctest.Wait()
		kick := func(a wshub.Audience, code wshub.StatusCode) {
			t.Helper()
			if err := a.Close(t.Context(), code, "for "+a.String()+strings.Repeat("ü", 100)); err != nil {
				t.Errorf("%v: %v", a, err)
			}
		}
		kick(hubs[0].User("ann"), 4001)
		ann1.ExpectClose(4001)
		if reason := ann2.ExpectClose(4001); !strings.HasPrefix(reason, `for user "ann"`) || len(reason) > 123 {
			t.Errorf("the reason is %q", reason)
		}
		kick(hubs[0].To(bob.ID()), 4002)
		bob2.ExpectClose(4002)
		kick(hubs[0].Everyone().Except(here), 4003)
		c2.ExpectClose(4003)
		c1.ExpectNothing()
		kick(hubs[1].Everyone(), 4004)
		c1.ExpectClose(4004)
		if err := hubs[0].User("ann").Close(t.Context(), 1005, ""); err == nil {
			t.Error("a code that must not be sent")
		}
		for _, c := range []*wshubtest.Client{ann1, ann2, bob2, c1, c2} {
			<-c.Done()
		}
	})
}

// Sessions are taken out of topics on all nodes.
func TestClusterLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hubs := nodes(t, 2, wshub.Authenticate(asQuery))
		room := topics[string](t, hubs, "room", wshub.Policy{})
		var all [2][]*wshub.Session
		for i, h := range hubs {
			for _, as := range []string{"/?as=ann", "/?as=bob", "/"} {
				s, _ := client(t, h, wshubtest.WithPath(as))
				join(t, room[i], s)
				all[i] = append(all[i], s)
			}
		}
		leave := func(a wshub.Audience, n1, n2 int) {
			t.Helper()
			if err := a.Leave(t.Context(), "room"); err != nil {
				t.Errorf("%v: %v", a, err)
			}
			synctest.Wait()
			if a, b := room[0].Len(), room[1].Len(); a != n1 || b != n2 {
				t.Errorf("%d and %d members are left, want %d and %d", a, b, n1, n2)
			}
		}
		leave(hubs[0].User("ann"), 2, 2)
		leave(hubs[0].User("ann"), 2, 2) // they may be elsewhere
		leave(hubs[0].To(all[1][1].ID()), 2, 1)
		leave(hubs[1].Everyone().Except(all[1][2]), 0, 1)
		leave(hubs[0].Everyone(), 0, 0)
		if err := hubs[0].To(all[0][0].ID()).Leave(t.Context(), "room"); !errors.Is(err, wshub.ErrNotMember) {
			t.Errorf("one of this node: %v", err)
		}
		for _, name := range []string{"", "\xff", strings.Repeat("x", 256)} {
			if err := hubs[0].To(all[0][0].ID()).Leave(t.Context(), name); !errors.Is(err, wshub.ErrNotMember) {
				t.Errorf("%q: %v", name, err)
			}
			hubs[0].Everyone().Leave(t.Context(), name)
		}
		for _, h := range hubs {
			if h.Len() != 3 {
				t.Errorf("%d sessions", h.Len())
			}
		}
	})
}

// Counts are those of all nodes: of everyone at once, of users and sessions by asking.
func TestClusterCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 3, wshub.Authenticate(asQuery))
		s1, c1 := client(t, hubs[0], wshubtest.WithPath("/?as=ann"))
		s2, _ := client(t, hubs[1], wshubtest.WithPath("/?as=ann"))
		client(t, hubs[1], wshubtest.WithPath("/?as=bob"))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		count := func(a wshub.Audience, want int) {
			t.Helper()
			if got, err := a.Count(t.Context()); got != want || err != nil {
				t.Errorf("%v: %d, %v, want %d", a, got, err, want)
			}
		}
		for _, h := range hubs {
			count(h.Everyone(), 3)
			count(h.User("ann"), 2)
			count(h.User("bob"), 1)
			count(h.User("nobody"), 0)
			count(h.To(s1.ID()), 1)
			count(h.To(s2.ID()), 1)
			count(h.To(s2.ID()+"x"), 0)
		}
		count(hubs[0].Everyone().Except(s1), 2)
		count(hubs[0].User("ann").Except(s1), 1)
		count(hubs[0].To(s1.ID()).Except(s1), 0)
		got := map[string]int{}
		for n := range hubs[1].Nodes() {
			got[n.ID] = n.Sessions
			if n.Here != (n.ID == "n2") || n.Since.IsZero() {
				t.Errorf("%+v", n)
			}
		}
		if len(got) != 3 || got["n1"] != 1 || got["n2"] != 2 || got["n3"] != 0 {
			t.Errorf("the nodes are %v", got)
		}
		c1.Close(1000, "")
		time.Sleep(6 * time.Second)
		synctest.Wait()
		for _, h := range hubs {
			count(h.Everyone(), 2)
			count(h.User("ann"), 1)
			count(h.To(s1.ID()), 0)
		}

		m.Partition([]string{"n1"}, []string{"n2", "n3"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n, err := hubs[0].User("ann").Count(ctx); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("asking those who do not answer: %d, %v", n, err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		count(hubs[0].Everyone(), 0)
		count(hubs[0].User("ann"), 0)
		count(hubs[1].Everyone(), 2)
		if n := hubs[0].Stats().Bus.Evicted; n != 2 {
			t.Errorf("%d nodes were given up", n)
		}
		m.Partition()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		count(hubs[0].Everyone(), 2)
		count(hubs[0].User("ann"), 1)
	})
}

// A session that takes nothing makes nobody else wait, and gets all in order when there is room again; what does not fit at
// all is told.
func TestClusterSendToSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dropped uint64
		_, hubs := nodes(t, 2, wshub.Authenticate(asQuery), wshub.WithKeepAlive(0, 0), wshub.WithWriteTimeout(time.Hour),
			wshub.WithObserver(wshub.Observer{Dropped: func(e wshub.Event) { dropped += e.N }}))
		_, slow := client(t, hubs[1], wshubtest.WithPath("/?as=slow"))
		_, quick := client(t, hubs[1], wshubtest.WithPath("/?as=quick"))
		synctest.Wait()
		slow.Stall()
		text := strings.Repeat("x", 4<<10)
		const n = 600 // more than a mailbox, less than two and what is on its way
		for range n {
			if err := hubs[0].User("slow").Send(t.Context(), wshub.Text(text)); err != nil {
				t.Fatal(err)
			}
		}
		hubs[0].User("quick").Send(t.Context(), wshub.Text("hi"))
		quick.ExpectText("hi")
		for range n {
			hubs[0].User("slow").Send(t.Context(), wshub.Text(text))
		}
		synctest.Wait()
		lost := hubs[1].Stats().Bus.Undelivered
		if lost == 0 || lost != dropped {
			t.Errorf("%d messages had no room, %d were told", lost, dropped)
		}
		hubs[0].User("quick").Send(t.Context(), wshub.Text("there"))
		quick.ExpectText("there")
		slow.Resume()
		for range 2*n - int(lost) {
			slow.ExpectText(text)
		}
		hubs[0].User("slow").Send(t.Context(), wshub.Text("last"))
		slow.ExpectText("last")
	})
}

// A session that gets another user is reached as that one, from all nodes.
func TestClusterSetUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 2)
		s, c := client(t, hubs[1])
		for _, user := range []string{"ann", "bob", strings.Repeat("ü", 300), "ann"} {
			if err := s.SetUser(user); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if err := hubs[0].User(user).Send(t.Context(), wshub.Text("to "+user)); err != nil {
				t.Error(err)
			}
			c.ExpectText("to " + user)
		}
		if err := hubs[0].User("bob").Send(t.Context(), wshub.Text("late")); err != nil {
			t.Error(err)
		}
		c.ExpectNothing()
		s.SetUser("")
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := m.Stats().Subjects; got != 4 {
			t.Errorf("%d subjects, want those of all, of control and of both nodes", got)
		}
		hubs[0].User("ann").Send(t.Context(), wshub.Text("gone"))
		synctest.Wait()
		if got := m.Delivered("n2", "wshub.u.ann").Messages; got != 2 {
			t.Errorf("%d messages for ann came", got)
		}
	})
}

// A session that is not admitted is nobody's, and one of a user is when it is.
func TestClusterAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hubs := nodes(t, 2, wshub.WithAdmission(time.Minute))
		s, c := client(t, hubs[1])
		time.Sleep(6 * time.Second)
		synctest.Wait()
		hubs[0].Everyone().Send(t.Context(), wshub.Text("to those admitted"))
		if err := hubs[0].To(s.ID()).Send(t.Context(), wshub.Text("to it")); err != nil {
			t.Error(err)
		}
		c.ExpectNothing()
		if n, err := hubs[0].Everyone().Count(t.Context()); n != 0 || err != nil {
			t.Errorf("%d sessions, %v", n, err)
		}
		s.SetUser("ann")
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if n, err := hubs[0].Everyone().Count(t.Context()); n != 1 || err != nil {
			t.Errorf("%d sessions, %v", n, err)
		}
		hubs[0].Everyone().Send(t.Context(), wshub.Text("to all"))
		c.ExpectText("to all")
		hubs[0].To(s.ID()).Send(t.Context(), wshub.Text("to it"))
		c.ExpectText("to it")
	})
}
