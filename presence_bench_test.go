package wshub

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/mesh"
)

// A join and a leave, by who has to be told of them.
func BenchmarkJoinLeave(b *testing.B) {
	for _, bench := range []struct {
		name        string
		bus         bool
		here, there bool // who watches
	}{
		{name: "alone"},
		{name: "alone watched", here: true},
		{name: "cluster", bus: true},
		{name: "cluster watched here", bus: true, here: true},
		{name: "cluster watched there", bus: true, there: true},
	} {
		b.Run(bench.name, func(b *testing.B) {
			broker := cluster.NewMemory()
			defer broker.Close()
			var topics []Topic[string]
			for range 2 {
				opts := []Option{WithPresence(100*time.Millisecond, 0)}
				if bench.bus {
					opts = append(opts, WithBus(broker.Bus()))
				}
				topic, err := NewTopic[string](newHub(b, opts...), "room", Policy{})
				if err != nil {
					b.Fatal(err)
				}
				topics = append(topics, topic)
			}
			s := acceptOne(b, topics[0].st.hub)
			if err := topics[0].Join(context.Background(), s); err != nil {
				b.Fatal(err)
			}
			for i, watched := range []bool{bench.here, bench.there} {
				if !watched {
					continue
				}
				w := topics[i].Watch(context.Background())
				defer w.Close()
				for e := <-w.C(); bench.bus && len(e.Members) == 0; e = <-w.C() {
				}
				go func() { // ends with the stream
					for range w.C() {
					}
				}()
			}
			if err := topics[0].Leave(s); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := topics[0].Join(context.Background(), s); err != nil {
					b.Fatal(err)
				}
				if err := topics[0].Leave(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Count is as quick with many nodes as with none: their sums are kept.
func BenchmarkTopicCount(b *testing.B) {
	for _, nodes := range []int{1, 5, 50} {
		b.Run(fmt.Sprintf("%d nodes", nodes), func(b *testing.B) {
			broker := cluster.NewMemory()
			defer broker.Close()
			var topic Topic[string]
			for i := range nodes {
				h := newHub(b, WithBus(broker.Bus()), WithPresence(100*time.Millisecond, 0))
				t, err := NewTopic[string](h, "room", Policy{})
				if err != nil {
					b.Fatal(err)
				}
				if i == 0 {
					topic = t
				}
				if err := t.Join(context.Background(), acceptOne(b, h)); err != nil {
					b.Fatal(err)
				}
			}
			for n := 0; n < nodes; n, _ = topic.Count(context.Background()) {
				time.Sleep(time.Millisecond)
			}
			b.ReportAllocs()
			for b.Loop() {
				if n, err := topic.Count(context.Background()); n != nodes || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// What a node with many members costs those who watch, when it goes and comes back.
func BenchmarkNodeGoesAndComes(b *testing.B) {
	for _, grace := range []time.Duration{0, time.Minute} {
		b.Run(fmt.Sprintf("grace %v", grace), func(b *testing.B) {
			h := newHub(b, WithPresence(time.Second, grace))
			topic, err := NewTopic[string](h, "room", Policy{})
			if err != nil {
				b.Fatal(err)
			}
			w := topic.Watch(context.Background())
			defer w.Close()
			go func() { // ends with the stream
				for range w.C() {
				}
			}()
			a := topic.st.attendance()
			a.mu.Lock()
			a.far = map[string]farMember{}
			a.mu.Unlock()
			defer func() {
				a.mu.Lock()
				a.far = nil // there is nobody to be told
				a.mu.Unlock()
			}()
			const n = 10_000
			lists := [2][]mesh.Member{}
			for i := range n {
				for k := range lists {
					lists[k] = append(lists[k], mesh.Member{Session: fmt.Sprintf("%d.%d", k, i), User: fmt.Sprint("user", i)})
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				a.membersAre(mesh.Origin(1+i%2), "n", lists[i%2])
				a.membersGone(mesh.Origin(1 + i%2))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/member")
		})
	}
}
