package fanout

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
)

// What is published after a seal evicts nobody: it would not have been written.
func TestSealedIsNotEvictedForWhatCameLater(t *testing.T) {
	for _, overflow := range []Overflow{Evict, Block} {
		t.Run(fmt.Sprint(overflow), func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				c := newClient(e)
				m := c.join(t, topic, &Rule{Overflow: overflow, N: 4, Age: time.Second})
				c.conn.stall(0)
				publish(t, topic, "1", "2")
				synctest.Wait()
				c.Seal()
				for i := range 8 {
					publish(t, topic, fmt.Sprint("late", i))
					synctest.Wait()
				}
				time.Sleep(2 * time.Second)
				publish(t, topic, "last")
				synctest.Wait()
				if n, _ := topic.log.Retained(); n != 0 {
					t.Errorf("%d entries are claimed", n)
				}
				c.conn.resume()
				synctest.Wait()
				wants(t, "c", c.conn.received(), "1 2")
				if got := c.owner.told(); got != (told{flushed: 1}) {
					t.Errorf("told %+v", got)
				}
				a := m.Tally()
				balanced(t, "c", a)
				if a.Sent != 2 || a.Undelivered != 9 {
					t.Errorf("account: %+v", a)
				}
				c.Detach()
				resting(t, topic)
			})
		})
	}
}

// A sealed subscriber that was over its bounds by what it is owed is still evicted when its grace is over.
func TestSealedIsEvictedForWhatItIsOwed(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c := newClient(e)
		c.join(t, topic, &Rule{Overflow: Evict, N: 2, Age: time.Second})
		c.conn.stall(0)
		publish(t, topic, "1", "2", "3")
		synctest.Wait()
		c.Seal()
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		if got := c.owner.told(); got.slow != 0 {
			t.Errorf("evicted within the grace: %+v", got)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if got := c.owner.told(); got.slow != 1 {
			t.Errorf("not evicted after the grace: %+v", got)
		}
		c.conn.resume()
		synctest.Wait()
		c.Detach()
	})
}

// A filter that panics over what a sealed subscriber is owed fails it, also when its grace is over at that moment.
func TestSealedFilterThatPanics(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c := newClient(e)
		where := func(v any) bool {
			if v == "bad" {
				panic(v)
			}
			return true
		}
		m, err := topic.Join(c.Subscriber, &Rule{Overflow: Evict, N: 1, Age: time.Second}, where, 0)
		if err != nil {
			t.Fatal(err)
		}
		c.conn.stall(0)
		publish(t, topic, "1")
		synctest.Wait()
		time.Sleep(2 * time.Second)
		c.lock() // the seal's look is the first to see what follows
		publish(t, topic, "2", "3", "bad")
		c.rarely().seal = e.clock.Load()
		c.release(nil)
		synctest.Wait()
		if got := c.owner.told(); got != (told{failed: 1, flushed: 1}) {
			t.Errorf("told %+v", got)
		}
		c.conn.resume()
		synctest.Wait()
		balanced(t, "c", m.Tally())
		c.Detach()
		resting(t, topic)
	})
}

// A direct message whose sender had not seen the seal is not written, and is not pending for ever.
func TestSealedRefusesWhatWasUnderWay(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		c := newClient(e)
		c.conn.stall(0)
		if err := c.TrySend(entry("1")); err != nil {
			t.Fatal(err)
		}
		c.Seal()
		e.direct.offered.Add(2) // TrySend, between its look at shut and its Push
		for _, text := range []string{"2", "3"} {
			if err := c.mailbox().Push(entry(text)); err != nil {
				t.Fatal(err)
			}
		}
		c.Visit()
		synctest.Wait()
		if a := e.Direct(); a.Pending != 3 {
			t.Errorf("stalled: %+v", a)
		}
		c.conn.resume()
		synctest.Wait()
		wants(t, "c", c.conn.received(), "1")
		if a := e.Direct(); a != (Tally{Offered: 3, Sent: 1, Undelivered: 2}) {
			t.Errorf("account: %+v", a)
		}
		if err := c.mailbox().Push(entry("4")); err != queue.ErrClosed {
			t.Errorf("a later one: %v", err)
		}
		if got := c.owner.told(); got != (told{flushed: 1}) {
			t.Errorf("told %+v", got)
		}
		c.Detach()
	})
}
