package mesh

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 3)
		a, b, c := all[0], all[1], all[2]
		b.toggle("room", "b1")
		want(t, "watched", b.Watched("room"), false)
		a.watch("room")
		settle(100 * time.Millisecond)
		want(t, "ready", a.readies("room"), 1)
		want(t, "sees", a.sees("room"), "b1")
		want(t, "watched", b.Watched("room"), true)
		want(t, "own", a.Watched("room"), false)

		b.toggle("room", "b2")
		c.toggle("room", "c1")
		synctest.Wait()
		want(t, "sees", a.sees("room"), "b1 b2 c1")
		b.toggle("room", "b1")
		synctest.Wait()
		want(t, "sees", a.sees("room"), "b2 c1")

		c.watch("room") // another one
		d := start(t, net, "d")
		settle(time.Second)
		want(t, "new node is told", d.Watched("room"), true)
		d.toggle("room", "d1")
		synctest.Wait()
		want(t, "sees", a.sees("room"), "b2 c1 d1")
		want(t, "c sees", c.sees("room"), "b2 d1")

		d.end()
		synctest.Wait()
		want(t, "sees", a.sees("room"), "b2 c1")

		a.unwatch("room")
		synctest.Wait()
		want(t, "still watched", b.Watched("room"), true)
		c.unwatch("room")
		synctest.Wait()
		want(t, "watched", b.Watched("room"), false)
		b.toggle("room", "b3")

		a.watch("room")
		settle(100 * time.Millisecond)
		want(t, "ready", a.readies("room"), 2)
		want(t, "sees", a.sees("room"), "b2 b3 c1")
		b.toggle("room", "b4")
		synctest.Wait()
		want(t, "sees", a.sees("room"), "b2 b3 b4 c1")
		lists := a.listsTold()
		settle(5 * testInterval)
		want(t, "lists once all is told", a.listsTold(), lists)

		c.kill()
		settle(3 * testInterval)
		want(t, "sees", a.sees("room"), "b2 b3 b4")
		for _, f := range all[:2] {
			want(t, "left", f.look().unsettled+f.look().unready+f.look().owed, 0)
		}
		a.end()
		settle(0)
		want(t, "watched", b.Watched("room"), false)
		want(t, "watched topics", b.look().told, 0)
	})
}

// A watch is ready when all have answered, when those who have not are gone, or after a second.
func TestWatchReady(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		alone := start(t, net, "alone")
		settle(time.Second)
		alone.watch("room")
		synctest.Wait()
		want(t, "alone", alone.readies("room"), 1)
		alone.end()

		all := startAll(t, net, 3)
		a := all[0]
		net.Tap(func(d cluster.Delivery) bool { return d.From != "n2" || kindOf(d) != kindMembers })
		a.watch("x")
		settle(999 * time.Millisecond)
		want(t, "not all", a.readies("x"), 0)
		settle(time.Millisecond)
		want(t, "a second", a.readies("x"), 1)
		a.watch("y")
		settle(500 * time.Millisecond)
		all[2].end()
		synctest.Wait()
		want(t, "gone", a.readies("y"), 1)
		a.watch("z")
		a.unwatch("z")
		settle(2 * time.Second)
		want(t, "unwatched", a.readies("z"), 0)
		net.Down()
		settle(0)
		a.watch("down")
		settle(time.Second)
		want(t, "down", a.readies("down"), 1)
		net.Up()
		all[1].toggle("down", "d")
		settle(2 * testInterval)
		want(t, "sees", a.sees("down"), "d")
	})
}

// What was lost is noticed, by the next change or by a heartbeat, and the list is asked for again.
func TestWatchLosses(t *testing.T) {
	lose := map[string]func(d cluster.Delivery) bool{
		"watch":   func(d cluster.Delivery) bool { return kindOf(d) == kindWatch },
		"list":    func(d cluster.Delivery) bool { return kindOf(d) == kindMembers },
		"changes": func(d cluster.Delivery) bool { return kindOf(d) == kindChange },
		"unwatch": func(d cluster.Delivery) bool { return kindOf(d) == kindUnwatch },
	}
	for name, lost := range lose {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, net *cluster.Memory) {
				all := startAll(t, net, 2)
				a, b := all[0], all[1]
				for i := range 5 {
					b.toggle("room", fmt.Sprint(i))
				}
				a.watch("other")
				settle(time.Second)
				net.Tap(func(d cluster.Delivery) bool { return !lost(d) })
				a.watch("room")
				settle(time.Second)
				for i := range 10 {
					b.toggle("room", fmt.Sprint(i))
				}
				a.unwatch("other")
				settle(500 * time.Millisecond)
				net.Tap(nil)
				settle(2 * testInterval)
				want(t, "sees", a.sees("room"), "5 6 7 8 9")
				want(t, "watched", b.Watched("room"), true)
				want(t, "not watched", b.Watched("other"), false)
				b.toggle("room", "x")
				synctest.Wait()
				want(t, "sees", a.sees("room"), "5 6 7 8 9 x")
			})
		})
	}
}

