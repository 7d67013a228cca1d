package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
)

// While the bus is down those here get what is published here, without an error; it is told. Afterwards all is as before,
// and what was missed is a gap.
func TestPitfall31BusDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bus, gaps []wshub.Event
		m := cluster.NewMemory()
		t.Cleanup(m.Close)
		observer := wshub.WithObserver(wshub.Observer{
			Bus: func(e wshub.Event) { bus = append(bus, e) },
			Gap: func(e wshub.Event) { gaps = append(gaps, e) },
		})
		h1, _ := newNode(t, m, "n1")
		h2, _ := newNode(t, m, "n2", observer)
		hubs := []*wshub.Hub{h1, h2}
		acquaint(t, hubs...)
		room := topics[string](t, hubs, "room", wshub.Policy{})
		s1, c1 := client(t, hubs[0])
		s2, c2 := client(t, hubs[1])
		join(t, room[0], s1)
		join(t, room[1], s2)
		publish(t, room[0], "1")
		c1.ExpectText("1")
		c2.ExpectText("1")
		hubs[0].Everyone().Send(t.Context(), wshub.Text("all up"))
		c1.ExpectText("all up")
		c2.ExpectText("all up")
		if h := hubs[1].Health(); h.Bus != "up" || h.BusError != "" || h.Nodes != 2 || !h.Ready {
			t.Errorf("%+v", h)
		}

		bus = nil
		m.Down()
		synctest.Wait()
		publish(t, room[0], "2", "3")
		c1.ExpectText("2")
		c1.ExpectText("3")
		if err := hubs[0].Everyone().Send(t.Context(), wshub.Text("all")); err != nil {
			t.Error(err)
		}
		c1.ExpectText("all")
		if err := hubs[0].User("x").Send(t.Context(), wshub.Text("user")); err != nil {
			t.Error(err)
		}
		late, cLate := client(t, hubs[1])
		start := time.Now()
		join(t, room[1], late)
		if d := time.Since(start); d > 0 {
			t.Errorf("a join took %v", d)
		}
		publish(t, room[1], "there")
		c2.ExpectText("there")
		cLate.ExpectText("there")
		synctest.Wait()
		for _, h := range hubs {
			v := h.Health()
			if v.Bus != "down" || !v.Ready || v.Status != "ready" {
				t.Errorf("%+v", v)
			}
			if h.Stats().Bus.Failed == 0 {
				t.Error("nothing has failed")
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		var failed uint64
		for _, e := range bus {
			failed += e.N
			if e.Name != "down" || e.Cause != nil && !errors.Is(e.Cause, wshub.ErrBus) {
				t.Errorf("%+v", e)
			}
		}
		if failed != hubs[1].Stats().Bus.Failed || len(bus) < 2 {
			t.Errorf("%d messages were told to have failed, %d have, in %+v", failed, hubs[1].Stats().Bus.Failed, bus)
		}

		bus = nil
		m.Up()
		synctest.Wait()
		if len(bus) != 1 || bus[0].Name != "up" {
			t.Errorf("told: %+v", bus)
		}
		publish(t, room[0], "4")
		c2.ExpectText("4")
		cLate.ExpectText("4")
		hubs[0].Everyone().Send(t.Context(), wshub.Text("all again"))
		c2.ExpectText("all again")
		synctest.Wait()
		var told []string
		for _, e := range gaps {
			told = append(told, fmt.Sprintf("%s %q %d-%d %d", e.Origin, e.Topic, e.From, e.To, e.N))
		}
		if want := []string{`n1 "room" 2-3 2`, `n1 "" 2-2 1`}; !slices.Equal(told, want) {
			t.Errorf("the gaps are %q, want %q", told, want)
		}
		if s := hubs[1].Stats().Bus; s.Gaps != 2 || s.Missing != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// A value that is lost as the last one is told too, by a heartbeat.
func TestPitfall51GapAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 2)
		events := hubs[1].Events(t.Context(), wshub.Policy{})
		room := topics[string](t, hubs, "room", wshub.Policy{})
		s, c := client(t, hubs[1])
		join(t, room[1], s)
		publish(t, room[0], "1")
		c.ExpectText("1")
		m.Tap(func(d cluster.Delivery) bool { return d.Subject != "wshub.t.room" })
		publish(t, room[0], "2", "3")
		synctest.Wait()
		m.Tap(nil)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		for e := range events.C() {
			if e.Kind == wshub.EventGap {
				if e.Topic != "room" || e.From != 2 || e.To != 3 || e.N != 2 || e.Origin != "n1" {
					t.Errorf("%+v", e)
				}
				return
			}
		}
	})
}

