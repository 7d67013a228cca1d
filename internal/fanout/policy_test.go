package fanout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
	"github.com/wshub-go/wshub/internal/wire"
)

// TestOverflow stalls a client with nothing begun or after a part of the first frame, publishes, and looks at what
// arrives once it reads again within the grace.
func TestOverflow(t *testing.T) {
	texts := []string{"1", "2", "3", "4", "5", "6"}
	for _, x := range []struct {
		name string
		rule Rule
		want string
		drop uint64
	}{
		{"evict", Rule{Overflow: Evict, N: 1, Age: time.Second}, "1 2 3 4 5 6", 0},
		{"drop oldest", Rule{Overflow: DropOldest, N: 2}, "1 5 6", 3},
		{"drop oldest, one", Rule{Overflow: DropOldest, N: 1}, "1 6", 4},
		{"drop oldest, bytes", Rule{Overflow: DropOldest, N: 100, MaxBytes: 7}, "1 5 6", 3},
		{"drop oldest, a byte", Rule{Overflow: DropOldest, N: 100, MaxBytes: 1}, "1 6", 4},
		{"drop newest", Rule{Overflow: DropNewest, N: 3}, "1 2 3", 3},
		{"drop newest, one", Rule{Overflow: DropNewest, N: 1}, "1", 5},
		{"drop newest, bytes", Rule{Overflow: DropNewest, N: 100, MaxBytes: 9}, "1 2 3", 3},
		{"coalesce", Rule{Coalesce: true, N: 1}, "1 6", 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				c := newClient(e)
				m := c.join(t, topic, &x.rule)
				c.conn.stall(1)
				for _, text := range texts {
					publish(t, topic, text)
					synctest.Wait()
					balanced(t, "topic", topic.Tally())
				}
				c.conn.resume()
				synctest.Wait()
				wants(t, "client", c.conn.received(), x.want)
				got := m.Tally()
				want := Tally{Offered: 6, Sent: uint64(len(strings.Fields(x.want))), Dropped: x.drop}
				want.Coalesced = want.Offered - want.Sent - want.Dropped
				if got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
				if c.owner.dropped[topic] != x.drop {
					t.Errorf("owner was told of %d, dropped %d", c.owner.dropped[topic], x.drop)
				}
				publish(t, topic, "7") // nothing of the policy stays
				synctest.Wait()
				wants(t, "client", c.conn.received(), x.want+" 7")
				resting(t, topic)
			})
		})
	}
}