// A node that was given up by one side only is watched, and watches, as before.
func TestWatchOneSided(t *testing.T) {
	for _, deaf := range []string{"n0", "n1"} {
		t.Run(deaf, func(t *testing.T) {
			bubble(t, func(t *testing.T, net *cluster.Memory) {
				all := startAll(t, net, 2)
				a, b := all[0], all[1]
				b.toggle("room", "1")
				a.watch("room")
				settle(time.Second)
				net.Tap(func(d cluster.Delivery) bool { return d.To != deaf })
				settle(4 * testInterval)
				b.toggle("room", "2") // nobody is told, if b has given a up
				settle(testInterval)
				net.Tap(nil)
				settle(3 * testInterval)
				want(t, "sees", a.sees("room"), "1 2")
				b.toggle("room", "3")
				synctest.Wait()
				want(t, "sees", a.sees("room"), "1 2 3")
			})
		})
	}
}

// Lists of many members, and of many topics, come in messages below 32 KiB, and few.
func TestWatchParts(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 2)
		a, b := all[0], all[1]
		const topics = 10_000
		for i := range 5000 {
			b.toggle("room", fmt.Sprint("n1.", i))
		}
		settle(time.Second)
		var largest, count atomic.Int64
		net.Tap(func(d cluster.Delivery) bool {
			count.Add(1)
			largest.Store(max(largest.Load(), int64(len(d.Data))))
			return true
		})
		a.watch("room")
		for i := range topics {
			a.watch(fmt.Sprintf("topic-%05d", i))
		}
		settle(time.Second)
		want(t, "ready", a.readies(""), topics+1)
		want(t, "members", len(strings.Fields(a.sees("room"))), 5000)
		want(t, "lists", a.listsTold(), topics+1)
		if largest.Load() >= 32<<10 || count.Load() > 200 {
			t.Errorf("%d messages of up to %d bytes", count.Load(), largest.Load())
		}
		for i := range topics {
			a.unwatch(fmt.Sprintf("topic-%05d", i))
		}
		synctest.Wait()
		want(t, "watched", b.look().told, 1)
	})
}

// The numbers of a topic that is watched again are greater than those of before: nothing old is taken for new.
func TestTellNumbers(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 2)
		a, b := all[0], all[1]
		last := uint64(0)
		for range 3 {
			a.watch("x")
			a.watch("y")
			settle(time.Second)
			for _, topic := range []string{"x", "y", "x"} {
				b.toggle(topic, fmt.Sprint(last))
			}
			synctest.Wait()
			if n := b.number("x"); n <= last {
				t.Errorf("number %d after %d", n, last)
			}
			last = b.number("x")
			want(t, "nobody is told of others", b.Tell("z", Member{}, true, false), uint64(0))
			a.unwatch("x")
			a.unwatch("y")
			settle(time.Second)
			want(t, "nobody is told", b.Tell("x", Member{}, true, false), uint64(0))
		}
	})
}

// A change that shows that others were lost has the list asked for, without waiting for a heartbeat.
func TestWatchGapIsFilledSoon(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 2)
		a, b := all[0], all[1]
		a.watch("room")
		settle(testInterval)
		net.Tap(func(d cluster.Delivery) bool { return kindOf(d) != kindChange && kindOf(d) != kindBeat })
		b.toggle("room", "1")
		settle(0)
		net.Tap(func(d cluster.Delivery) bool { return kindOf(d) != kindBeat })
		b.toggle("room", "2")
		settle(watchGrace + time.Millisecond)
		want(t, "sees", a.sees("room"), "1 2")
	})
}

// Long lists, for whoever watches or asks, leave room for values: a bus that is slow loses none of them.
func TestListsLeaveRoom(t *testing.T) {
	const members, data = 20_000, 1000 // more than the outbox holds
	for _, how := range []string{"watch", "ask"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, net *cluster.Memory) {
				slow := &scripted{Bus: net.Connect("n0")}
				a, b := start(t, net, "n0", func(c *Config) { c.Bus = slow }), start(t, net, "n1")
				settle(2 * time.Second)
				slow.set(func() {
					slow.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
						time.Sleep(time.Duration(len(m)) * time.Millisecond) // 32 MB a second
						return slow.Bus.Publish(ctx, m...)
					}
				})
				list := map[string]Member{}
				for i := range members {
					id := fmt.Sprint("n0.", i)
					list[id] = Member{Session: id, Data: make([]byte, data)}
				}
				a.mu.Lock()
				a.here["room"] = list
				a.mu.Unlock()
				done := make(chan int, 1)
				if how == "watch" {
					b.watch("room")
				} else {
					go func() {
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
						defer cancel()
						n := 0
						list, _ := b.Present(ctx, "room")
						for _, of := range list {
							n += len(of.Members)
						}
						done <- n
					}()
				}
				for range 100 {
					time.Sleep(20 * time.Millisecond)
					a.Everyone().Publish(text("x"))
				}
				settle(time.Second)
				if how == "watch" {
					want(t, "members", len(strings.Fields(b.sees("room"))), members)
				} else {
					want(t, "members", <-done, members)
				}
				if s := a.Stats(); s.Failed > 0 || s.Published > 1500 {
					t.Errorf("%d failed, %d left", s.Failed, s.Published)
				}
			})
		})
	}
}