// A bus that has given up makes the node not ready. Its own sessions are served.
func TestClusterBusClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := cluster.NewMemory()
		h, bus := newNode(t, m, "n1")
		room := newTopic[string](t, h, "room", wshub.Policy{})
		s, c := client(t, h)
		join(t, room, s)
		events := h.Events(t.Context(), wshub.Policy{})
		bus.Close()
		for e := range events.C() { // that it is up may be told late, and a beat may fail before the end is told
			if e.Kind == wshub.EventBus && e.Name == "closed" {
				break
			}
			if e.Kind != wshub.EventBus || e.Name != "up" || (e.N > 0) != errors.Is(e.Cause, wshub.ErrBus) {
				t.Errorf("%+v", e)
			}
		}
		if v := h.Health(); v.Bus != "closed" || v.Ready || v.Status != "bus closed" || !v.Live {
			t.Errorf("%+v", v)
		}
		publish(t, room, "here")
		c.ExpectText("here")
		other, _ := client(t, h)
		join(t, newTopic[string](t, h, "new", wshub.Policy{}), other)
		h.Close()
		if v := h.Health(); v.Status != "closed" {
			t.Errorf("%+v", v)
		}
	})
}

// Two nodes of one id are told to both.
func TestPitfall32TwoNodesOfOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := cluster.NewMemory()
		t.Cleanup(m.Close)
		var conflicts [2]int
		for i, name := range []string{"first", "second"} {
			newHub(t, wshub.WithBus(m.Connect(name)), wshub.WithNode("same"), wshub.WithLogger(nil),
				wshub.WithObserver(wshub.Observer{Bus: func(e wshub.Event) {
					if errors.Is(e.Cause, wshub.ErrNodeConflict) && e.Origin == "same" {
						conflicts[i]++
					}
				}}))
			synctest.Wait()
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if conflicts != [2]int{1, 1} {
			t.Errorf("told: %v, want once each", conflicts)
		}
	})
}

// What is no message of a hub's is counted and skipped, and so is what comes twice.
func TestPitfall32HostileBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 2)
		room := topics[string](t, hubs, "room", wshub.Policy{})
		s, c := client(t, hubs[1])
		join(t, room[1], s)
		evil := m.Connect("evil")
		defer evil.Close()
		evil.Subscribe(t.Context(), "wshub.t.room")
		publish(t, room[0], "a value")
		c.ExpectText("a value")
		real := (<-evil.Receive()).Data

		for n := range real {
			for _, subject := range []string{"wshub.t.room", "wshub.c", "wshub.n.n2"} {
				evil.Publish(t.Context(), cluster.Message{Subject: subject, Data: real[:n]})
			}
		}
		evil.Publish(t.Context(), cluster.Message{Subject: "wshub.t.room", Data: real}) // replayed
		other := slices.Clone(real)
		other[0]++ // of another version
		evil.Publish(t.Context(), cluster.Message{Subject: "wshub.t.room", Data: other})
		synctest.Wait()
		c.ExpectNothing()
		payload := uint64(len("a value"))
		if s := hubs[1].Stats().Bus; s.Repeated != 1+payload || s.Malformed+s.Foreign < 3*(uint64(len(real))-payload) {
			t.Errorf("%+v of %d", s, len(real))
		}

		// Bytes that are changed under way: no text any more.
		m.Tap(func(d cluster.Delivery) bool {
			if d.From != "n1" || d.To != "n2" || d.Subject != "wshub.t.room" {
				return true
			}
			data := []byte(strings.ReplaceAll(string(d.Data), "value", "val\xffe"))
			go evil.Publish(context.Background(), cluster.Message{Subject: d.Subject, Data: data})
			return false
		})
		publish(t, room[0], "a value")
		synctest.Wait()
		c.ExpectNothing()
		if n := hubs[1].Stats().Bus.Invalid; n != 1 {
			t.Errorf("%d values are invalid", n)
		}
		m.Tap(nil)
		publish(t, room[0], "good")
		c.ExpectText("good")
	})
}