func TestEvictAtTheGrace(t *testing.T) {
	const grace = 250 * time.Millisecond
	for _, x := range []struct {
		name   string
		rule   Rule
		values int
		resume time.Duration // 0: never
		evict  bool
	}{
		{"within the count", Rule{N: 3, Age: grace}, 3, 0, false},
		{"one too many", Rule{N: 3, Age: grace}, 4, 0, true},
		{"reads before the grace is over", Rule{N: 3, Age: grace}, 4, grace - 1, false},
		{"one large value", Rule{N: 3, MaxBytes: 1, Age: grace}, 1, 0, false},
		{"two values over the bytes", Rule{N: 3, MaxBytes: 5, Age: grace}, 2, 0, true},
		{"two values at the bytes", Rule{N: 3, MaxBytes: 6, Age: grace}, 2, 0, false},
		{"block at its fill", Rule{Overflow: Block, N: 3, Age: grace}, 3, 0, true},
		{"block below", Rule{Overflow: Block, N: 3, Age: grace}, 2, 0, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic, other := newTopic(e), newTopic(e)
				c := newClient(e)
				m := c.join(t, topic, &x.rule)
				mo := c.join(t, other, lossless)
				c.conn.stall(1)
				start := time.Now()
				for i := range x.values {
					publish(t, topic, fmt.Sprint(i))
					synctest.Wait()
					time.Sleep(time.Millisecond)
				}
				publish(t, other, "o")
				send(t, c.Subscriber, "d")
				if x.resume > 0 {
					time.Sleep(time.Until(start.Add(x.resume)))
					c.conn.resume()
				}
				time.Sleep(time.Until(start.Add(grace - 1)))
				synctest.Wait()
				if c.owner.told() != (told{}) {
					t.Fatal("given up before the grace is over")
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if !x.evict {
					time.Sleep(time.Second)
					synctest.Wait()
					if c.owner.told() != (told{}) {
						t.Errorf("owner was told %+v", c.owner.told())
					}
				} else {
					if c.owner.told() != (told{slow: 1}) || c.owner.slow[0] != topic {
						t.Fatalf("at the end of the grace: %+v", c.owner.told())
					}
					if got, want := m.Tally(), (Tally{Offered: uint64(x.values), Evicted: uint64(x.values) - 1, Pending: 1}); got != want {
						t.Errorf("while the frame is begun: %+v, want %+v", got, want)
					}
					if got, want := mo.Tally(), (Tally{Offered: 1, Evicted: 1}); got != want {
						t.Errorf("other topic: %+v, want %+v", got, want)
					}
					if got, want := e.Direct(), (Tally{Offered: 1, Evicted: 1}); got != want {
						t.Errorf("Direct: %+v, want %+v", got, want)
					}
					publish(t, topic, "late")
					c.conn.fail(os.ErrClosed)
					synctest.Wait()
					if got, want := m.Tally(), (Tally{Offered: uint64(x.values), Evicted: uint64(x.values)}); got != want {
						t.Errorf("evicted: %+v, want %+v", got, want)
					}
					if got := topic.Tally(); got != m.Tally() {
						t.Errorf("topic %+v, member %+v", got, m.Tally())
					}
					if err := c.TrySend(entry("x")); err != ErrStopped {
						t.Errorf("TrySend: %v", err)
					}
					if _, err := newTopic(e).Join(c.Subscriber, lossless, nil, 0); err != ErrStopped {
						t.Errorf("Join: %v", err)
					}
				}
				c.conn.resume()
				synctest.Wait()
				c.Detach()
				resting(t, topic)
			})
		})
	}
}

func TestBlock(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				c, other := newClient(e), newClient(e)
				m := c.join(t, topic, &Rule{Overflow: Block, N: n, Age: time.Second})
				other.join(t, topic, lossless)
				c.conn.stall(0)
				start := time.Now()
				for i := range n {
					if err := topic.Publish(t.Context(), entry(fmt.Sprint(i))); err != nil || time.Since(start) != 0 {
						t.Fatalf("Publish %d: %v after %v", i, err, time.Since(start))
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if err := topic.Publish(ctx, entry("x")); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 100*time.Millisecond {
					t.Errorf("Publish with a deadline: %v after %v", err, time.Since(start))
				}
				if got := m.Tally(); got != (Tally{Offered: uint64(n), Pending: uint64(n)}) {
					t.Errorf("%+v", got)
				}
				// Room for one: one more is published.
				c.conn.stall(entry("0").Size)
				if err := topic.Publish(t.Context(), entry("y")); err != nil || time.Since(start) != 100*time.Millisecond {
					t.Errorf("Publish: %v after %v", err, time.Since(start))
				}
				// The member is given up when its oldest is a second old.
				if err := topic.Publish(t.Context(), entry("z")); err != nil {
					t.Errorf("Publish: %v", err)
				}
				want := time.Second
				if n == 1 { // its oldest is y
					want += 100 * time.Millisecond
				}
				took := time.Since(start)
				synctest.Wait() // the owner is told when the write bit has been given up
				if took != want || c.owner.told() != (told{slow: 1}) {
					t.Errorf("Publish returned after %v, owner was told %+v", took, c.owner.told())
				}
				if got := other.conn.received(); len(got) != n+2 {
					t.Errorf("the other received %q", got)
				}
				c.conn.fail(os.ErrClosed)
				synctest.Wait()
				c.Detach()
				resting(t, topic)
			})
		})
	}
}

