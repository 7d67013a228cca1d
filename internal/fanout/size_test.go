package fanout

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// Whoever joins a large topic takes a place that somebody has left: nobody moves, the list of chunks stays as it is, and no
// claim of one that has gone is left, whether the members have caught up or all of them lag. What that costs at which
// size is BenchmarkJoinLeave's and BenchmarkDetach's to show.
func TestPitfall16JoinsFillPlacesThatWereLeft(t *testing.T) {
	const size, changes = 5000, 3000
	for name, rule := range map[string]*Rule{
		"caught up": lossless,
		"lagging":   {Coalesce: true, N: 1, Flush: 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			type place struct {
				c  *chunk
				at int
			}
			e := New(Config{})
			topic := newTopic(e)
			members := make([]*Member, size)
			places := map[place]*Member{}
			for i := range members {
				m := newClient(e).join(t, topic, rule)
				members[i], places[place{m.chunk, int(m.place)}] = m, m
			}
			publish(t, topic, "x")
			if err := e.Wait(context.Background()); err != nil {
				t.Fatal(err)
			}
			chunks := len(topic.chunkList())
			rng := rand.New(rand.NewPCG(1, 1))
			for range changes {
				i := rng.IntN(size)
				old := members[i]
				left := place{old.chunk, int(old.place)}
				old.Leave()
				m := newClient(e).join(t, topic, rule)
				if at := (place{m.chunk, int(m.place)}); at != left {
					t.Fatalf("it took place %d, not %d, which was left", at.at, left.at)
				}
				members[i], places[left] = m, m
			}
			for at, m := range places {
				if m.chunk != at.c || int(m.place) != at.at {
					t.Fatal("a member has moved")
				}
			}
			if n := len(topic.chunkList()); n != chunks {
				t.Errorf("%d chunks, want %d", n, chunks)
			}
			for _, m := range members {
				m.Leave()
			}
			if topic.Len() != 0 || len(topic.lag) != 0 {
				t.Errorf("%d members, %d claims are left", topic.Len(), len(topic.lag))
			}
		})
	}
}
