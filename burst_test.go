package wshub_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// A burst of 100,000 values, in no time at all by the clock, to clients that read as fast as they can once it has begun, or
// once it is out. A bound without time in it evicts those that read only then, all of them; with the default grace all values
// arrive, in order; and a grace that has passed evicts.
func TestPitfall61BoundsHaveTime(t *testing.T) {
	const clients = 2
	values := 100_000
	if wshub.RaceEnabled {
		values = 20_000
	}
	for _, x := range []struct {
		name   string
		policy wshub.Policy
		stall  bool
		wait   time.Duration // until the clients read
		evict  bool
	}{
		{"reading", wshub.Policy{}, false, 0, false},
		{"reading just in time", wshub.Policy{}, true, 249 * time.Millisecond, false},
		{"reading too late", wshub.Policy{}, true, 251 * time.Millisecond, true},
		{"no grace", wshub.Evict(1024, 0), true, 0, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, wshub.WithLimits(wshub.Limits{Pending: 2 * values}))
				topic := newTopic[string](t, h, "numbers", x.policy)
				var got [clients]atomic.Int64
				var ss []*wshub.Session
				var cc []*wshubtest.Client
				for i := range clients {
					s, c := sessions(t, h, 1, wshubtest.WithOnMessage(func(m wshubtest.Message) {
						if n := got[i].Add(1) - 1; string(m.Data) != strconv.FormatInt(n, 10) {
							t.Errorf("client %d got %q in place of %d", i, m.Data, n)
						}
					}))
					ss, cc = append(ss, s[0]), append(cc, c[0])
					if x.stall {
						cc[i].Stall()
					}
				}
				join(t, topic, ss...)
				for i := range values {
					if err := topic.Publish(context.Background(), strconv.Itoa(i)); err != nil {
						t.Fatal(err)
					}
				}
				if x.stall {
					time.Sleep(x.wait)
					for _, c := range cc {
						c.Resume()
					}
				}
				synctest.Wait()
				for i, s := range ss {
					if evicted := errors.Is(s.Err(), wshub.ErrSlow); evicted != x.evict {
						t.Errorf("session %d ended with %v", i, s.Err())
					}
					if n := got[i].Load(); !x.evict && n != int64(values) {
						t.Errorf("client %d got %d values", i, n)
					}
				}
				if a := topic.Stats(); a.Offered != a.Sent+a.Evicted || (a.Evicted > 0) != x.evict {
					t.Errorf("%+v", a)
				}
			})
		})
	}
}
