package mesh

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

func TestPitfall30Close(t *testing.T) {
	t.Run("before anything", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			n := New(Config{Bus: m.Bus(), Node: "here", Interval: time.Second, Host: &planeHost{}, Everyone: &planeTopic{}})
			if err := n.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if err := n.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("with a ctx that has ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			n := newPlane(t, m.Bus())
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = n.Close(ctx)
		})
	})
	t.Run("while the bus is down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			m.Down()
			n := newPlane(t, m.Bus())
			n.Topic("room", 1, nil).Want()
			synctest.Wait()
			if err := n.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("flushes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			s := &scripted{Bus: m.Bus()}
			a, b := newPlane(t, s), newPlane(t, m.Bus(), func(c *Config) { c.Node = "there" })
			s.set(func() {
				s.publish = func(ctx context.Context, batch []cluster.Message) (int, error) {
					time.Sleep(time.Second)
					return s.Bus.Publish(ctx, batch...)
				}
			})
			for range 100 {
				a.Everyone().Publish(text("x"))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			again := make(chan error)
			go func() { again <- a.Close(t.Context()) }()
			if err := a.Close(ctx); err != nil {
				t.Error(err)
			}
			if err := <-again; err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if got := len(b.everyone.take()); got != 100 {
				t.Errorf("%d arrived", got)
			}
			if s := a.Stats(); s.Failed != 0 {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("with a bus that hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			s, _ := gate(m.Bus())
			hang := func(ctx context.Context, _ []string) error { <-ctx.Done(); return ctx.Err() }
			s.subscribe, s.unsubscribe = hang, hang
			n := newPlane(t, s)
			n.Topic("room", 1, nil).Want()
			sure := make(chan error, 1)
			go func() { sure <- n.Everyone().PublishSure(t.Context(), text("x")) }()
			synctest.Wait()
			start := time.Now()
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("no more time"))
			defer cancel()
			if err := n.Close(ctx); err == nil || err.Error() != "no more time" {
				t.Errorf("Close = %v", err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("Close took %v", d)
			}
			if err := <-sure; err == nil {
				t.Error("PublishSure of what was left is nil")
			}
		})
	})
	t.Run("in more haste than before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			s, _ := gate(m.Bus())
			n := newPlane(t, s)
			for range 3 {
				n.Everyone().Publish(text("x"))
				synctest.Wait()
			}
			first := make(chan error, 1)
			go func() { first <- n.Close(t.Context()) }()
			synctest.Wait()
			start := time.Now()
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("no more time"))
			defer cancel()
			if err := n.Close(ctx); err == nil || err.Error() != "no more time" {
				t.Errorf("Close = %v", err)
			}
			if d := time.Since(start); d != time.Second {
				t.Errorf("Close took %v, and has 1 s", d)
			}
			if err := <-first; err == nil || err.Error() != "no more time" {
				t.Errorf("the first Close = %v", err)
			}
		})
	})
	t.Run("everything after it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			n := newPlane(t, m.Bus())
			_ = n.Close(t.Context())
			topic := n.Topic("room", 1, &planeTopic{})
			topic.Want()
			topic.Await(t.Context())
			topic.Publish(text("x"))
			topic.Unwant()
			n.WantUser("ann")
			n.UnwantUser("ann")
			n.Send(To{ToUser, "ann"}, Payload{})
			n.post("wshub.c", firstControl, nil)
			n.nudge()
			n.do(func() { t.Error("called after Close") })
			_, _ = topic.Next()
			if s := n.Stats(); s.Failed == 0 {
				t.Errorf("%+v", s)
			}
		})
	})
}

