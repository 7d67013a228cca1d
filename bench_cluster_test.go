package wshub

import (
	"context"
	"testing"

	"github.com/wshub-go/wshub/cluster"
)

// BenchmarkTopicPublish publishes to one member over TCP: without a bus, with one and nobody elsewhere, and through a bus
// in memory to a member on another node.
func BenchmarkTopicPublish(b *testing.B) {
	for _, bench := range []struct {
		name  string
		nodes int
		there bool
	}{{"alone", 0, false}, {"bus", 1, false}, {"cluster", 2, true}} {
		b.Run(bench.name, func(b *testing.B) {
			m := cluster.NewMemory()
			defer m.Close()
			hubs := []*Hub{benchHub(b)}
			if bench.nodes > 0 {
				hubs = nil
				for range bench.nodes {
					hubs = append(hubs, benchHub(b, WithBus(m.Bus())))
				}
			}
			topics := make([]Topic[string], len(hubs))
			for i, h := range hubs {
				topic, err := NewTopic[string](h, "room", Block(1024, forever))
				if err != nil {
					b.Fatal(err)
				}
				topics[i] = topic
			}
			last := hubs[len(hubs)-1]
			s := acceptOne(b, last)
			if err := topics[len(hubs)-1].Join(b.Context(), s); err != nil {
				b.Fatal(err)
			}
			const text = "one hundred and twenty-eight bytes of text, which is about what a line of a chat has with who said it and when, if that is in it"
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := topics[0].Publish(context.Background(), text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchHub(b *testing.B, opts ...Option) *Hub {
	b.Helper()
	h, err := New(append([]Option{WithLogger(nil)}, opts...)...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.Close() })
	return h
}
