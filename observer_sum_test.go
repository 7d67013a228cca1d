package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// sums is what somebody was told, added up.
type sums struct {
	kinds   map[wshub.EventKind]int
	topics  map[string]uint64 // dropped values
	evicted int               // sessions
	codes   map[wshub.StatusCode]int
}

func newSums() *sums {
	return &sums{map[wshub.EventKind]int{}, map[string]uint64{}, 0, map[wshub.StatusCode]int{}}
}

func (s *sums) add(e wshub.Event) {
	s.kinds[e.Kind]++
	switch {
	case e.Kind == wshub.EventDropped:
		s.topics[e.Topic] += e.N
	case e.Kind == wshub.EventEvicted && e.Session != "":
		s.evicted++
	case e.Kind == wshub.EventDisconnected:
		s.codes[e.Code]++
	}
}

// What observers are told, what Events tells and what Stats has counted add up to the same.
func TestObserverSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard, read := newSums(), newSums()
		h, err := wshub.New(wshub.WithLogger(nil), wshub.WithObserver(all(heard.add)),
			wshub.WithPolicy(wshub.DropOldest(20)), wshub.WithInbound(wshub.DropNewest(2)),
			wshub.WithLimits(wshub.Limits{SessionsPerUser: 6}),
			wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
				if rand.IntN(10) == 0 {
					return wshub.Identity{}, errors.New("no")
				}
				return wshub.Identity{User: r.URL.Query().Get("as")}, nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		events := h.Events(context.Background(), wshub.DropOldest(60_000))
		done := make(chan struct{})
		go func() { // ends with the stream
			defer close(done)
			for e := range events.C() {
				read.add(e)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var topics []wshub.Topic[[]byte]
		for i, p := range []wshub.Policy{wshub.DropOldest(5), wshub.DropNewest(5), wshub.Evict(20, 5*time.Millisecond)} {
			topics = append(topics, newTopic[[]byte](t, h, fmt.Sprint("t", i), p))
		}
		handler := h.Handler(func(ctx context.Context, s *wshub.Session) error {
			for _, topic := range topics {
				if err := topic.Join(ctx, s); err != nil {
					return err
				}
			}
			for range s.Messages() {
				time.Sleep(5 * time.Millisecond)
				if rand.IntN(20) == 0 {
					panic("broken")
				}
			}
			return nil
		})
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				for ctx.Err() == nil {
					c, _, err := wshubtest.TryDial(t, handler, wshubtest.WithBuffer(2000), wshubtest.WithPath(fmt.Sprintf("/?as=%d", rand.IntN(3))))
					if err != nil {
						time.Sleep(time.Millisecond)
						continue
					}
					for range rand.IntN(20) {
						c.TrySend("hello")
					}
					if rand.IntN(2) == 0 {
						c.Stall()
					}
					time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
					c.Abort()
				}
			})
		}
		for _, topic := range topics {
			wg.Go(func() {
				for ctx.Err() == nil {
					topic.Publish(ctx, make([]byte, 200))
					time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
				}
			})
			stream := topic.Subscribe(ctx)
			wg.Go(func() {
				for range stream.C() {
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-done
		st := h.Stats()
		if st.EventsLost+st.ObserverMissed != 0 || events.Stats().Dropped != 0 {
			t.Fatalf("not everything was told: %+v", st)
		}
		for name, s := range map[string]*sums{"observer": heard, "events": read} {
			if fmt.Sprint(s) != fmt.Sprint(heard) {
				t.Errorf("%s: %+v, observers were told %+v", name, s, heard)
			}
			for i, topic := range topics {
				if a := topic.Stats(); s.topics[topic.Name()] != a.Dropped || i < 2 && a.Dropped == 0 || a.Pending != 0 {
					t.Errorf("%s: %s dropped %d of %+v", name, topic.Name(), s.topics[topic.Name()], a)
				}
			}
			for _, c := range []struct {
				what      string
				told, was uint64
			}{
				{"connected", uint64(s.kinds[wshub.EventConnected]), st.Accepted},
				{"disconnected", uint64(s.kinds[wshub.EventDisconnected]), st.Accepted},
				{"left", uint64(s.kinds[wshub.EventLeft]), uint64(s.kinds[wshub.EventJoined])},
				{"refused", uint64(s.kinds[wshub.EventRefused]), st.Refused},
				{"evicted", uint64(s.evicted), st.Evicted},
				{"dropped of everyone and inbound", s.topics[""], st.Everyone.Dropped + st.InboundDropped},
			} {
				if c.told != c.was || c.was == 0 {
					t.Errorf("%s: %s %d, counted %d", name, c.what, c.told, c.was)
				}
			}
		}
	})
}
