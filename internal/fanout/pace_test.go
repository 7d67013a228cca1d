package fanout

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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
				if n, _ := topic.log.Retained(); n != 0 { // the line refers to what it owes
					t.Errorf("%d entries retained", n)
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

// Times beyond what a clock counts do not come, and hold nothing else up.
func TestTimesThatDoNotCome(t *testing.T) {
	bubble(t, Config{WriteTimeout: 24 * time.Hour}, func(t *testing.T, e *Engine) {
		e.At(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), func() { t.Error("the year 9999 has come") })
		topic := newTopic(e)
		var members []*Member
		var clients []*client
		for _, r := range []*Rule{
			{Overflow: DropOldest, N: 10, Limit: 1e-300, Burst: 1},
			{Overflow: DropOldest, N: 10, ByteLimit: 1e-300, ByteBurst: 1},
			{Overflow: DropOldest, N: 10, Flush: math.MaxInt64},
			{Overflow: Evict, N: 1, Age: math.MaxInt64},
		} {
			c := newClient(e)
			c.conn.stall(8)
			clients = append(clients, c)
			members = append(members, c.join(t, topic, r))
		}
		for range 4 {
			publish(t, topic, "x")
		}
		fired := false
		e.At(time.Now().Add(time.Hour), func() { fired = true })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if !fired {
			t.Error("a timer of an hour has not fired")
		}
		for i, m := range members {
			if a := m.Tally(); a.Pending == 0 || a.Evicted > 0 {
				t.Errorf("member %d: %+v", i, a)
			}
			clients[i].Detach()
		}
	})
}

// The bound of the only member with Block is the one it has now, not the least it ever had.
func TestUpdateOfTheOnlyBlock(t *testing.T) {
	e := New(Config{Workers: 1})
	topic := newTopic(e)
	c := newClient(e)
	m := c.join(t, topic, &Rule{Overflow: Block, N: 1, MaxBytes: 1, Age: time.Hour})
	if err := m.Update(&Rule{Overflow: Block, N: 10, Age: time.Hour}, nil); err != nil {
		t.Fatal(err)
	}
	writing, cont := make(chan bool, 100), make(chan bool)
	c.conn.hook = func() { writing <- true; <-cont }
	publish(t, topic, "1")
	<-writing // the pass is under way, and stays so
	for i := range 5 {
		if err := topic.TryPublish(entry("x")); err != nil {
			t.Errorf("publish %d: %v", i+2, err)
		}
	}
	close(cont)
	await(t, e)
}

// A tick that nobody waits for any more keeps nothing: neither a topic that has vanished nor the engine of a stream that
// has ended.
func TestLastToLeaveCancelsTheTick(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		rule := &Rule{Coalesce: true, N: 9, Flush: time.Hour}
		x, y := newClient(e), newClient(e)
		x.join(t, topic, rule)
		y.join(t, topic, rule)
		publish(t, topic, "a")
		synctest.Wait()
		x.Detach()
		if n := len(e.timers.items); n != 1 {
			t.Errorf("%d timers while one waits", n)
		}
		y.Detach()
		if n := len(e.timers.items); n != 0 || e.timers.armed != 0 {
			t.Errorf("%d timers while nobody waits", n)
		}
		// The next one waits for the next tick.
		z := newClient(e)
		z.join(t, topic, rule)
		publish(t, topic, "b")
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := z.conn.received(); len(got) != 1 {
			t.Errorf("got %q", got)
		}
		z.Detach()
	})
}
