package fanout

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/internal/wire"
)

func TestControlLane(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c := newClient(e)
		m := c.join(t, topic, lossless)
		c.conn.queueControl(wire.OpPong, "pong1")
		c.Visit()
		c.conn.stall(1)
		publish(t, topic, "1", "2")
		synctest.Wait()
		c.conn.queueControl(wire.OpPong, "pong2") // goes in front of what is not begun
		c.Visit()
		synctest.Wait()
		c.conn.resume()
		synctest.Wait()
		wants(t, "client", c.conn.received(), "pong1 1 pong2 2")

		// A close frame ends the data; it leaves although the client reads slowly.
		c.conn.stall(1)
		publish(t, topic, "3", "4")
		synctest.Wait()
		c.conn.queueControl(wire.OpClose, "close")
		c.conn.queueControl(wire.OpPing, "never") // a conn that gives more after its close frame
		c.Visit()
		publish(t, topic, "5")
		synctest.Wait()
		c.conn.stall(4)
		synctest.Wait()
		if c.owner.told() != (told{}) || c.conn.closed != 0 {
			t.Errorf("while the close frame is begun: %+v", c.owner.told())
		}
		c.conn.resume()
		synctest.Wait()
		c.conn.queueControl(wire.OpPing, "late")
		c.Visit()
		publish(t, topic, "6")
		synctest.Wait()
		wants(t, "client", c.conn.received(), "pong1 1 pong2 2 3 close never")
		if c.owner.told() != (told{closed: 1}) || c.conn.closed != 1 {
			t.Errorf("owner was told %+v, conn %d", c.owner.told(), c.conn.closed)
		}
		if got, want := m.Tally(), (Tally{Offered: 5, Sent: 3, Undelivered: 2}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		c.Detach()
		resting(t, topic)
	})
}

func TestSeal(t *testing.T) {
	for _, x := range []struct {
		name    string
		stalled bool
		rule    *Rule
	}{
		{"reading", false, lossless},
		{"stalled", true, lossless},
		{"stalled, coalescing", true, &Rule{Coalesce: true, N: 1}},
		{"stalled, drop newest", true, &Rule{Overflow: DropNewest, N: 10}},
		{"rate", false, &Rule{Overflow: DropOldest, N: 10, Limit: 0.001, Burst: 1}},
		{"flush", false, &Rule{Overflow: DropOldest, N: 10, Flush: time.Hour}},
	} {
		t.Run(x.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				c := newClient(e)
				m, err := topic.Join(c.Subscriber, x.rule, func(any) bool { return true }, 0)
				if err != nil {
					t.Fatal(err)
				}
				if x.stalled {
					c.conn.stall(1)
				}
				publishEntry(t, topic, keyed(1, "1"))
				send(t, c.Subscriber, "d")
				publishEntry(t, topic, keyed(2, "2"))
				synctest.Wait()
				c.Seal()
				c.Seal()
				publishEntry(t, topic, keyed(3, "3"))
				if err := c.TrySend(entry("x")); err != ErrStopped {
					t.Errorf("TrySend after Seal: %v", err)
				}
				if _, err := newTopic(e).Join(c.Subscriber, lossless, nil, 0); err != ErrStopped {
					t.Errorf("Join after Seal: %v", err)
				}
				synctest.Wait()
				if x.stalled {
					if c.owner.told() != (told{}) {
						t.Errorf("stalled: %+v", c.owner.told())
					}
					c.conn.resume()
					synctest.Wait()
				}
				if got := c.conn.received(); len(got) != 3 {
					t.Errorf("received %q", got)
				}
				if c.owner.told() != (told{flushed: 1}) {
					t.Errorf("owner was told %+v", c.owner.told())
				}
				c.Detach()
				if got, want := m.Tally(), (Tally{Offered: 3, Sent: 2, Undelivered: 1}); got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
				resting(t, topic)
			})
		})
	}
}

