package wshub_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/wshubtest"
)

// BenchmarkCount counts a topic and everyone on one of many nodes, each of which has a member.
func BenchmarkCount(b *testing.B) {
	for _, nodes := range []int{5, 50, 500} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			m := cluster.NewMemory()
			b.Cleanup(m.Close)
			var first wshub.Topic[string]
			var hub *wshub.Hub
			for i := range nodes {
				// Heartbeats of 500 nodes would be measured too.
				h, err := wshub.New(wshub.WithBus(m.Bus()), wshub.WithNode(fmt.Sprint("n", i)), wshub.WithLogger(nil), wshub.WithPresence(time.Minute, 0))
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { h.Close() })
				room, err := wshub.NewTopic[string](h, "room", wshub.Policy{})
				if err != nil {
					b.Fatal(err)
				}
				if i == 0 {
					hub, first = h, room
				}
				joined := make(chan error, 1)
				wshubtest.Dial(b, h.Handler(func(ctx context.Context, s *wshub.Session) error {
					joined <- room.Join(ctx, s)
					<-ctx.Done()
					return nil
				}))
				if err := <-joined; err != nil {
					b.Fatal(err)
				}
			}
			count := func() (int, int) {
				members, err := first.Count(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				sessions, err := hub.Everyone().Count(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				return members, sessions
			}
			for start := time.Now(); ; time.Sleep(10 * time.Millisecond) { // the nodes get to know each other
				members, sessions := count()
				if members == nodes && sessions == nodes {
					break
				}
				if time.Since(start) > time.Minute {
					b.Fatalf("%d members and %d sessions on %d nodes", members, sessions, nodes)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if members, sessions := count(); members != nodes || sessions != nodes {
					b.Fatal("wrong")
				}
			}
		})
	}
}
