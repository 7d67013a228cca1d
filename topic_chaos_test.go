package wshub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Sessions and streams that come, go, stall, join, change and leave at random in topics under every policy: accounts are
// exact, totals only grow, and events tell the same.
func TestTopicChaos(t *testing.T) {
	h, err := wshub.New(wshub.WithLogger(nil), wshub.WithWriteTimeout(300*time.Millisecond), wshub.WithLimits(wshub.Limits{TopicsPerSession: 3, SessionsPerTopic: 5, Pending: 60000}))
	if err != nil {
		t.Fatal(err)
	}
	key := func(p price) string { return p.Symbol }
	fams := []wshub.Family[price]{}
	for i, p := range []wshub.Policy{{}, wshub.Coalesce().With(wshub.History(5, 20*time.Millisecond)), wshub.DropOldest(3).With(wshub.History(4, 0)), wshub.DropNewest(3), wshub.Block(5, 5*time.Millisecond), wshub.Evict(5, time.Millisecond)} {
		f, err := wshub.NewFamily(h, fmt.Sprint("f", i), p, wshub.KeyBy(key))
		if err != nil {
			t.Fatal(err)
		}
		fams = append(fams, f)
	}
	views := []wshub.Policy{{}, wshub.DropOldest(2), wshub.Coalesce().With(wshub.FlushEvery(3 * time.Millisecond)), wshub.Replay(3), wshub.Coalesce().With(wshub.Rate(100, 2)).With(wshub.Replay(2)), wshub.DropNewest(1), wshub.PackText(",")}
	events := h.Events(context.Background(), wshub.DropOldest(60000))
	heard := make(chan struct{})
	var dropped uint64
	joined := map[string]int{}
	go func() {
		defer close(heard)
		for e := range events.C() {
			switch e.Kind {
			case wshub.EventDropped:
				dropped += e.N
			case wshub.EventJoined:
				joined[e.Session+e.Topic]++
			case wshub.EventLeft:
				joined[e.Session+e.Topic]--
			}
		}
	}()
	room := func() wshub.Topic[price] {
		tp, err := fams[rand.IntN(len(fams))].Topic(fmt.Sprint(rand.IntN(4)))
		if err != nil {
			t.Error(err)
		}
		return tp
	}
	view := func() wshub.View[price] {
		v := room().With(views[rand.IntN(len(views))])
		if rand.IntN(3) == 0 {
			v = v.Where(func(p price) bool { return p.Value%3 != 0 })
		}
		return v
	}
	handler := h.Handler(func(ctx context.Context, s *wshub.Session) error {
		tick := time.NewTicker(200 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case _, ok := <-s.Messages():
				if !ok {
					return nil
				}
			case <-tick.C:
				switch rand.IntN(6) {
				case 0, 1, 2:
					view().Join(ctx, s)
				case 3:
					view().Update(ctx, s)
				case 4:
					room().Leave(s)
				case 5:
					if rand.IntN(20) == 0 {
						return nil
					}
					room().Except(s).Publish(ctx, price{fmt.Sprint(rand.IntN(5)), rand.IntN(100)})
				}
			}
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // how long it goes on
	defer cancel()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, _, err := wshubtest.TryDial(t, handler, wshubtest.WithBuffer(2000), wshubtest.WithOnMessage(func(wshubtest.Message) {}))
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
				if rand.IntN(2) == 0 {
					c.Stall()
					time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
				}
				c.Abort()
			}
		})
	}
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := room().Publish(ctx, price{fmt.Sprint(rand.IntN(5)), rand.IntN(100)}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				if rand.IntN(20) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				s := view().Subscribe(ctx)
				for range rand.IntN(20) {
					select {
					case <-s.C():
					case <-time.After(time.Millisecond):
					}
				}
				s.Close()
				for range s.C() {
				}
				if a := s.Stats(); a.Offered != a.Sent+a.Coalesced+a.Dropped+a.Filtered+a.Evicted+a.Undelivered+a.Pending {
					t.Errorf("%+v", a)
				}
			}
		})
	}
	wg.Go(func() {
		var last wshub.Tally
		for ctx.Err() == nil {
			a := h.Stats().Topics
			if a.Offered != a.Sent+a.Coalesced+a.Dropped+a.Filtered+a.Evicted+a.Undelivered+a.Pending || a.Offered < last.Offered || a.Pending > 1<<40 {
				t.Errorf("%+v after %+v", a, last)
			}
			last = a
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
	if err := h.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	<-heard
	st := h.Stats()
	var sum wshub.Tally
	for _, f := range fams {
		a := f.Stats()
		sum.Offered += a.Offered
		sum.Sent += a.Sent
		sum.Dropped += a.Dropped
		if a.Pending != 0 {
			t.Errorf("family %+v", a)
		}
	}
	if sum.Offered != st.Topics.Offered || sum.Sent != st.Topics.Sent {
		t.Errorf("%+v %+v", sum, st.Topics)
	}
	if events.Stats().Dropped == 0 && st.EventsLost == 0 && dropped != st.Topics.Dropped+st.Everyone.Dropped {
		t.Errorf("events told of %d dropped, %d were", dropped, st.Topics.Dropped)
	}
	for k, n := range joined {
		if n != 0 {
			t.Errorf("%s joined %d", k, n)
		}
	}
}
