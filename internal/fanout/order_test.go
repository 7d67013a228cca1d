package fanout

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// once returns a hook for a fakeConn that calls f the nth time, from within a write: what another goroutine could do at
// that moment happens at that moment.
func nth(n int, f func()) func() {
	return func() {
		if n--; n == 0 {
			f()
		}
	}
}

// TestPitfall57MarkDuringVisit has things happen while a visit writes: it finds the session owned, leaves the mark, and the owner
// looks again, whichever visit it is.
func TestPitfall57MarkDuringVisit(t *testing.T) {
	for _, x := range []struct {
		name  string
		where func(any) bool
		begin func(t *testing.T, c *client, topic *Topic)
	}{
		{"in a pass", nil, func(t *testing.T, c *client, topic *Topic) { publish(t, topic, "x") }},
		{"in a look", func(any) bool { return true }, func(t *testing.T, c *client, topic *Topic) { publish(t, topic, "x") }},
		{"in a direct visit", nil, func(t *testing.T, c *client, topic *Topic) { send(t, c.Subscriber, "x") }},
	} {
		for _, y := range []struct {
			name string
			do   func(t *testing.T, c *client, topic *Topic)
		}{
			{"sends", func(t *testing.T, c *client, topic *Topic) { send(t, c.Subscriber, "y") }},
			{"control", func(t *testing.T, c *client, topic *Topic) { c.conn.queueControl(9, "y"); c.Visit() }},
			{"publishes", func(t *testing.T, c *client, topic *Topic) { publish(t, topic, "y") }},
		} {
			for write := 1; write <= 2; write++ {
				t.Run(fmt.Sprint(x.name, "/", y.name, "/", write), func(t *testing.T) {
					bubble(t, Config{}, func(t *testing.T, e *Engine) {
						topic := newTopic(e)
						c := newClient(e)
						if _, err := topic.Join(c.Subscriber, lossless, x.where, 0); err != nil {
							t.Fatal(err)
						}
						if write == 2 { // two batches: the mark comes while the last of a look is written
							c.conn.hook = nth(1, func() { send(t, c.Subscriber, "w") })
							send(t, c.Subscriber, "v")
							synctest.Wait()
						}
						c.conn.hook = nth(write, func() { y.do(t, c, topic) })
						x.begin(t, c, topic)
						if write == 2 {
							c.Visit()
							x.begin(t, c, topic)
						}
						synctest.Wait()
						got := strings.Join(c.conn.received(), " ")
						want := map[int]string{1: "x y", 2: "v w x x y"}[write]
						if got != want && got != "v w x y x" {
							t.Errorf("received %q, want %q", got, want)
						}
					})
				})
			}
		}
	}
}

// TestPitfall57MarkAfterLastCursor has the mark come when a look has passed the cursor it is about, and finds nothing else to
// write: it must look once more before it lets go, at all cursors.
func TestPitfall57MarkAfterLastCursor(t *testing.T) {
	for _, topics := range []int{2, manySubs + 2} {
		t.Run(fmt.Sprint(topics), func(t *testing.T) {
			bubble(t, Config{Workers: 2}, func(t *testing.T, e *Engine) {
				first, held := newTopic(e), newTopic(e)
				c := newClient(e)
				c.join(t, first, lossless)
				for range topics - 2 {
					c.join(t, newTopic(e), lossless)
				}
				calls := 0
				if _, err := held.Join(c.Subscriber, &Rule{Coalesce: true, N: 1, Flush: time.Hour}, func(any) bool {
					if calls++; calls == 1 {
						publish(t, first, "a")
						settled(e, first)
					}
					return true
				}, 0); err != nil {
					t.Fatal(err)
				}
				publish(t, held, "x")
				synctest.Wait()
				wants(t, "client", c.conn.received(), "a")
				resting(t, first)
			})
		})
	}
}

// settled returns when the topic's pass has ended, which was met by a subscriber that somebody owns.
func settled(e *Engine, topic *Topic) {
	for active := true; active; runtime.Gosched() {
		e.mu.Lock()
		active = topic.run.active
		e.mu.Unlock()
	}
}

// TestPitfall57PublishDuringPass publishes while a worker is in the topic's pass. The dirty bit is clear from the start of
// the pass on, so that an append sets it anew.
func TestPitfall57PublishDuringPass(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		a, b := newClient(e), newClient(e)
		a.join(t, topic, lossless)
		b.join(t, topic, lossless)
		put := func(text string) func() {
			return func() {
				if topic.dirty.Load() {
					t.Errorf("in the pass before %s the dirty bit is set", text)
				}
				publish(t, topic, text)
				if !topic.dirty.Load() {
					t.Errorf("%s left the dirty bit clear", text)
				}
			}
		}
		a.conn.hook = nth(1, put("y"))
		b.conn.hook = nth(2, put("z"))
		publish(t, topic, "x")
		synctest.Wait()
		wants(t, "a", a.conn.received(), "x y z")
		wants(t, "b", b.conn.received(), "x y z")
		resting(t, topic)
	})
}