// TestSealOfWhatWasNeverLookedAt seals a paced member before any look at its value.
func TestSealOfWhatWasNeverLookedAt(t *testing.T) {
	bubble(t, Config{Workers: 1}, func(t *testing.T, e *Engine) {
		first, topic := newTopic(e), newTopic(e)
		a, b := newClient(e), newClient(e)
		a.join(t, first, lossless)
		b.join(t, topic, &Rule{Overflow: DropOldest, N: 10, Limit: 1, Burst: 1, ByteLimit: 1, ByteBurst: 1})
		a.conn.hook = func() { // the only worker is here
			publish(t, topic, "1", "2")
			b.Seal()
		}
		publish(t, first, "x")
		synctest.Wait()
		wants(t, "b", b.conn.received(), "1 2")
		if b.owner.told() != (told{flushed: 1}) {
			t.Errorf("owner was told %+v", b.owner.told())
		}
	})
}

// TestSealBeforeFirstStamp seals before anything was published anywhere.
func TestSealBeforeFirstStamp(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c := newClient(e)
		c.join(t, topic, lossless)
		c.Seal()
		publish(t, topic, "1")
		synctest.Wait()
		wants(t, "client", c.conn.received(), "")
	})
}

func TestSealOfNothing(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		c := newClient(e)
		c.Seal()
		c.Stop()
		c.Detach()
		c.Detach()
		if c.owner.told() != (told{flushed: 1}) {
			t.Errorf("owner was told %+v", c.owner.told())
		}
		d := newClient(e)
		d.Stop()
		d.Seal()
		if d.owner.told() != (told{flushed: 1}) {
			t.Errorf("owner of a stopped one was told %+v", d.owner.told())
		}
	})
}

func TestStopDetachLeave(t *testing.T) {
	for _, how := range []string{"stop", "detach", "leave"} {
		for _, leaves := range []bool{true, false} { // whether the frame begun does
			t.Run(how, func(t *testing.T) {
				bubble(t, Config{}, func(t *testing.T, e *Engine) {
					topic := newTopic(e)
					c := newClient(e)
					m := c.join(t, topic, lossless)
					c.conn.stall(1)
					publish(t, topic, "1", "2", "3")
					synctest.Wait()
					switch how {
					case "stop":
						c.Stop()
					case "detach":
						c.Detach()
					case "leave":
						m.Leave()
					}
					if got, want := m.Tally(), (Tally{Offered: 3, Undelivered: 2, Pending: 1}); got != want {
						t.Errorf("%+v, want %+v", got, want)
					}
					publish(t, topic, "4")
					synctest.Wait()
					want := Tally{Offered: 3, Undelivered: 2, Sent: 1}
					if leaves {
						c.conn.resume()
					} else {
						want = Tally{Offered: 3, Undelivered: 3}
						c.conn.fail(os.ErrClosed)
					}
					synctest.Wait()
					if got := m.Tally(); got != want {
						t.Errorf("%+v, want %+v", got, want)
					}
					if got := topic.Tally(); got.Offered < 3 || got.Sent != want.Sent || got.Pending != 0 {
						t.Errorf("topic: %+v", got)
					}
					if n := c.Len(); (n == 1) != (how == "stop") {
						t.Errorf("%d memberships after %s", n, how)
					}
					if leaves && len(c.conn.received()) != 1 {
						t.Errorf("received %q", c.conn.received())
					}
					if !leaves && (c.owner.told().failed > 1 || how == "leave" && !errors.Is(c.owner.failed[0], os.ErrClosed)) {
						t.Errorf("owner was told %v", c.owner.failed)
					}
					c.Detach()
					if topic.Len() != 0 {
						t.Errorf("Len %d", topic.Len())
					}
					resting(t, topic)
				})
			})
		}
	}
}

func TestFailingWrite(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		a, b := newClient(e), newClient(e)
		m := a.join(t, topic, lossless)
		b.join(t, topic, lossless)
		a.conn.fail(os.ErrClosed)
		publish(t, topic, "1", "2")
		synctest.Wait()
		a.conn.queueControl(wire.OpClose, "close")
		a.Visit()
		synctest.Wait()
		wants(t, "b", b.conn.received(), "1 2")
		if a.owner.told() != (told{failed: 1}) || a.owner.failed[0] != os.ErrClosed {
			t.Errorf("owner was told %+v %v", a.owner.told(), a.owner.failed)
		}
		if got := m.Tally(); got.Offered != got.Undelivered || got.Offered == 0 {
			t.Errorf("%+v", got)
		}
		a.Detach()
		resting(t, topic)
	})
}

