package fanout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
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
				if time.Since(start) != want || c.owner.told() != (told{slow: 1}) {
					t.Errorf("Publish returned after %v, owner was told %+v", time.Since(start), c.owner.told())
				}
				synctest.Wait()
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

func TestCoalesceByKey(t *testing.T) {
	for _, x := range []struct {
		name   string
		values string // key:value, no key without a colon
		where  func(any) bool
		want   string
		final  Tally
	}{
		{"latest per key, place in line kept", "a:1 b:2 c:3 a:4 c:5 a:6", nil, "x a:6 b:2 c:5",
			Tally{Offered: 7, Sent: 4, Coalesced: 3}},
		{"without keys", "1 2 3", nil, "x 3", Tally{Offered: 4, Sent: 2, Coalesced: 2}},
		{"with and without", "a:1 2 a:3 4", nil, "x a:3 4", Tally{Offered: 5, Sent: 3, Coalesced: 2}},
		{"newest value refused", "a:1 b:2 a:no a:no b:no", func(v any) bool { return !strings.HasSuffix(v.(string), "no") },
			"x a:1 b:2", Tally{Offered: 6, Sent: 3, Filtered: 3}},
		{"older value refused", "a:no a:1", func(v any) bool { return !strings.HasSuffix(v.(string), "no") },
			"x a:1", Tally{Offered: 3, Sent: 2, Filtered: 1}},
	} {
		t.Run(x.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				c := newClient(e)
				m, err := topic.Join(c.Subscriber, &Rule{Coalesce: true, N: 1}, x.where, 0)
				if err != nil {
					t.Fatal(err)
				}
				c.conn.stall(1)
				publish(t, topic, "x")
				for _, text := range strings.Fields(x.values) {
					y := entry(text)
					if key, _, ok := strings.Cut(text, ":"); ok {
						y.Key = key
					}
					publishEntry(t, topic, y)
					synctest.Wait()
				}
				if n, _ := topic.log.Retained(); n > 3 {
					t.Errorf("%d entries retained for three keys", n)
				}
				c.conn.resume()
				synctest.Wait()
				wants(t, "client", c.conn.received(), x.want)
				if got := m.Tally(); got != x.final {
					t.Errorf("%+v, want %+v", got, x.final)
				}
				if n := topic.log.Keys(); n != 0 {
					t.Errorf("%d keys held at rest", n)
				}
				resting(t, topic)
			})
		})
	}
}

// TestNoKeyStarves publishes 1,000 keys round robin at 10,000 a second: whatever the client's pace or speed, every key
// gets its turn in any 1,000 values sent to it.
func TestNoKeyStarves(t *testing.T) {
	const keys, perSecond = 1000, 10_000
	seconds := 120
	if testing.Short() || raceEnabled {
		seconds = 60
	}
	for _, x := range []struct {
		name string
		rule Rule
		half bool
		min  int
	}{
		{"rate 20", Rule{Coalesce: true, N: 1, Limit: 20, Burst: 1}, false, 20 * seconds},
		{"half speed", Rule{Coalesce: true, N: 1}, true, perSecond / 2 * (seconds / 10)},
	} {
		t.Run(x.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				c := newClient(e)
				m := c.join(t, topic, &x.rule)
				values := perSecond * seconds
				if x.half {
					values /= 10
					c.conn.stall(0)
				}
				text := func(i int) string { return fmt.Sprintf("%03d %07d", i%keys, i) }
				size := entry(text(0)).Size
				warm := 0 // values sent before every key had two
				for i := range values {
					y := entry(text(i))
					y.Key = i % keys
					publishEntry(t, topic, y)
					if i%10 == 9 {
						if x.half {
							c.conn.mu.Lock()
							c.conn.room += 5 * size
							c.conn.wakeLocked()
							c.conn.mu.Unlock()
						}
						synctest.Wait()
						time.Sleep(time.Second / (perSecond / 10))
						if i < 2*keys {
							warm = len(c.conn.received())
						}
					}
				}
				synctest.Wait()
				got := c.conn.received()
				if len(got) < x.min-2 || len(got) > x.min+2 {
					t.Errorf("%d values arrived, want %d", len(got), x.min)
				}
				last := make(map[string]int)
				for i, text := range got {
					key := text[:3]
					if at := last[key]; i-max(at, warm) > keys {
						t.Errorf("key %s was sent as number %d and %d: %q", key, at, i, got[max(0, i-3):i+3])
						break
					}
					last[key] = i
				}
				// The publisher stops: the last value of every key arrives.
				c.conn.resume()
				time.Sleep(time.Minute)
				synctest.Wait()
				got = c.conn.received()
				final := make(map[string]string)
				for _, text := range got {
					if text[4:] <= final[text[:3]] {
						t.Fatalf("%s after %s", text, final[text[:3]])
					}
					final[text[:3]] = text[4:]
				}
				for k := range keys {
					want := text(values - keys + k)
					if final[want[:3]] != want[4:] {
						t.Errorf("key %s ends at %s, want %s", want[:3], final[want[:3]], want[4:])
					}
				}
				a := m.Tally()
				if a.Offered != uint64(values) || a.Sent != uint64(len(got)) || a.Sent+a.Coalesced != a.Offered {
					t.Errorf("%+v, received %d", a, len(got))
				}
				resting(t, topic)
			})
		})
	}
}