// TestPitfall57TickDuringPass has a tick fall due when the pass under way has visited whom it is for. No value comes with
// it, so only the dirty bit can tell.
func TestPitfall57TickDuringPass(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		paced, slow := newClient(e), newClient(e)
		paced.join(t, topic, &Rule{Overflow: DropOldest, N: 10, Flush: 50 * time.Millisecond})
		slow.join(t, topic, lossless)
		publish(t, topic, "1")
		synctest.Wait()
		slow.conn.hook = nth(1, func() { time.Sleep(60 * time.Millisecond) })
		publish(t, topic, "2")
		time.Sleep(59 * time.Millisecond)
		wants(t, "paced client in the pass", paced.conn.received(), "")
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		wants(t, "paced client", paced.conn.received(), "1 2")
	})
}

// TestPublishBetweenBitAndHead publishes twice, in real time, with the second at all distances from the start of the
// first's pass: a value appended after a pass has read the head, whose publisher found the dirty bit set, must be in the
// next pass.
func TestPublishBetweenBitAndHead(t *testing.T) {
	e := New(Config{})
	topic := newTopic(e)
	c := newClient(e)
	m := c.join(t, topic, lossless)
	rounds := 100_000
	if raceEnabled || testing.Short() {
		rounds = 20_000
	}
	published, spun := uint64(0), 0
	for i := range rounds {
		x, y := entry("x"), entry("y")
		publishEntry(t, topic, x)
		for range i % 4000 {
			spun++
		}
		publishEntry(t, topic, y)
		published += 2
		await(t, e)
		if m.cursor.Load() != published {
			t.Fatalf("round %d: the engine rests, %d of %d values were offered", i, m.cursor.Load(), published)
		}
	}
}

// TestPitfall58ClockBound publishes to two topics of a subscriber while a look is between their cursors: what was published first
// arrives first.
func TestPitfall58ClockBound(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		first, second, third := newTopic(e), newTopic(e), newTopic(e)
		c := newClient(e)
		c.join(t, first, lossless)
		calls := 0
		// A member that conflates runs its filter between the loads of the other cursors.
		if _, err := second.Join(c.Subscriber, &Rule{Coalesce: true, N: 1, Limit: 1000, Burst: 1}, func(any) bool {
			if calls++; calls == 1 {
				publish(t, first, "a")
				publish(t, third, "b")
			}
			return true
		}, 0); err != nil {
			t.Fatal(err)
		}
		c.join(t, third, lossless)
		publish(t, second, "x")
		synctest.Wait()
		wants(t, "client", c.conn.received(), "x a b")
	})
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		first, second := newTopic(e), newTopic(e)
		c := newClient(e)
		c.join(t, first, lossless)
		calls := 0
		if _, err := second.Join(c.Subscriber, &Rule{Coalesce: true, N: 1, Limit: 1000, Burst: 1}, func(any) bool {
			if calls++; calls == 1 {
				publish(t, first, "a")
				send(t, c.Subscriber, "d") // the mailbox is looked at last
			}
			return true
		}, 0); err != nil {
			t.Fatal(err)
		}
		publish(t, second, "x")
		synctest.Wait()
		wants(t, "client", c.conn.received(), "x a d")
	})
}

// TestPitfall58AllCursorsAreLookedAt publishes to a large topic and then to a small one, whose pass comes before the last
// stride of the large one's: a member of both gets the values in the order in which they were published.
func TestPitfall58AllCursorsAreLookedAt(t *testing.T) {
	for _, mode := range []string{"topic", "mailbox", "many topics"} {
		t.Run(mode, func(t *testing.T) {
			bubble(t, Config{Workers: 1}, func(t *testing.T, e *Engine) {
				large, small := newTopic(e), newTopic(e)
				head := newClient(e)
				head.join(t, large, lossless)
				for range 2 * stride * chunkSize {
					newClient(e).join(t, large, lossless)
				}
				c := newClient(e)
				c.join(t, large, lossless)
				c.join(t, small, lossless)
				if mode == "many topics" {
					for range manySubs {
						c.join(t, newTopic(e), lossless)
					}
				}
				head.conn.hook = nth(1, func() { // the only worker is in the first stride; the second is next in line
					if mode == "mailbox" {
						send(t, c.Subscriber, "b")
						return
					}
					publish(t, small, "b")
				})
				publish(t, large, "a")
				synctest.Wait()
				wants(t, "client", c.conn.received(), "a b")
			})
		})
	}
}