// With keys nothing passes that is not signed; without, nothing that is. Keys are changed one after the other.
func TestPitfall46Signing(t *testing.T) {
	old, young := []byte("0123456789abcdef"), []byte("fedcba9876543210!")
	synctest.Test(t, func(t *testing.T) {
		m := cluster.NewMemory()
		t.Cleanup(m.Close)
		keys := map[string][][]byte{"old": {old}, "both": {old, young}, "turned": {young, old}, "young": {young}, "none": nil}
		hubs, rooms, clients := map[string]*wshub.Hub{}, map[string]wshub.Topic[string]{}, map[string]interface{ ExpectText(string) }{}
		quiet := map[string]interface{ ExpectNothing() }{}
		for name, k := range keys {
			var opts []wshub.Option
			if k != nil {
				opts = append(opts, wshub.WithSigning(k...))
			}
			hubs[name], _ = newNode(t, m, name, opts...)
			rooms[name] = newTopic[string](t, hubs[name], "room", wshub.Policy{})
			s, c := client(t, hubs[name])
			join(t, rooms[name], s)
			clients[name], quiet[name] = c, c
		}
		synctest.Wait()
		for from, to := range map[string][]string{
			"old": {"old", "both", "turned"}, "both": {"old", "both", "turned"}, "turned": {"both", "turned", "young"},
			"young": {"both", "turned", "young"}, "none": {"none"},
		} {
			publish(t, rooms[from], "from "+from)
			synctest.Wait()
			for name := range hubs {
				if slices.Contains(to, name) {
					clients[name].ExpectText("from " + from)
				} else {
					quiet[name].ExpectNothing()
				}
			}
		}
		for name, h := range hubs {
			s := h.Stats().Bus
			if name != "both" && name != "turned" && s.Unsigned == 0 || s.Malformed+s.Foreign+s.Replayed > 0 {
				t.Errorf("%s: %+v", name, s)
			}
		}
		m.SetFaults(cluster.Faults{Duplicate: 1})
		publish(t, rooms["old"], "twice")
		synctest.Wait()
		clients["both"].ExpectText("twice")
		quiet["both"].ExpectNothing()
		if s := hubs["both"].Stats().Bus; s.Replayed == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A hub that shuts down tells the others, who forget it at once; its bus is closed.
func TestClusterShutdown(t *testing.T) {
	for name, end := range map[string]func(*wshub.Hub) error{
		"shutdown": func(h *wshub.Hub) error { return h.Shutdown(context.Background()) },
		"close":    (*wshub.Hub).Close,
		"twice":    func(h *wshub.Hub) error { return errors.Join(h.Close(), h.Shutdown(context.Background()), h.Close()) },
		"no time": func(h *wshub.Hub) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			h.Shutdown(ctx)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, hubs := nodes(t, 2, wshub.Authenticate(asQuery))
				room := topics[string](t, hubs, "room", wshub.Policy{})
				s, c := client(t, hubs[0])
				join(t, room[0], s)
				stay, cStay := client(t, hubs[1])
				join(t, room[1], stay)
				time.Sleep(6 * time.Second)
				synctest.Wait()
				if n, _ := hubs[1].Everyone().Count(t.Context()); n != 2 {
					t.Errorf("%d sessions", n)
				}
				publish(t, room[0], "last")
				start := time.Now()
				if err := end(hubs[0]); err != nil {
					t.Error(err)
				}
				if d := time.Since(start); d > 0 {
					t.Errorf("it took %v", d)
				}
				<-c.Done()
				synctest.Wait()
				if name != "no time" { // no goodbye either
					cStay.ExpectText("last")
					if n, _ := hubs[1].Everyone().Count(t.Context()); n != 1 || hubs[1].Health().Nodes != 1 {
						t.Errorf("%d sessions, %d nodes", n, hubs[1].Health().Nodes)
					}
				}
				if n := m.Stats().Connections; n != 1 {
					t.Errorf("%d connections", n)
				}
				if v := hubs[0].Health(); v.Bus != "closed" || v.Status != "closed" {
					t.Errorf("%+v", v)
				}
				if err := room[0].Publish(t.Context(), "x"); !errors.Is(err, wshub.ErrClosed) {
					t.Errorf("publish: %v", err)
				}
				if err := hubs[0].User("ann").Send(t.Context(), wshub.Text("x")); !errors.Is(err, wshub.ErrClosed) {
					t.Errorf("send: %v", err)
				}
				if n, err := hubs[0].User("ann").Count(t.Context()); n != 0 || err != nil {
					t.Errorf("count: %d, %v", n, err)
				}
			})
		})
	}
}

// A New that fails leaves the bus to its caller, and a hub that was never used leaves nothing.
func TestClusterNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := cluster.NewMemory()
		bus := m.Bus()
		if _, err := wshub.New(wshub.WithBus(bus), wshub.WithReadLimit(-1)); err == nil {
			t.Error("a hub with a bad option")
		}
		if err := bus.Subscribe(t.Context(), "x"); err != nil {
			t.Errorf("the bus: %v", err)
		}
		h, err := wshub.New(wshub.WithBus(bus), wshub.WithLogger(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := bus.Subscribe(t.Context(), "x"); !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("the bus: %v", err)
		}
		alone := newHub(t, wshub.WithBus(nil))
		if v := alone.Health(); v.Bus != "" || v.Nodes != 0 || alone.Stats().Bus != (wshub.BusStats{}) {
			t.Errorf("without a bus: %+v", v)
		}
		for n := range alone.Nodes() {
			if n.ID != alone.Node() || !n.Here || n.Since.IsZero() {
				t.Errorf("%+v", n)
			}
		}
		m.Close()
	})
	for want, opts := range map[string][]wshub.Option{
		"WithSigning without WithBus":        {wshub.WithSigning(make([]byte, 16))},
		"WithSigning: no key":                {wshub.WithBus(cluster.NewMemory().Bus()), wshub.WithSigning()},
		"WithSigning: key 2 has 15 bytes":    {wshub.WithBus(cluster.NewMemory().Bus()), wshub.WithSigning(make([]byte, 16), make([]byte, 15))},
		"WithPresence: interval of 99ms":     {wshub.WithPresence(99*time.Millisecond, 0)},
		"WithPresence: interval of 1m0.001s": {wshub.WithPresence(time.Minute+time.Millisecond, 0)},
		"WithPresence: grace of -1s":         {wshub.WithPresence(time.Second, -time.Second)},
		"WithPresence: grace of 1m0.001s":    {wshub.WithPresence(time.Second, time.Minute+time.Millisecond)},
	} {
		if _, err := wshub.New(opts...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
