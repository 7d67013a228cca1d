package mesh

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// kindOf returns the kind of a message.
func kindOf(d cluster.Delivery) kind {
	var e envelope
	if e.parse(d.Data) != nil {
		return 0
	}
	return e.kind
}

func snapshotsOf(nodes []*folk) (sum, most uint64) {
	for _, f := range nodes {
		n := f.look().snapshots
		sum, most = sum+n, max(most, n)
	}
	return sum, most
}

// A heartbeat that was missed is noticed by the next one, and made up for.
func TestLostBeat(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 3)
		a, b := all[0], all[1]
		net.Tap(func(d cluster.Delivery) bool { return kindOf(d) != kindBeat || d.To != "n1" })
		a.set("x", 7)
		a.set("y", 1)
		settle(time.Second)
		net.Tap(nil)
		want(t, "x while it is lost", b.topic("x").Others(), 0)
		a.set("y", 2)
		settle(time.Second)
		want(t, "x", b.topic("x").Others(), 7)
		want(t, "y", b.topic("y").Others(), 2)
	})
}

// A snapshot in many parts of which some are lost is not taken for the whole, and asked for again.
func TestLostPart(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		a := start(t, net, "a")
		const topics = 20_000
		for i := range topics {
			a.set(fmt.Sprintf("room-%06d", i), i%3+1)
		}
		settle(3 * time.Second)
		var parts atomic.Int64
		net.Tap(func(d cluster.Delivery) bool {
			if kindOf(d) != kindPart {
				return true
			}
			n := parts.Add(1)
			return n > 50 || n%7 != 3
		})
		b := start(t, net, "b")
		settle(time.Second)
		if n := b.topic("room-000019").Others(); n != 0 {
			t.Errorf("part of a snapshot was taken")
		}
		settle(15 * time.Second)
		want(t, "topics", b.look().totals, topics)
		want(t, "room-000019", b.topic("room-000019").Others(), 2)
		want(t, "behind", b.look().behind, 0)
	})
}

// A snapshot that takes a while is taken although counts change all the time.
func TestSnapshotOfBusyNode(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		a := start(t, net, "a")
		const topics = 60_000
		name := func(i int) string { return fmt.Sprintf("%s-%06d", strings.Repeat("x", 200), i) }
		for i := range topics {
			a.set(name(i), 1)
		}
		settle(3 * time.Second)
		b := start(t, net, "b")
		for i := range 250 {
			a.set(name(i), 2)
			settle(10 * time.Millisecond)
		}
		want(t, "topics", b.look().totals, topics)
		want(t, "snapshots", a.look().snapshots, uint64(1))
		settle(time.Second)
		for i := range 300 {
			if n := b.topic(name(i)).Others(); n != 1 && i >= 250 || n != 2 && i < 250 {
				t.Fatalf("topic %d: %d", i, n)
			}
		}
	})
}

// Those who start at once, and those who meet again after a partition, exchange a few snapshots each, not one for each pair.
func TestStorm(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		const nodes = 50
		all := make([]*folk, nodes)
		var wants atomic.Int64
		net.Tap(func(d cluster.Delivery) bool {
			if kindOf(d) == kindWant {
				wants.Add(1)
			}
			return true
		})
		for i := range all {
			all[i] = start(t, net, fmt.Sprintf("n%d", i))
			all[i].set("x", i)
			all[i].setSessions(i)
		}
		settle(2 * testInterval)
		truth(t, all)
		sum, most := snapshotsOf(all)
		t.Logf("start: %d snapshots, at most %d of a node, %d requests", sum, most, wants.Load())
		if sum > 2*nodes || most > 3 || wants.Load() > nodes {
			t.Errorf("start: %d snapshots, at most %d of a node, %d requests", sum, most, wants.Load())
		}
		for _, away := range []time.Duration{testInterval, 30 * time.Second} {
			side := []string{}
			for i := range nodes / 2 {
				side = append(side, fmt.Sprintf("n%d", i))
			}
			before, _ := snapshotsOf(all)
			wants.Store(0)
			net.Partition(side)
			for _, f := range all {
				f.set("x", rand.IntN(100))
			}
			settle(away)
			net.Partition()
			settle(3 * testInterval)
			want(t, "x", all[0].topic("x").Others()+all[0].topic("x").Len(), all[40].topic("x").Others()+all[40].topic("x").Len())
			after, _ := snapshotsOf(all)
			t.Logf("after %v: %d snapshots, %d requests", away, after-before, wants.Load())
			if after-before > 3*nodes || wants.Load() > nodes*nodes/2 {
				t.Errorf("after %v: %d snapshots, %d requests", away, after-before, wants.Load())
			}
		}
		for _, f := range all[1:] {
			want(t, f.id+" peers", len(f.Peers()), nodes-1)
		}
	})
}

// Counts are exact, whatever happens, once all can hear each other again.
func TestCountsModel(t *testing.T) {
	seeds := 15
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, net *cluster.Memory) { countsModel(t, net, uint64(seed)) }, cluster.WithSeed(uint64(seed)))
		})
	}
}

func countsModel(t *testing.T, net *cluster.Memory, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	topics := []string{"a", "b", "c", "d", "e"}
	var nodes []*folk
	made := 0
	begin := func() {
		nodes = append(nodes, start(t, net, fmt.Sprintf("n%d", made)))
		made++
	}
	for range 4 {
		begin()
	}
	faults := cluster.Faults{MaxDelay: 30 * time.Millisecond}
	if seed%3 > 0 {
		faults.Drop = 0.2
		faults.Duplicate = 0.1
	}
	if seed%3 > 1 {
		faults.Reorder = 0.1
	}
	for round := range 4 {
		net.SetFaults(faults)
		for range 150 {
			f := nodes[r.IntN(len(nodes))]
			topic := topics[r.IntN(len(topics))]
			switch v := r.IntN(100); {
			case v < 60:
				f.toggle(topic, fmt.Sprintf("%s.%d", f.id, r.IntN(8)))
			case v < 70:
				f.setSessions(r.IntN(10))
			case v < 80:
				if f.views[topic] == nil {
					f.watch(topic)
				} else {
					f.unwatch(topic)
				}
			case v < 83:
				var side []string
				for i := range made {
					if r.IntN(2) == 0 {
						side = append(side, fmt.Sprintf("n%d", i))
					}
				}
				net.Partition(side)
			case v < 86:
				net.Partition()
			case v < 88 && len(nodes) < 8:
				begin()
			case v < 90 && len(nodes) > 3:
				i := r.IntN(len(nodes))
				if r.IntN(2) == 0 {
					nodes[i].kill()
				} else {
					nodes[i].end()
				}
				nodes[i] = nodes[len(nodes)-1]
				nodes = nodes[:len(nodes)-1]
			case v < 92:
				settle(time.Duration(r.IntN(20)) * time.Second)
			default:
				settle(time.Duration(r.IntN(500)) * time.Millisecond)
			}
		}
		net.Partition()
		net.SetFaults(cluster.Faults{})
		settle(6 * testInterval)
		truth(t, nodes, topics...)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	for _, f := range nodes {
		if len(f.refused) > 0 {
			t.Errorf("%s refused %v", f.id, f.refused[0])
		}
		if l := f.look(); l.unsettled+l.unready+l.asks+l.owed+l.behind > 0 {
			t.Errorf("%s: something is left: %+v", f.id, l)
		}
	}
}
