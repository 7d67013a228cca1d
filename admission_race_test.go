package wshub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/wshubtest"
)

// Admission by several at once races the session's end, its timeout too. Either it was there, from connected to
// disconnected, or it never was; nothing is left of it anywhere, and whoever is told that it was admitted can find it.
func TestAdmissionRacesEnd(t *testing.T) {
	const rounds, each = 40, 20
	for i := range rounds {
		in(t, func(t *testing.T) {
			h := newHub(t, WithAdmission(time.Millisecond))
			events := h.Events(context.Background(), Evict(50_000, time.Hour))
			told := make(chan map[string][]Event)
			go func() { // ends with the stream
				all := map[string][]Event{}
				for e := range events.C() {
					all[e.Session] = append(all[e.Session], e)
				}
				told <- all
			}()
			topic, err := NewTopic[string](h, "t", Policy{})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			var mu sync.Mutex
			admittedIDs := map[string]bool{}
			handler := h.Handler(func(ctx context.Context, s *Session) error {
				var start = make(chan struct{})
				var lives sync.WaitGroup
				found := func(err error) {
					if err != nil {
						if !errors.Is(err, ErrSessionClosed) {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					admittedIDs[s.id] = true
					mu.Unlock()
					if _, ok := h.Session(s.id); !ok {
						if _, over := s.Ended(); !over && !s.ended() {
							t.Error("admitted, open, and not found")
						}
					}
				}
				for _, f := range []func(){
					func() { found(topic.Join(context.Background(), s)) },
					func() { found(s.SetUser(fmt.Sprint("user", rand.IntN(3)))) },
					func() {
						switch i % 4 {
						case 0:
							s.Close(1000, "")
						case 1:
							s.decide(verdict{code: 1008, cause: ErrNotAdmitted, unless: admitted}, atOnce)
						case 2:
							s.abort()
						default:
							time.Sleep(time.Millisecond)
						}
					},
				} {
					lives.Add(1)
					wg.Go(func() {
						<-start
						lives.Done()
						f()
					})
				}
				close(start)
				lives.Wait()
				return nil
			})
			for range each {
				wshubtest.Dial(t, handler)
			}
			time.Sleep(time.Second)
			wg.Wait()
			st := h.Stats()
			if st.Sessions != 0 || st.Unadmitted != 0 || h.everyone.Len() != 0 || topic.Len() != 0 || len(slices.Collect(h.Sessions())) != 0 {
				t.Errorf("left: %+v, %d members of everyone, %d of the topic", st, h.everyone.Len(), topic.Len())
			}
			for i := range h.table.users {
				if n := len(h.table.users[i].byName); n != 0 {
					t.Errorf("%d users are left in shard %d", n, i)
				}
			}
			for s := range h.table.every {
				t.Errorf("session %s is left", s.id)
			}
			if err := h.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			all := <-told
			for id, list := range all {
				if list[0].Kind != EventConnected || list[len(list)-1].Kind != EventDisconnected {
					t.Errorf("session %s: from %v to %v", id, list[0].Kind, list[len(list)-1].Kind)
				}
			}
			for id := range admittedIDs {
				if all[id] == nil {
					t.Errorf("session %s was admitted and nothing is told", id)
				}
			}
		})
	}
}

// acceptUnadmitted returns a session that waits for admission, and its client.
func acceptUnadmitted(t *testing.T, h *Hub) (*Session, *wshubtest.Client) {
	t.Helper()
	arrived := make(chan *Session)
	c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
		arrived <- s
		return idle(ctx, s)
	}))
	return <-arrived, c
}

// stretch makes the admission of s call f in its midst.
func stretch(s *Session, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patience = f
}

// A session that ends in the midst of its admission waits for it, and leaves nothing.
func TestEndDuringAdmission(t *testing.T) {
	h := newHub(t, WithAdmission(time.Minute))
	s, c := acceptUnadmitted(t, h)
	stretch(s, func() {
		c.Abort()
		select {
		case <-s.Done():
			t.Error("it has ended before its admission was over")
		case <-time.After(50 * time.Millisecond): // what is right takes no time
		}
	})
	if err := s.SetUser("ann"); err != nil {
		t.Error(err)
	}
	<-s.Done()
	if h.Len() != 0 || h.everyone.Len() != 0 {
		t.Errorf("%d sessions, %d members of everyone", h.Len(), h.everyone.Len())
	}
}

// A timeout that comes in the midst of the admission comes too late.
func TestTimeoutDuringAdmission(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithAdmission(time.Second))
		s, _ := acceptUnadmitted(t, h)
		stretch(s, func() { time.Sleep(2 * time.Second) })
		if err := s.SetUser("ann"); err != nil {
			t.Error(err)
		}
		if s.Err() != nil || h.Len() != 1 {
			t.Errorf("%v, %d sessions", s.Err(), h.Len())
		}
	})
}

// A join that comes after the verdict, and before the session refuses joins, does not admit and leaves nothing.
func TestJoinAfterVerdict(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithAdmission(time.Minute))
		events := h.Events(t.Context(), Policy{})
		topic, err := NewTopic[string](h, "t", Policy{})
		if err != nil {
			t.Fatal(err)
		}
		s, _ := acceptUnadmitted(t, h)
		s.mark(decided)
		if err := topic.Join(t.Context(), s); !errors.Is(err, ErrSessionClosed) {
			t.Errorf("Join: %v", err)
		}
		if topic.Len() != 0 || h.Len() != 0 || len(slices.Collect(s.Topics())) != 0 {
			t.Errorf("%d members, %d sessions", topic.Len(), h.Len())
		}
		s.mu.Lock()
		s.stage &^= decided
		s.mu.Unlock()
		s.Close(1000, "")
		<-s.Done()
		select {
		case e := <-events.C():
			t.Errorf("event %v", e)
		default:
		}
	})
}

