package mesh

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// TestChaos has everybody do everything at once, on a bus that comes and goes, until Close in the middle of it. Afterwards
// all numbers are accounted for.
func TestChaos(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t, cluster.WithSeed(seed), cluster.WithEcho())
			buses := []*cluster.MemoryBus{m.Bus(), m.Bus(), m.Bus()}
			nodes := make([]plane, len(buses))
			for i, bus := range buses {
				nodes[i] = newPlane(t, bus, func(c *Config) { c.Node = fmt.Sprint("node", i) })
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var wg sync.WaitGroup
			spawn := func(n int, f func(r *rand.Rand)) {
				for i := range n {
					r := rand.New(rand.NewPCG(seed, uint64(i)))
					wg.Go(func() {
						for ctx.Err() == nil {
							f(r)
							time.Sleep(time.Duration(r.Int64N(int64(100 * time.Millisecond))))
						}
					})
				}
			}
			for i, n := range nodes {
				for k := range 5 {
					name := fmt.Sprint("topic", k)
					topic := n.Topic(name, uint64(i+1), &checked{t: t, last: map[Origin]uint64{}})
					topic.Want()
					wg.Go(func() { // in turns
						r := rand.New(rand.NewPCG(seed, uint64(100+10*i+k)))
						for ctx.Err() == nil {
							time.Sleep(time.Duration(r.Int64N(int64(7 * time.Second))))
							topic.Unwant()
							time.Sleep(time.Duration(r.Int64N(int64(7 * time.Second))))
							topic.Want()
							topic.Await(ctx)
						}
					})
					spawn(2, func(r *rand.Rand) {
						if r.IntN(4) == 0 {
							_ = topic.PublishSure(ctx, text("sure"))
						} else {
							topic.Publish(text("value"))
						}
					})
				}
				spawn(1, func(r *rand.Rand) {
					user := fmt.Sprint("user", r.IntN(5), i) // in turns
					n.WantUser(user)
					nodes[(i+1)%len(nodes)].Send(To{ToUser, user}, Payload{Data: []byte("hi")})
					n.Kick(To{ToUser, user}, 1000, "")
					n.UnwantUser(user)
					_ = n.Stats()
					_, _ = n.State()
				})
			}
			spawn(1, func(r *rand.Rand) {
				bus := buses[r.IntN(len(buses))]
				time.Sleep(time.Duration(r.Int64N(int64(3 * time.Second))))
				bus.Down()
				time.Sleep(time.Duration(r.Int64N(int64(time.Second))))
				bus.Up()
			})
			time.Sleep(28 * time.Second)
			if err := nodes[2].Close(ctx); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			wg.Wait()
			for i, n := range nodes[:2] {
				s := n.Stats()
				if s.Published == 0 || s.Failed == 0 || s.Received == 0 || s.Malformed+s.Foreign > 0 {
					t.Errorf("seed %d, node %d: %+v", seed, i, s)
				}
				var numbered uint64
				for k := range 5 {
					i, to := n.keep.lookup(fmt.Sprint("wshub.t.topic", k))
					if i != nil && to.topic != nil {
						_, next := to.topic.Next()
						numbered += next - 1
					}
				}
				if numbered > s.Published+s.Failed {
					t.Errorf("seed %d, node %d: %d numbers, %+v", seed, i, numbered, s)
				}
			}
		})
	}
}

// checked is a topic whose values have to rise for each origin. The loop's.
type checked struct {
	t    *testing.T
	last map[Origin]uint64
}

func (c *checked) Len() int { return 0 }

func (c *checked) Receive(v Value) {
	if v.Number <= c.last[v.Origin] {
		c.t.Errorf("%d after %d", v.Number, c.last[v.Origin])
	}
	c.last[v.Origin] = v.Number
}