// TestUpdateBesidePublisher changes a member's rule while publishers look at who blocks.
func TestUpdateBesidePublisher(t *testing.T) {
	e := New(Config{})
	topic := newTopic(e)
	c, d := newClient(e), newClient(e)
	m := c.join(t, topic, lossless)
	d.join(t, topic, &Rule{Overflow: Block, N: 4, Age: time.Minute})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			if err := topic.Publish(context.Background(), entry("x")); err != nil {
				t.Error(err)
			}
		}
	}()
	rules := []*Rule{{Overflow: Block, N: 3, Age: time.Minute}, {Overflow: DropNewest, N: 1 << 20}, lossless, {Coalesce: true, N: 1}, {Overflow: DropOldest, N: 1 << 20}}
	for i := 0; ; i++ {
		if err := m.Update(rules[i%len(rules)], nil); err != nil {
			t.Error(err)
		}
		select {
		case <-done:
		default:
			continue
		}
		break
	}
	if err := m.Update(lossless, nil); err != nil {
		t.Error(err)
	}
	await(t, e)
	if got := m.Tally(); got.Offered != 2000 || got.Sent+got.Coalesced != 2000 {
		t.Errorf("%+v", got)
	}
	if n := topic.blocks.Load(); n != 1 {
		t.Errorf("%d members block", n)
	}
}

// TestFullLogMovesOn fills a log that a member to be evicted claims, while others lag behind it: the publisher goes on
// when it has gone.
func TestFullLogMovesOn(t *testing.T) {
	for _, end := range []string{"evicted", "leaves", "stops", "catches up", "fails"} {
		t.Run(end, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := e.NewTopic(TopicConfig{MaxPending: 50})
				a, b, c := newClient(e), newClient(e), newClient(e)
				r := *lossless
				if end == "evicted" {
					r = Rule{N: 5, Age: time.Second}
				}
				m := a.join(t, topic, &r)
				b.join(t, topic, &Rule{Overflow: DropOldest, N: 10})
				c.join(t, topic, lossless)
				a.conn.stall(0)
				b.conn.stall(0)
				n := 0
				for topic.TryPublish(entry("x")) != queue.ErrFull {
					n++
					synctest.Wait()
				}
				if n != 51 { // one is begun, and claimed no more
					t.Errorf("the log took %d values", n)
				}
				start := time.Now()
				var ended time.Duration
				time.AfterFunc(time.Second, func() {
					switch end {
					case "leaves":
						m.Leave()
					case "stops":
						a.Stop()
					case "catches up":
						a.conn.resume()
					case "fails":
						a.conn.fail(os.ErrClosed)
					}
					ended = time.Since(start)
				})
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if err := topic.Publish(ctx, entry("y")); err != nil || time.Since(start) != time.Second {
					t.Errorf("Publish: %v after %v, %s after %v", err, time.Since(start), end, ended)
				}
				synctest.Wait()
				if got := c.conn.received(); len(got) != 52 {
					t.Errorf("the client that reads received %d", len(got))
				}
				a.conn.resume()
				b.conn.resume()
				synctest.Wait()
				resting(t, topic)
			})
		})
	}
}

func TestPackText(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic, other := newTopic(e), newTopic(e)
		c := newClient(e)
		m := c.join(t, topic, &Rule{N: 100, Age: time.Hour, Pack: true, Sep: ","})
		mo := c.join(t, other, lossless)
		c.conn.stall(0)
		publish(t, other, "o0")
		synctest.Wait()
		publish(t, topic, "1", "2", "3")
		x := &queue.Entry{Value: "bin"}
		x.Frame.Init(wire.OpBinary, []byte("bin"))
		publishEntry(t, topic, x)
		publish(t, topic, "4", "5")
		publish(t, other, "o1")
		publish(t, topic, "6")
		synctest.Wait()
		c.conn.stall(4 + 3) // o0 and a part of the first pack
		synctest.Wait()
		if a := m.Tally(); a.Sent != 0 || a.Pending != 7 {
			t.Errorf("while a pack is begun: %+v", a)
		}
		c.conn.resume()
		synctest.Wait()
		wants(t, "client", c.conn.received(), "o0 1,2,3 bin 4,5 o1 6")
		if a := m.Tally(); a != (Tally{Offered: 7, Sent: 7}) {
			t.Errorf("%+v", a)
		}
		if a := mo.Tally(); a != (Tally{Offered: 2, Sent: 2}) {
			t.Errorf("%+v", a)
		}
		resting(t, topic)
	})
}

