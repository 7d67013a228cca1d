package wshub_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// A session that changes its place among many while they are listed is in the list once.
func TestPresentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[string](t, h, "room", wshub.Policy{})
		const n = 200
		ss, _ := sessions(t, h, n)
		join(t, topic, ss...)
		var done atomic.Bool
		var wg sync.WaitGroup
		defer wg.Wait()
		defer done.Store(true)
		first, last := ss[0], ss[n-1]
		wg.Go(func() { // each joins where the other was
			for !done.Load() {
				for _, leave := range [][2]*wshub.Session{{first, last}, {last, first}} {
					for _, s := range leave {
						if err := topic.Leave(s); err != nil {
							t.Error(err)
						}
					}
					for _, s := range leave {
						if err := topic.Join(context.Background(), s); err != nil {
							t.Error(err)
						}
					}
				}
			}
		})
		for range 2000 {
			list, err := topic.Present(t.Context())
			seen := make(map[string]bool, n)
			for _, m := range list {
				if seen[m.Session] {
					t.Fatalf("%s is there twice", m.Session)
				}
				seen[m.Session] = true
			}
			if err != nil || len(list) < n-2 {
				t.Fatalf("%d are there, %v", len(list), err)
			}
			runtime.Gosched()
		}
	})
}

// A session that is closing before it was admitted may be in a list for the moment that its join takes to fail. Then it
// is told to have left.
func TestRefusedJoinIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithAdmission(1<<40))
		topic := newTopic[string](t, h, "room", wshub.Policy{})
		arrived, stay := make(chan *wshub.Session), make(chan struct{})
		defer close(stay)
		c := wshubtest.Dial(t, h.Handler(func(_ context.Context, s *wshub.Session) error {
			arrived <- s
			<-stay
			return nil
		}))
		s := <-arrived
		c.SendFrame(true, wshubtest.OpClose, []byte{1000 >> 8, 1000 & 0xff})
		<-s.Context().Done() // it is closing, and takes joins until the handler has returned
		var done atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for !done.Load() {
				if err := topic.Join(context.Background(), s); !errors.Is(err, wshub.ErrSessionClosed) {
					t.Errorf("join: %v", err)
				}
				runtime.Gosched()
			}
		})
		var seen *wshub.Stream[wshub.PresenceEvent]
		for range 200_000 { // one in a few thousand
			w := topic.Watch(context.Background())
			if e := <-w.C(); len(e.Members) > 0 {
				seen = w
				break
			}
			w.Close()
		}
		done.Store(true)
		wg.Wait()
		if seen == nil {
			t.Skip("no list had it")
		}
		defer seen.Close()
		expect(t, seen, wshub.PresenceLeft, s)
		expectQuiet(t, seen)
	})
}