// TestStates: each state is told, and known.
func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, cluster.WithQueue(1))
		conn := m.Bus()
		n := newPlane(t, conn)
		expect := func(want ...cluster.State) {
			t.Helper()
			synctest.Wait()
			n.host.mu.Lock()
			defer n.host.mu.Unlock()
			var got []cluster.State
			for _, s := range n.host.states {
				got = append(got, s.State)
			}
			n.host.states = nil
			if len(got) != len(want) {
				t.Fatalf("told %v, want %v", got, want)
			}
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("told %v, want %v", got, want)
				}
			}
			if len(want) > 0 {
				if s, _ := n.State(); s != want[len(want)-1] {
					t.Errorf("State is %v", s)
				}
			}
		}
		expect(cluster.StateUp)
		conn.Down()
		expect(cluster.StateDown)
		if _, err := n.State(); !errors.Is(err, cluster.ErrDown) {
			t.Errorf("State says %v", err)
		}
		conn.Up()
		expect(cluster.StateUp)
		if _, err := n.State(); err != nil {
			t.Errorf("State says %v", err)
		}

		// The bus ends by itself.
		_ = conn.Close()
		expect(cluster.StateClosed)
		n.Everyone().Publish(text("x"))
		time.Sleep(time.Second)
		n.host.mu.Lock()
		if n.host.failed == 0 || !errors.Is(n.host.cause, cluster.ErrClosed) {
			t.Errorf("failed %d, %v", n.host.failed, n.host.cause)
		}
		n.host.mu.Unlock()
	})
}

// TestLost: what the bus says that it lost is counted.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := newQuietBus()
		n := newPlane(t, bus)
		bus.status <- cluster.Status{State: cluster.StateUp, Lost: 3}
		synctest.Wait()
		bus.status <- cluster.Status{State: cluster.StateUp, Lost: 4}
		synctest.Wait()
		if s := n.Stats(); s.Lost != 7 {
			t.Errorf("%+v", s)
		}
	})
}

// TestFaults: whatever a network does to them, values are in order, none comes twice, and what is missing is told.
func TestFaults(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t, cluster.WithSeed(seed))
			a, b := newPlane(t, m.Bus()), newPlane(t, m.Bus(), func(c *Config) { c.Node = "there" })
			room := &planeTopic{}
			topic := a.Topic("room", 1, nil)
			b.Topic("room", 1, room).Want()
			synctest.Wait()
			topic.Publish(text("first"))
			synctest.Wait()
			m.SetFaults(cluster.Faults{Drop: 0.1, MaxDelay: 50 * time.Millisecond, Duplicate: 0.1, Reorder: 0.1})
			for range 1000 {
				topic.Publish(text("x"))
				time.Sleep(time.Millisecond)
			}
			m.SetFaults(cluster.Faults{})
			time.Sleep(time.Second)
			topic.Publish(text("last"))
			synctest.Wait()
			last, got := uint64(0), uint64(0)
			for _, v := range room.take() {
				if v.Number <= last {
					t.Fatalf("seed %d: %d after %d", seed, v.Number, last)
				}
				last = v.Number
				got++
			}
			if s := b.Stats(); last != 1002 || got+s.Missing != 1002 || s.Gaps == 0 || s.Repeated == 0 {
				t.Errorf("seed %d: the last is %d, %d came, %+v", seed, last, got, s)
			}
		})
	}
}

// TestPitfall32Hostile: garbage of all kinds does no more than being counted.
func TestPitfall32Hostile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		n := newPlane(t, m.Bus())
		n.WantUser("ann")
		topic := &planeTopic{}
		n.Topic("room", 1, topic).Want()
		synctest.Wait()
		before := n.Stats()
		from := newRaw(t, m.Bus(), 7)
		good := envelope{kind: kindValue, origin: 7, epoch: 1, number: 1, key: []byte("k"), payload: []byte("hello")}
		data := good.append(nil)
		sent := uint64(0)
		for _, subject := range []string{subjectAll, "wshub.t.room", "wshub.u.ann", n.subject} {
			for i := range data {
				for _, b := range []byte{0, 1, 0x7F, 0x80, 0xFF} {
					broken := append([]byte(nil), data...)
					broken[i] = b
					if broken[2] >= byte(firstControl) {
						continue
					}
					from.publish(subject, broken)
					from.publish(subject, broken[:i])
					sent += 2
				}
			}
		}
		s := n.Stats()
		if s.Received-before.Received != sent || s.Malformed == 0 || s.Foreign == 0 || s.ReceivedBytes <= before.ReceivedBytes {
			t.Errorf("%d were sent, %+v", sent, s)
		}
		a := newRaw(t, m.Bus(), 8)
		a.value("wshub.t.room", 1, 1)
		if values := topic.take(); len(values) == 0 || values[len(values)-1].Origin != 8 {
			t.Error("the node is deaf")
		}
	})
}