// TestSendAfterLook sends by a caller that has seen the subscriber open just before it was stopped.
func TestSendAfterLook(t *testing.T) {
	e := New(Config{})
	c := newClient(e)
	c.Stop()
	c.shut.Store(false) // as that caller saw it
	if err := c.TrySend(entry("x")); err != nil && err != ErrStopped {
		t.Errorf("TrySend: %v", err)
	}
	if err := c.TrySend(entry("x")); err != ErrStopped {
		t.Errorf("second TrySend: %v", err)
	}
	if a := e.Direct(); a.Pending != 0 || a.Offered != a.Undelivered {
		t.Errorf("Direct: %+v", a)
	}
}

// TestSendBesideStop races direct sends against the end: whatever Send accepted is accounted for, and the account never
// shows more decided than offered.
func TestSendBesideStop(t *testing.T) {
	e := New(Config{})
	rounds := 3000
	if raceEnabled || testing.Short() {
		rounds = 100
	}
	watch := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			select {
			case <-watch:
				return
			default:
			}
			if a := e.Direct(); a.Pending > a.Offered {
				t.Errorf("Direct: %+v", a)
				return
			}
		}
	})
	for range rounds {
		c := newClient(e)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for c.TrySend(entry("x")) == nil {
				}
			})
		}
		wg.Go(c.Stop)
		wg.Wait()
	}
	await(t, e)
	close(watch)
	watcher.Wait()
	if a := e.Direct(); a.Pending != 0 {
		t.Errorf("Direct at rest: %+v", a)
	}
}

// What is published after a seal does not push out what is still owed from before it, and is no claim on the log.
func TestSealBoundsPolicies(t *testing.T) {
	for name, rule := range map[string]*Rule{
		"drop oldest": {Overflow: DropOldest, N: 3},
		"drop newest": {Overflow: DropNewest, N: 4},
		"coalesce":    {Coalesce: true, N: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				c := newClient(e)
				m := c.join(t, topic, rule)
				c.conn.stall(1)
				for i := range 4 {
					publishEntry(t, topic, keyed(i, string(rune('a'+i))))
					synctest.Wait()
				}
				c.Seal()
				for i := range 10 {
					publishEntry(t, topic, keyed(i, string(rune('0'+i))))
					synctest.Wait()
				}
				if n, _ := topic.log.Retained(); n > 3 {
					t.Errorf("%d entries are retained", n)
				}
				c.conn.resume()
				synctest.Wait()
				wants(t, "conn", c.conn.received(), "a b c d")
				if got, want := m.Tally(), (Tally{Offered: 14, Sent: 4, Undelivered: 10}); got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
				if c.owner.told() != (told{flushed: 1}) {
					t.Errorf("owner was told %+v", c.owner.told())
				}
				c.Detach()
				resting(t, topic)
			})
		})
	}
}

// slowOwner holds a hook up.
type slowOwner struct {
	fakeOwner
	begun, goOn chan struct{}
}

func (o *slowOwner) Dropped(*Topic, uint64) {
	close(o.begun)
	<-o.goOn
}

// Told waits for hooks that another goroutine is calling.
func TestToldWaitsForHooks(t *testing.T) {
	e := New(Config{})
	topic := newTopic(e)
	o := &slowOwner{begun: make(chan struct{}), goOn: make(chan struct{})}
	conn := newConn()
	s := e.NewSubscriber(conn, o)
	if _, err := topic.Join(s, &Rule{Overflow: DropNewest, N: 1}, nil, 0); err != nil {
		t.Fatal(err)
	}
	conn.stall(1)
	publish(t, topic, "a", "b")
	<-o.begun
	s.Detach()
	told := make(chan struct{})
	go func() {
		s.Told()
		close(told)
	}()
	for range 1000 {
		runtime.Gosched()
	}
	select {
	case <-told:
		t.Error("Told has returned while a hook was running")
	default:
	}
	close(o.goOn)
	<-told
	conn.fail(errors.New("closed"))
	await(t, e)
}