func TestRate(t *testing.T) {
	for _, x := range []struct {
		limit float64
		burst int
	}{{20, 1}, {3, 1}, {7, 5}, {0.3, 2}, {999.7, 10}} {
		t.Run(fmt.Sprintf("%v of %d", x.limit, x.burst), func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				c := newClient(e)
				m := c.join(t, topic, &Rule{Overflow: DropNewest, N: 1 << 20, Limit: rateLimit(x.limit), Burst: x.burst})
				for range 400 {
					publish(t, topic, "x")
				}
				start := time.Now()
				synctest.Wait()
				for n := len(c.conn.received()); n < 400; n = len(c.conn.received()) {
					allowed := float64(x.burst) + time.Since(start).Seconds()*x.limit
					if float64(n) > allowed+1e-5 || float64(n) < allowed-1-1e-5 && n < 400 {
						t.Fatalf("%d values after %v", n, time.Since(start))
					}
					time.Sleep(time.Duration(float64(time.Second) / x.limit / 3))
					synctest.Wait()
					if time.Since(start).Seconds()*x.limit > 500 {
						t.Fatal("values do not arrive")
					}
				}
				if got := m.Tally(); got != (Tally{Offered: 400, Sent: 400}) {
					t.Errorf("%+v", got)
				}
				resting(t, topic)
			})
		})
	}
}

func TestRateBytes(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c := newClient(e)
		c.join(t, topic, &Rule{Overflow: DropOldest, N: 1 << 20, ByteLimit: 100, ByteBurst: 200})
		text := strings.Repeat("x", 48) // a frame of 50
		for range 10 {
			publish(t, topic, text)
		}
		publish(t, topic, strings.Repeat("y", 500)) // more than the burst: costs the burst
		publish(t, topic, "end")
		for _, x := range []struct {
			at time.Duration
			n  int
		}{{0, 4}, {499 * time.Millisecond, 4}, {501 * time.Millisecond, 5}, {2999 * time.Millisecond, 9}, {3001 * time.Millisecond, 10},
			{4999 * time.Millisecond, 10}, {5001 * time.Millisecond, 11}, {5040 * time.Millisecond, 11}, {5060 * time.Millisecond, 12}} {
			time.Sleep(time.Until(time.Unix(0, topic.grid).Add(x.at)))
			synctest.Wait()
			if n := len(c.conn.received()); n != x.n {
				t.Errorf("after %v: %d, want %d", x.at, n, x.n)
			}
		}
	})
}

func TestFlushEvery(t *testing.T) {
	for _, r := range []*Rule{
		{Coalesce: true, N: 1, Flush: 50 * time.Millisecond},
		{Overflow: DropOldest, N: 3, Flush: 50 * time.Millisecond},
		{Overflow: DropNewest, N: 3, Flush: 50 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%v coalesce=%v", r.Overflow, r.Coalesce), func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				start := time.Now()
				a, b := newClient(e), newClient(e)
				a.join(t, topic, r)
				time.Sleep(13 * time.Millisecond)
				b.join(t, topic, r) // the same grid
				at := func(d time.Duration, want string) {
					t.Helper()
					time.Sleep(time.Until(start.Add(d)))
					synctest.Wait()
					wants(t, fmt.Sprint("a at ", d), a.conn.received(), want)
					wants(t, fmt.Sprint("b at ", d), b.conn.received(), want)
				}
				first := "a1 b2 a3"
				switch {
				case r.Coalesce:
					first = "a3 b4"
				case r.Overflow == DropOldest:
					first = "b2 a3 b4"
				}
				publishEntry(t, topic, keyed("a", "a1"))
				publishEntry(t, topic, keyed("b", "b2"))
				publishEntry(t, topic, keyed("a", "a3"))
				publishEntry(t, topic, keyed("b", "b4"))
				at(49*time.Millisecond, "")
				at(50*time.Millisecond, first)
				publishEntry(t, topic, keyed("a", "a5"))
				at(99*time.Millisecond, first)
				at(100*time.Millisecond, first+" a5")
				at(420*time.Millisecond, first+" a5")
				publishEntry(t, topic, keyed("a", "a6"))
				at(449*time.Millisecond, first+" a5")
				at(450*time.Millisecond, first+" a5 a6")
				// What is held when the subscriber is sealed leaves at once.
				publishEntry(t, topic, keyed("a", "a7"))
				synctest.Wait()
				a.Seal()
				b.Seal()
				at(451*time.Millisecond, first+" a5 a6 a7")
				if a.owner.told() != (told{flushed: 1}) {
					t.Errorf("owner was told %+v", a.owner.told())
				}
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

func TestTimers(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		start := time.Now()
		var fired []time.Duration
		note := func() { fired = append(fired, time.Since(start)) }
		e.At(start.Add(3*time.Second), note)
		cancel := e.At(start.Add(2*time.Second), note)
		e.At(start.Add(time.Second), func() { note(); e.At(start.Add(1500*time.Millisecond), note) })
		e.At(start.Add(-time.Second), note)
		cancel()
		cancel()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if want := []time.Duration{0, time.Second, 1500 * time.Millisecond, 3 * time.Second}; !slices.Equal(fired, want) {
			t.Errorf("fired at %v, want %v", fired, want)
		}
	})
}
