package wshub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/wshub-go/wshub/wshubtest"
)

// Whatever meets whatever in the lives of sessions: renewals, users, joins, kicks, ends, admission, drain. Nothing is left
// of them in the end, the limits are free again, and what is told of each is in order.
func TestLivesRace(t *testing.T) {
	const rounds, each = 15, 25
	for round := range rounds {
		in(t, func(t *testing.T) {
			opts := []Option{
				WithDrain(time.Millisecond, 5*time.Millisecond), WithLimits(Limits{SessionsPerUser: 3, TopicsPerSession: 2, SessionsPerTopic: 10, SessionsPerAddr: 1000}),
				Authenticate(func(*http.Request) (Identity, error) {
					id := Identity{}
					if rand.IntN(3) == 0 {
						id.User = fmt.Sprint("first", rand.Int())
					}
					if rand.IntN(3) == 0 {
						id.Expires = time.Now().Add(time.Duration(rand.IntN(8)) * time.Millisecond)
					}
					return id, nil
				}),
				Authorize(func(ctx context.Context, s *Session, topic string) error {
					runtime.Gosched()
					if rand.IntN(4) == 0 {
						return errors.New("not now")
					}
					return nil
				}),
			}
			if round%3 > 0 {
				opts = append(opts, WithAdmission(time.Duration(round%3)*3*time.Millisecond))
			}
			h := newHub(t, opts...)
			events := h.Events(context.Background(), Evict(50_000, time.Hour))
			var topics []Topic[string]
			for i := range 3 {
				x, err := NewTopic[string](h, fmt.Sprint("t", i), Policy{})
				if err != nil {
					t.Fatal(err)
				}
				topics = append(topics, x)
			}
			watch := topics[0].Watch(t.Context())
			present := make(chan int)
			go func() { // ends with the stream
				in := map[string]bool{}
				for e := range watch.C() {
					for _, m := range e.Members {
						switch {
						case e.Kind == PresenceLeft && !in[m.Session], e.Kind == PresenceJoined && in[m.Session]:
							t.Errorf("%v of %s, who was there: %t", e.Kind, m.Session, in[m.Session])
						}
						if e.Kind == PresenceLeft {
							delete(in, m.Session)
						} else {
							in[m.Session] = true
						}
					}
				}
				present <- len(in)
			}()
			told := make(chan map[string][]Event)
			go func() { // ends with the stream
				all := map[string][]Event{}
				for e := range events.C() {
					all[e.Session] = append(all[e.Session], e)
				}
				told <- all
			}()
			var lives, acts sync.WaitGroup
			handler := h.Handler(func(ctx context.Context, s *Session) error {
				var own sync.WaitGroup
				for range 4 {
					own.Go(func() {
						for range 6 {
							x := topics[rand.IntN(len(topics))]
							switch rand.IntN(12) {
							case 0, 1, 2:
								x.Join(context.Background(), s)
							case 3:
								x.Leave(s)
							case 4:
								s.SetUser(fmt.Sprint("u", rand.IntN(3)))
							case 5:
								s.SetUser("")
							case 6, 7:
								id := Identity{User: fmt.Sprint("u", rand.IntN(3))}
								if rand.IntN(2) == 0 {
									id.Expires = time.Now().Add(time.Duration(rand.IntN(5)) * time.Millisecond)
								}
								s.Renew(context.Background(), id)
							case 8:
								time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
							case 9:
								if rand.IntN(4) == 0 {
									h.User(fmt.Sprint("u", rand.IntN(3))).Close(context.Background(), 4000, "out")
								}
							case 10:
								x.Publish(context.Background(), "v")
							case 11:
								if rand.IntN(6) == 0 {
									s.CloseRead()
								}
							}
						}
					})
				}
				if rand.IntN(2) == 0 {
					own.Wait()
				} else {
					acts.Go(own.Wait) // they go on after the session has ended
				}
				return nil
			})
			for range each {
				lives.Go(func() {
					c, _, err := wshubtest.TryDial(t, handler)
					if err != nil {
						return
					}
					if rand.IntN(2) == 0 {
						c.TrySend("hello")
					}
					switch rand.IntN(3) {
					case 0:
						c.Abort()
					case 1:
						c.TrySendRaw(wshubtest.Frame(true, wshubtest.OpClose, nil))
					}
				})
			}
			if round%2 == 0 {
				time.Sleep(time.Millisecond)
				if err := h.Drain(context.Background()); err != nil {
					t.Error(err)
				}
			}
			lives.Wait()
			time.Sleep(time.Minute)
			acts.Wait()
			st := h.Stats()
			if st.Sessions != 0 || st.Unadmitted != 0 || h.everyone.Len() != 0 || h.taken.Load() != 0 || h.gate.len() != 0 {
				t.Errorf("left: %+v", st)
			}
			for _, x := range topics {
				if x.Len() != 0 {
					t.Errorf("%s has %d members", x.Name(), x.Len())
				}
			}
			for i := range h.table.users {
				if n := len(h.table.users[i].byName); n != 0 {
					t.Errorf("%d users are left in shard %d", n, i)
				}
			}
			for i := range h.addrs.shards {
				if n := len(h.addrs.shards[i].n); n != 0 {
					t.Errorf("%d addresses are left in shard %d", n, i)
				}
			}
			for s := range h.table.every {
				t.Errorf("session %s is left", s.id)
			}
			if err := h.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if n := <-present; n != 0 {
				t.Errorf("%d are present", n)
			}
			for id, list := range <-told {
				if id == "" {
					continue
				}
				checkOrder(t, list)
			}
		})
	}
}