// TestPitfall59CursorNeverMovesBack has members advance past the head of the pass that is about to visit them, and others
// join behind it.
func TestPitfall59CursorNeverMovesBack(t *testing.T) {
	for _, before := range []int{1, chunkSize} { // in the chunk that the pass has copied, in the next
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			bubble(t, Config{Workers: 1}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				var ahead []*client
				for range before {
					c := newClient(e)
					c.join(t, topic, lossless)
					ahead = append(ahead, c)
				}
				all := func(any) bool { return true }
				plain, choosy, late, lateChoosy := newClient(e), newClient(e), newClient(e), newClient(e)
				m := plain.join(t, topic, lossless)
				if _, err := topic.Join(choosy.Subscriber, lossless, all, 0); err != nil {
					t.Fatal(err)
				}
				ahead[0].conn.hook = nth(1, func() {
					publish(t, topic, "2")
					plain.Visit()
					choosy.Visit()
					if m.cursor.Load() != 2 {
						t.Error("the visit did not advance the cursor")
					}
					late.join(t, topic, lossless)
					if _, err := topic.Join(lateChoosy.Subscriber, lossless, all, 0); err != nil {
						t.Error(err)
					}
				})
				publish(t, topic, "1")
				synctest.Wait()
				for m := range topic.Members() {
					if at := m.cursor.Load(); at != 2 {
						t.Errorf("after two values a cursor is at %d", at)
					}
				}
				publish(t, topic, "3")
				synctest.Wait()
				for i, c := range append(ahead, plain, choosy) {
					wants(t, fmt.Sprint("client ", i), c.conn.received(), "1 2 3")
				}
				for i, c := range []*client{late, lateChoosy} {
					wants(t, fmt.Sprint("late client ", i), c.conn.received(), "3")
				}
				n := uint64(3*(before+2) + 2)
				if got, want := topic.Tally(), (Tally{Offered: n, Sent: n}); got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
				resting(t, topic)
			})
		})
	}
}

// TestPitfall60JoinsAndLeavesBehindPass has members leave and join in chunks that the pass under way has visited: nobody moves,
// so nobody is missed or visited twice.
func TestPitfall60JoinsAndLeavesBehindPass(t *testing.T) {
	for _, members := range []int{3, chunkSize + 1, 2*stride*chunkSize + 1} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			bubble(t, Config{Workers: 1}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				var clients []*client
				for range members {
					c := newClient(e)
					c.join(t, topic, lossless)
					clients = append(clients, c)
				}
				late := newClient(e)
				// The last of the first chunk to be visited, so that all others there were.
				clients[min(members, chunkSize)-1].conn.hook = nth(1, func() {
					clients[0].Detach()
					late.join(t, topic, lossless)
					clients[1].Detach()
				})
				publish(t, topic, "1")
				synctest.Wait()
				for i, c := range clients[2:] {
					wants(t, fmt.Sprint("client ", i+2), c.conn.received(), "1")
				}
				publish(t, topic, "2")
				synctest.Wait()
				for i, c := range clients[2:] {
					wants(t, fmt.Sprint("client ", i+2), c.conn.received(), "1 2")
				}
				wants(t, "late client", late.conn.received(), "2")
				resting(t, topic)
			})
		})
	}
}

// TestDirtyMeansActive stops a publisher between the append and the workers: a second publisher to the topic must not
// return before subscribers of very many topics, who look at active topics only, can know of its value.
func TestDirtyMeansActive(t *testing.T) {
	e := New(Config{})
	topic := newTopic(e)
	e.mu.Lock()
	var wg sync.WaitGroup
	wg.Go(func() { publish(t, topic, "1") })
	stuck(t, "schedule")
	if topic.dirty.Load() && !topic.run.active {
		t.Error("the topic is dirty and not active")
	}
	e.mu.Unlock()
	wg.Wait()
	await(t, e)
}

// TestPitfall58OrderAcrossSources stalls a client and lets more pile up, in mailbox and topics, than one round takes of a source:
// everything arrives in the order in which it was published.
func TestPitfall58OrderAcrossSources(t *testing.T) {
	for _, topics := range []int{1, 2, 5, manySubs + 6} {
		t.Run(fmt.Sprint(topics), func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				var all []*Topic
				c := newClient(e)
				for range topics {
					topic := newTopic(e)
					c.join(t, topic, lossless)
					all = append(all, topic)
				}
				c.conn.stall(0)
				var want []string
				put := func(topic int) {
					text := fmt.Sprint(len(want))
					want = append(want, text)
					if topic < 0 {
						send(t, c.Subscriber, text)
					} else {
						publish(t, all[topic%topics], text)
					}
				}
				put(0)
				synctest.Wait()
				for i := range 300 { // alternating
					put(-1)
					put(i)
				}
				for range 2*readMax + 10 { // a long run of one topic, then others
					put(0)
				}
				for i := range 2 * topics {
					put(i)
					put(-1)
				}
				for range 3 {
					put(-1)
				}
				put(1)
				synctest.Wait()
				c.conn.resume()
				synctest.Wait()
				if got := c.conn.received(); strings.Join(got, " ") != strings.Join(want, " ") {
					for i := range got {
						if got[i] != want[i] {
							t.Fatalf("%d values arrived of %d; number %d is %s", len(got), len(want), i, got[i])
						}
					}
				}
				for _, topic := range all {
					resting(t, topic)
				}
			})
		})
	}
}
