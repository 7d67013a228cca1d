package wshub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wshub-go/wshub/wshubtest"
)

// Clients that come, talk, stall and go in every way, over real sockets, while others send, kick, rename and at last
// shut down: nothing hangs, every session gets its events in order, and all accounts close.
func TestChaos(t *testing.T) {
	h := newHub(t,
		WithPolicy(Evict(50, 20*time.Millisecond)),
		WithKeepAlive(20*time.Millisecond, 20*time.Millisecond),
		WithWriteTimeout(200*time.Millisecond),
		WithLimits(Limits{Sessions: 30, SessionsPerUser: 10}),
		WithInbound(Evict(4, 5*time.Millisecond)),
		Authenticate(func(r *http.Request) (Identity, error) {
			id := Identity{User: r.URL.Query().Get("as")}
			if rand.IntN(10) == 0 {
				id.Expires = time.Now().Add(20 * time.Millisecond)
			}
			return id, nil
		}))
	events := h.Events(context.Background(), DropOldest(60_000))
	seen := make(chan error, 1)
	go func() { // ends with the stream
		defer close(seen)
		last := map[string]EventKind{}
		for e := range events.C() {
			if e.Kind == EventRefused { // no session
				continue
			}
			before, known := last[e.Session]
			if e.Kind == EventConnected && known || e.Kind != EventConnected && !known || before == EventDisconnected {
				seen <- fmt.Errorf("%v after %v", e.Kind, before)
				return
			}
			last[e.Session] = e.Kind
		}
		for id, k := range last {
			if k != EventDisconnected {
				seen <- fmt.Errorf("session %s ended with %v", id, k)
				return
			}
		}
	}()
	srv := wshubtest.Server(t, h.Handler(func(ctx context.Context, s *Session) error {
		for m := range s.Messages() {
			switch rand.IntN(20) {
			case 0:
				return &CloseError{Code: 4000}
			case 1:
				s.Close(1000, "")
			case 2:
				s.SetUser(fmt.Sprint(rand.IntN(5)))
			case 3:
				time.Sleep(10 * time.Millisecond)
			default:
				if err := s.Send(ctx, m); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	loop := func(f func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	for range 20 {
		loop(func() {
			c, _, err := srv.TryDialTCP(wshubtest.WithPath(fmt.Sprintf("/?as=%d", rand.IntN(5))), wshubtest.WithOnMessage(func(wshubtest.Message) {}))
			if err != nil {
				return
			}
			for range rand.IntN(20) {
				c.TrySend("hello")
			}
			if rand.IntN(4) == 0 {
				c.Stall()
				time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			}
			c.Abort()
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	loop(func() { h.Everyone().Send(ctx, Binary(make([]byte, 4000))); time.Sleep(time.Millisecond) })
	loop(func() { h.User(fmt.Sprint(rand.IntN(5))).Send(ctx, Text("user")); time.Sleep(time.Millisecond) })
	loop(func() {
		h.User(fmt.Sprint(rand.IntN(5))).Close(ctx, 4001, "kicked")
		for s := range h.Sessions() {
			s.User()
			s.Err()
		}
		time.Sleep(20 * time.Millisecond)
	})
	time.Sleep(time.Second) // how long it goes on, not a wait for anything
	if err := h.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	close(stop)
	cancel()
	wg.Wait()
	if err := <-seen; err != nil {
		t.Error(err)
	}
	st := h.Stats()
	for name, a := range map[string]Tally{"everyone": st.Everyone, "direct": st.Direct} {
		if a.Pending != 0 || a.Offered != a.Sent+a.Coalesced+a.Dropped+a.Filtered+a.Evicted+a.Undelivered {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if st.Accepted == 0 || st.Sessions != 0 || st.EventsLost != 0 {
		t.Errorf("stats: %+v", st)
	}
	for i := range h.table.users {
		if n := len(h.table.users[i].byName); n != 0 {
			t.Errorf("%d users are left in the index", n)
		}
	}
	t.Logf("%+v", st)
}
