package mesh

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

func TestNodesMeet(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		a, b := start(t, net, "a"), start(t, net, "b")
		a.setSessions(3)
		a.set("news", 2)
		settle(time.Second)
		want(t, "a", a.peers(), "b:0")
		want(t, "b", b.peers(), "a:3")
		want(t, "news", b.topic("news").Others(), 2)
		want(t, "everyone", b.Everyone().Others(), 3)

		c := start(t, net, "c")
		settle(time.Second) // it is told by those who are there
		want(t, "c", c.peers(), "a:3 b:0")
		want(t, "news", c.topic("news").Others(), 2)

		a.end()
		settle(0)
		want(t, "b after bye", b.peers(), "c:0")
		want(t, "news after bye", b.topic("news").Others(), 0)
		want(t, "totals", b.look().totals, 0)
		want(t, "evicted", b.Stats().Evicted, uint64(0))
	})
}

// Three silent intervals are the end of a node, one that is heard now and then is not.
func TestPitfall34Eviction(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 3)
		dead, flapping, watching := all[0], all[1], all[2]
		dead.set("x", 5)
		flapping.set("x", 1)
		settle(time.Second)
		want(t, "x", watching.topic("x").Others(), 6)
		dead.kill()
		var beats atomic.Int64
		net.Tap(func(d cluster.Delivery) bool { return d.From != "n1" || kindOf(d) != kindBeat || beats.Add(1)%3 == 0 })
		settle(3*testInterval + time.Second)
		want(t, "x", watching.topic("x").Others(), 1)
		want(t, "evicted", watching.Stats().Evicted, uint64(1))
		for range 10 {
			settle(testInterval)
		}
		want(t, "flapping", watching.peers(), "n1:0")
	})
}

// Memory of what a node has is released when it goes.
func TestTableGoes(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 2)
		for i := range 1000 {
			all[0].set(fmt.Sprint("t", i), 1)
		}
		settle(2 * testInterval)
		want(t, "totals", all[1].look().totals, 1000)
		for i := range 999 {
			all[0].set(fmt.Sprint("t", i), 0)
		}
		settle(2 * testInterval)
		want(t, "totals", all[1].look().totals, 1)
		all[0].kill()
		settle(4 * testInterval)
		want(t, "totals", all[1].look().totals, 0)
		want(t, "peers", all[1].look().peers+all[1].look().nodes, 0)
	})
}

// Whatever goroutines ask and tell while nodes come and go, nothing is left behind and the counts are right in the end.
func TestManyAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		often := func(every time.Duration, f func(i int)) {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					f(i)
					time.Sleep(every)
				}
			})
		}
		for i, f := range all {
			room, hall := f.topic("room"), f.topic("hall")
			often(10*time.Millisecond, func(int) {
				_, _, _ = room.Others(), f.OtherSessions(), f.Watched("room")
				for _, p := range f.Peers() {
					_ = f.Node.peers.knows(p.Node)
				}
			})
			often(7*time.Millisecond, func(j int) {
				hall.size.Store(int64(j))
				hall.Changed()
				f.setSessions(j)
			})
			often(50*time.Millisecond, func(j int) { f.toggle("room", fmt.Sprintf("n%d.%d", i, j%10)) })
			often(300*time.Millisecond, func(j int) {
				if j%2 == 0 {
					f.Node.Watch("room")
				} else {
					f.Node.Unwatch("room")
				}
			})
			often(time.Second, func(int) {
				short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
				defer cancel()
				_, _ = f.CountUser(short, "ann")
				_, _ = f.Present(short, "room")
				_, _ = f.AskSession(short, "n1.there")
			})
		}
		often(2*time.Second, func(j int) {
			f := start(t, net, fmt.Sprint("guest", j))
			time.Sleep(time.Second)
			if j%2 == 0 {
				f.kill()
			} else {
				f.end()
			}
		})
		wg.Wait()
		settle(4 * testInterval)
		truth(t, all, "hall", "room")
		for _, f := range all {
			want(t, "open asks", f.look().asks, 0)
			want(t, "nodes", f.look().nodes, 2)
		}
	})
}
