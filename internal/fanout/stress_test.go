package fanout

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestStress publishes, sends, joins, leaves, stalls and ends from many goroutines in real time, and checks what holds
// whatever their order: per publisher and topic, and across what one goroutine published, everything arrives in order
// and once, accounts add up at any time, and at rest everything was decided.
func TestStress(t *testing.T) {
	const topics, publishers, subscribers = 6, 3, 60
	span := 2 * time.Second
	if raceEnabled || testing.Short() {
		span = time.Second
	}
	e := New(Config{Workers: 4, WriteTimeout: time.Minute})
	var all []*Topic
	for range topics {
		all = append(all, newTopic(e))
	}
	rules := []*Rule{lossless, lossless, {N: 5000, Age: time.Minute, Pack: true, Sep: "|"}, {Overflow: DropOldest, N: 20}, {Overflow: DropNewest, N: 20},
		{Overflow: Block, N: 200, Age: time.Minute}, {Coalesce: true, N: 1}, {Coalesce: true, N: 1, Limit: 500, Burst: 5}, {Overflow: DropOldest, N: 50, Flush: time.Millisecond}}

	type joined struct {
		m     *Member
		topic int
		loose bool
	}
	type reader struct {
		*client
		mu      sync.Mutex
		members []joined
	}
	var readers []*reader
	for range subscribers {
		readers = append(readers, &reader{client: newClient(e)})
	}
	var stop atomic.Bool
	var actors, publishing sync.WaitGroup
	var direct atomic.Uint64
	for p := range publishers {
		publishing.Go(func() {
			r := rand.New(rand.NewPCG(uint64(p), 2))
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			for n := 0; !stop.Load(); n++ {
				if r.IntN(4) == 0 {
					if readers[r.IntN(subscribers)].TrySend(entry(fmt.Sprintf("%d.%d.-1.0", p, n))) == nil {
						direct.Add(1)
					}
					continue
				}
				i := r.IntN(topics)
				key := 1 + r.IntN(3)
				if err := all[i].Publish(ctx, keyed(key, fmt.Sprintf("%d.%d.%d.%d", p, n, i, key))); err != nil {
					t.Errorf("Publish: %v", err)
					return
				}
				if n%16 == 0 {
					time.Sleep(50 * time.Microsecond)
				}
			}
		})
	}
	for k := range subscribers / 10 {
		actors.Go(func() {
			r := rand.New(rand.NewPCG(uint64(k), 3))
			for !stop.Load() {
				x := readers[10*k+r.IntN(10)]
				switch r.IntN(12) {
				case 0, 1, 2, 3:
					i, rule := r.IntN(topics), rules[r.IntN(len(rules))]
					if m, err := all[i].Join(x.Subscriber, rule, nil, 0); err == nil {
						x.mu.Lock()
						x.members = append(x.members, joined{m, i, rule.Coalesce || rule.paced()})
						x.mu.Unlock()
					}
				case 4, 5:
					if ms := x.Members(); len(ms) > 0 {
						ms[r.IntN(len(ms))].Leave()
					}
				case 6, 7:
					x.conn.stall(r.IntN(100))
				case 8, 9:
					x.conn.resume()
				case 10:
					for _, m := range x.Members() {
						balanced(t, "member", m.Tally())
					}
					balanced(t, "topic", all[r.IntN(topics)].Tally())
					balanced(t, "direct", e.Direct())
				case 11:
					switch r.IntN(100) {
					case 0:
						x.conn.fail(os.ErrClosed)
					case 1:
						x.Seal()
					case 2:
						x.Detach()
					}
				}
				time.Sleep(20 * time.Microsecond)
			}
		})
	}
	time.Sleep(span)
	stop.Store(true)
	actors.Wait()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		pending := e.Direct().Pending
		for _, x := range readers {
			x.conn.resume()
		}
		for _, topic := range all {
			pending += topic.Tally().Pending
		}
		if pending == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d values are pending, all read", pending)
		}
	}
	publishing.Wait()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		pending := e.Direct().Pending
		for _, topic := range all {
			pending += topic.Tally().Pending
		}
		if pending == 0 {
			break
		}
	}
	await(t, e)
	for i, topic := range all {
		var sum Tally
		for _, x := range readers {
			for _, j := range x.members {
				if j.topic == i {
					sum = sum.Add(j.m.Tally())
				}
			}
		}
		if a := topic.Tally(); a != sum || a.Pending != 0 {
			t.Errorf("topic %d: %+v, its members %+v", i, a, sum)
		}
	}
	if a := e.Direct(); a.Offered != direct.Load() || a.Pending != 0 {
		t.Errorf("Direct: %+v, %d accepted", a, direct.Load())
	}
	for _, x := range readers {
		loose := make(map[int]bool)
		sent := uint64(0)
		for _, j := range x.members {
			loose[j.topic] = loose[j.topic] || j.loose
			sent += j.m.Tally().Sent
		}
		seen := make(map[string]bool)
		last := make(map[int]int)    // per publisher
		keys := make(map[[3]int]int) // per publisher, topic and key
		for _, text := range strings.FieldsFunc(strings.Join(x.conn.received(), "|"), func(r rune) bool { return r == '|' }) {
			var v [4]int
			for i, part := range strings.Split(text, ".") {
				v[i], _ = strconv.Atoi(part)
			}
			p, n, topic, key := v[0], v[1], v[2], v[3]
			if seen[text] {
				t.Errorf("%s arrived twice", text)
			}
			seen[text] = true
			if k := [3]int{p, topic, key}; topic >= 0 && n < keys[k] {
				t.Errorf("%s arrived after %d of its key", text, keys[k])
			} else {
				keys[k] = n
			}
			if topic >= 0 {
				sent--
			}
			if topic < 0 || !loose[topic] {
				if n < last[p] {
					t.Errorf("%s arrived after %d", text, last[p])
				}
				last[p] = n
			}
		}
		if sent != 0 {
			t.Errorf("%d values arrived less than were sent", int64(sent))
		}
		x.Detach()
	}
	for _, topic := range all {
		resting(t, topic)
	}
	await(t, e)
}