func TestUpdateLosesNothing(t *testing.T) {
	rules := map[string]*Rule{
		"evict":       lossless,
		"drop oldest": {Overflow: DropOldest, N: 100},
		"drop newest": {Overflow: DropNewest, N: 100},
		"coalesce":    {Coalesce: true, N: 1},
		"paced":       {Coalesce: true, N: 1, Flush: time.Second},
		"rated":       {Overflow: DropOldest, N: 100, Limit: 1, Burst: 1},
		"pack":        {N: 100, Age: time.Hour, Pack: true, Sep: " "},
	}
	for from, a := range rules {
		for to, b := range rules {
			t.Run(from+" to "+to, func(t *testing.T) {
				bubble(t, Config{}, func(t *testing.T, e *Engine) {
					topic := newTopic(e)
					c := newClient(e)
					m := c.join(t, topic, a)
					c.conn.stall(1)
					for i := range 4 {
						publishEntry(t, topic, keyed(i, fmt.Sprint(i)))
						synctest.Wait()
					}
					if err := m.Update(b, nil); err != nil {
						t.Fatal(err)
					}
					for i := range 4 {
						publishEntry(t, topic, keyed(4+i, fmt.Sprint(4+i)))
						synctest.Wait()
					}
					c.conn.resume()
					time.Sleep(20 * time.Second)
					synctest.Wait()
					wants(t, "client", strings.Fields(strings.Join(c.conn.received(), " ")), "0 1 2 3 4 5 6 7")
					if got := m.Tally(); got != (Tally{Offered: 8, Sent: 8}) {
						t.Errorf("%+v", got)
					}
					if n := topic.log.Keys(); n != 0 {
						t.Errorf("%d keys held at rest", n)
					}
					resting(t, topic)
				})
			})
		}
	}
}

func TestWriteTimeout(t *testing.T) {
	bubble(t, Config{WriteTimeout: 3 * time.Second}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c := newClient(e)
		m := c.join(t, topic, lossless)
		c.conn.stall(1)
		publish(t, topic, "1", "2")
		send(t, c.Subscriber, "d")
		time.Sleep(3*time.Second - 1)
		synctest.Wait()
		if c.owner.told() != (told{}) {
			t.Errorf("before the timeout: %+v", c.owner.told())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if c.owner.told() != (told{failed: 1}) || !errors.Is(c.owner.failed[0], ErrWriteTimeout) || !errors.Is(c.owner.failed[0], os.ErrDeadlineExceeded) {
			t.Errorf("owner was told %+v, %v", c.owner.told(), c.owner.failed)
		}
		if got, want := m.Tally(), (Tally{Offered: 2, Undelivered: 2}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if got, want := e.Direct(), (Tally{Offered: 1, Undelivered: 1}); got != want {
			t.Errorf("Direct %+v, want %+v", got, want)
		}
		c.Detach()
		resting(t, topic)
	})
}

// Block counts bytes as it counts values: one is always admitted, then publishers wait until it has left or is too old.
func TestBlockBytes(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c := newClient(e)
		size := int64(entry("0123456789").Size)
		m := c.join(t, topic, &Rule{Overflow: Block, N: 100, Age: time.Second, MaxBytes: 2 * size})
		c.conn.stall(0)
		start := time.Now()
		publish := func(texts ...string) {
			for _, text := range texts {
				if err := topic.Publish(t.Context(), entry(text)); err != nil {
					t.Error(err)
				}
			}
		}
		publish("0123456789", "0123456789")
		if d := time.Since(start); d != 0 {
			t.Errorf("two values within the bound were published after %v", d)
		}
		go func() {
			time.Sleep(300 * time.Millisecond)
			c.conn.stall(int(size))
		}()
		publish(strings.Repeat("x", 100)) // larger than the bound, beside one that is within
		if d := time.Since(start); d != 300*time.Millisecond {
			t.Errorf("published after %v", d)
		}
		publish("y")
		if d := time.Since(start); d != time.Second {
			t.Errorf("published after %v", d)
		}
		synctest.Wait()
		if c.owner.told() != (told{slow: 1}) {
			t.Errorf("owner was told %+v", c.owner.told())
		}
		c.conn.fail(os.ErrClosed)
		synctest.Wait()
		balanced(t, "member", m.Tally())
		c.Detach()
		resting(t, topic)
	})
}