// What happens to a session that nobody admits is not kept for anybody.
func TestUnadmittedKeepsNoEvents(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithAdmission(time.Minute))
		h.Events(t.Context(), Policy{})
		s, _ := acceptUnadmitted(t, h)
		s.emit(Event{Kind: EventDropped, N: 1})
		if n := len(*s.early); n != 0 {
			t.Errorf("%d are kept", n)
		}
	})
}

// A session is among everyone when the call that admits it returns, whichever of two calls it was.
func TestAdmissionReadsItsWrites(t *testing.T) {
	for range 20 {
		in(t, func(t *testing.T) {
			h := newHub(t, WithAdmission(time.Minute))
			topic, err := NewTopic[string](h, "t", Policy{})
			if err != nil {
				t.Fatal(err)
			}
			s, c := acceptUnadmitted(t, h)
			var wg sync.WaitGroup
			for _, admit := range []func() error{
				func() error { return s.SetUser("ann") },
				func() error { return topic.Join(t.Context(), s) },
			} {
				wg.Go(func() {
					if err := admit(); err != nil {
						t.Error(err)
					}
					if err := h.Everyone().Send(t.Context(), Text("hello")); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			c.ExpectText("hello")
			c.ExpectText("hello")
		})
	}
}

// A kick that comes while its user's session is only just being accepted is a kick like any other.
func TestKickDuringAccept(t *testing.T) {
	h := newHub(t, Authenticate(func(*http.Request) (Identity, error) { return Identity{User: "ann"}, nil }))
	stop := make(chan struct{})
	var kicks sync.WaitGroup
	for range 2 {
		kicks.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					h.User("ann").Close(context.Background(), 4001, "out")
				}
			}
		})
	}
	for range 200 {
		arrived := make(chan *Session, 1)
		wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
			arrived <- s
			return idle(ctx, s)
		}))
		s := <-arrived
		<-s.Done()
		if !errors.Is(s.Err(), &CloseError{Code: 4001}) {
			t.Fatalf("ended with %v", s.Err())
		}
	}
	close(stop)
	kicks.Wait()
}

// A join in the midst of the session's end fails, or is undone and told of, also when whoever has closed the session has not
// come to sealing it.
func TestPitfall02JoinDuringEnd(t *testing.T) {
	h := newHub(t, WithMember(func(*Session) any { return 1 }))
	var topics []Topic[string]
	for i := range 4 {
		x, err := NewTopic[string](h, fmt.Sprint("t", i), Policy{})
		if err != nil {
			t.Fatal(err)
		}
		topics = append(topics, x)
	}
	s, c := acceptUnadmitted(t, h)
	for _, x := range topics[:3] {
		if err := x.Join(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	// The end is held in the first leave and in the second, each under the order lock. The join waits for that from the first
	// on, and finds it taken again when it is woken: from then on the lock is handed to it, after the second leave.
	first, second := topics[0].st.attendance(), topics[1].st.attendance()
	first.mu.Lock()
	second.mu.Lock()
	s.mark(decided)
	c.Abort()
	for order := s.order(); order.TryLock(); time.Sleep(time.Millisecond) {
		order.Unlock()
	}
	joined := make(chan error)
	go func() { joined <- topics[3].Join(context.Background(), s) }()
	time.Sleep(10 * time.Millisecond)
	first.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	second.mu.Unlock()
	err := <-joined
	<-s.Done()
	if in, _ := topics[3].Present(t.Context()); len(in) != 0 {
		t.Errorf("%d are present after the end; Join: %v", len(in), err)
	}
}

// A join that has found a topic just before its last member leaves it finds the next one: nobody is left in a topic that
// nobody can publish to.
func TestPitfall02OrphanTakesNobody(t *testing.T) {
	for _, p := range []Policy{{}, History(1, time.Millisecond)} {
		in(t, func(t *testing.T) {
			h := newHub(t)
			topic, err := NewTopic[string](h, "room", p)
			if err != nil {
				t.Fatal(err)
			}
			c := wshubtest.Dial(t, h.Handler(idle))
			s := only(t, h)
			if err := topic.Join(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			found := topic.st.open()
			if err := topic.Leave(s); err != nil {
				t.Fatal(err)
			}
			if _, err := found.Join(s.sub, topic.st.def.rule, nil, 0); !errors.Is(err, fanout.ErrRetired) {
				t.Errorf("the topic that nobody finds any more: %v", err)
			}
			if err := topic.Join(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if err := topic.Publish(t.Context(), "news"); err != nil {
				t.Error(err)
			}
			c.ExpectText("news")
		})
	}
}

// A session whose time is over before it is accepted ends after that, and leaves nothing.
func TestTimeoutDuringAccept(t *testing.T) {
	h := newHub(t, WithAdmission(1))
	for range 50 {
		sessions := make(chan *Session, 1)
		wshubtest.Dial(t, handlerFunc(func(s *Session, err error) {
			if err != nil {
				t.Error(err)
			}
			sessions <- s
		}, h))
		if s := <-sessions; s != nil {
			<-s.Done()
		}
		if n := h.table.held(); n != 0 {
			t.Fatalf("%d are left", n)
		}
	}
}
