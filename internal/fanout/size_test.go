package fanout

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A join and a leave cost the same in a topic of a hundred thousand as in one of a hundred, wherever in it the place is,
// whether the members have caught up or all of them lag, and when all of them leave. What depended on the size would cost
// hundreds of times as much; the quickest of several runs tells.
func TestPitfall16JoinAndLeaveAtAnySize(t *testing.T) {
	const small, ops = 100, 100
	large := 100_000
	if raceEnabled {
		large = 20_000
	}
	for name, rule := range map[string]*Rule{
		"caught up": lossless,
		"lagging":   {Coalesce: true, N: 1, Flush: 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var change, mass [2]time.Duration // of one member, at best
			for i, size := range []int{small, large} {
				e := New(Config{})
				topic := newTopic(e)
				members := make([]*Member, size)
				for j := range members {
					members[j] = newClient(e).join(t, topic, rule)
				}
				publish(t, topic, "x")
				if err := e.Wait(context.Background()); err != nil {
					t.Fatal(err)
				}
				spare := make([]*client, ops)
				for j := range spare {
					spare[j] = newClient(e)
				}
				rng := rand.New(rand.NewPCG(1, uint64(size)))
				change[i], mass[i] = math.MaxInt64, math.MaxInt64
				for range 30 {
					start := time.Now()
					for j, c := range spare { // each takes the place of another
						at := rng.IntN(size)
						old := members[at]
						old.Leave()
						members[at] = c.join(t, topic, rule)
						spare[j].Subscriber = old.sub
					}
					change[i] = min(change[i], time.Since(start)/ops)
				}
				for len(members) > 0 {
					start := time.Now()
					for _, m := range members[:small] {
						m.Leave()
					}
					members = members[small:]
					mass[i] = min(mass[i], time.Since(start)/small)
				}
				if topic.Len() != 0 || len(topic.lag) != 0 {
					t.Errorf("%d members, %d claims are left", topic.Len(), len(topic.lag))
				}
			}
			for what, d := range map[string][2]time.Duration{"leave and join": change, "leave of all": mass} {
				if d[1] > 20*d[0] {
					t.Errorf("%s: %v with %d members, %v with %d", what, d[1], large, d[0], small)
				}
			}
		})
	}
}
