package wshub_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// callbackPlaces are where the hub calls the program, or the program waits for what the hub tells.
var callbackPlaces = []string{
	"CheckOrigin", "Authenticate", "HandlerFor", "SessionFunc", "Authorize", "WithMember", "MessageFunc", "Handle", "Observer", "Events", "Logger",
}

// calledBack returns a hub with a room, and a handler of sessions that join the room and greet who sends them the event
// "hello". At the given place f is called, once after armed was set: with the session where there is one, or nil.
func calledBack(t *testing.T, place string, armed *atomic.Bool, f func(h *wshub.Hub, s *wshub.Session)) (*wshub.Hub, wshub.Topic[string], http.Handler) {
	t.Helper()
	var h *wshub.Hub
	call := func(at string, s *wshub.Session) {
		if at == place && armed.CompareAndSwap(true, false) {
			f(h, s)
		}
	}
	h = newHub(t,
		wshub.WithLogger(slog.New(slog.NewTextHandler(writer(func() { call("Logger", nil) }), nil))),
		wshub.CheckOrigin(func(*http.Request) bool { call("CheckOrigin", nil); return true }),
		wshub.Authenticate(func(*http.Request) (wshub.Identity, error) { call("Authenticate", nil); return wshub.Identity{}, nil }),
		wshub.Authorize(func(_ context.Context, s *wshub.Session, _ string) error { call("Authorize", s); return nil }),
		wshub.WithMember(func(s *wshub.Session) any { call("WithMember", s); return nil }),
		wshub.WithObserver(wshub.Observer{Joined: func(e wshub.Event) {
			s, _ := h.Session(e.Session)
			call("Observer", s)
		}}))
	room := newTopic[string](t, h, "room", wshub.Policy{})
	events := h.Events(t.Context(), wshub.DropOldest(1000))
	go func() { // ends with the stream
		for e := range events.C() {
			if e.Kind == wshub.EventJoined {
				s, _ := h.Session(e.Session)
				call("Events", s)
			}
		}
	}()
	mux := new(wshub.Mux)
	wshub.Reply(mux, "hello", func(_ context.Context, s *wshub.Session, _ struct{}) (string, error) {
		call("Handle", s)
		return "hello", nil
	})
	serve := wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
		call("MessageFunc", s)
		return mux.Message(ctx, s, m)
	})
	return h, room, h.HandlerFor(func(r *http.Request) (wshub.SessionFunc, error) {
		call("HandlerFor", nil)
		return func(ctx context.Context, s *wshub.Session) error {
			call("SessionFunc", s)
			if r.URL.Path == "/broken" { // logs
				panic("broken")
			}
			if err := room.Join(ctx, s); err != nil {
				return err
			}
			return serve(ctx, s)
		}, nil
	})
}

type writer func()

func (w writer) Write(p []byte) (int, error) { w(); return len(p), nil }

// provoke dials a client that brings its session through all places; it does not wait for any of it.
func provoke(t *testing.T, place string, armed *atomic.Bool, handler http.Handler) {
	armed.Store(true)
	path := "/"
	if place == "Logger" {
		path = "/broken"
	}
	go func() { // ends with its dial
		if c, _, err := wshubtest.TryDial(t, handler, wshubtest.WithPath(path)); err == nil {
			c.TrySend(`{"event":"hello"}`)
		}
	}()
	synctest.Wait()
}

// bystander dials a client and wants it to be served at once, whatever becomes of others.
func bystander(t *testing.T, h *wshub.Hub, room wshub.Topic[string], handler http.Handler) {
	t.Helper()
	start := time.Now()
	c := wshubtest.Dial(t, handler)
	synctest.Wait()
	c.Take()
	c.SendText(`{"event":"hello"}`)
	c.ExpectText(`{"event":"hello","data":"hello"}`)
	publish(t, room, "news")
	c.ExpectText("news")
	if err := h.Everyone().Send(t.Context(), wshub.Text("all")); err != nil {
		t.Error(err)
	}
	c.ExpectText("all")
	c.Close(1000, "")
	synctest.Wait()
	if d := time.Since(start); d != 0 {
		t.Errorf("it took %v", d)
	}
}

// Wherever the program is called it may call the hub, which calls it again in turn.
func TestPitfall06CallbacksMayCallTheHub(t *testing.T) {
	for _, place := range callbackPlaces {
		t.Run(place, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done, armed := false, new(atomic.Bool)
				var lobby wshub.Topic[string]
				var other *wshub.Session
				h, room, handler := calledBack(t, place, armed, func(h *wshub.Hub, s *wshub.Session) {
					ctx := context.Background()
					h.Everyone().Send(ctx, wshub.Text("sent"))
					h.User("ann").Send(ctx, wshub.Text("sent"))
					other.Send(ctx, wshub.Text("sent"))
					if s != nil {
						s.Send(ctx, wshub.Text("sent"))
						lobby.Join(ctx, s)
						lobby.Publish(ctx, "sent")
						s.SetUser("ann")
						s.Renew(ctx, wshub.Identity{User: "bob"})
						lobby.Leave(s)
						s.LeaveAll()
						s.Close(1000, "")
						s.Send(ctx, wshub.Text("sent"))
					}
					for x := range h.Sessions() {
						lobby.Join(ctx, x)
					}
					lobby.Watch(ctx).Close()
					lobby.Present(ctx)
					h.Stats()
					h.To(other.ID()).Close(ctx, 4000, "out")
					done = true
				})
				lobby = newTopic[string](t, h, "lobby", wshub.Policy{})
				ss, cc := sessions(t, h, 1)
				other = ss[0]
				provoke(t, place, armed, handler)
				if !done {
					t.Fatal("it was not called, or has not come back")
				}
				cc[0].ExpectClose(4000)
				bystander(t, h, room, handler)
			})
		})
	}
}

// Where the program is called and does not return nobody else waits.
func TestPitfall06CallbacksMayBlock(t *testing.T) {
	for _, place := range callbackPlaces {
		t.Run(place, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				blocked, armed, release := false, new(atomic.Bool), make(chan struct{})
				h, room, handler := calledBack(t, place, armed, func(*wshub.Hub, *wshub.Session) {
					blocked = true
					<-release
				})
				defer close(release)
				provoke(t, place, armed, handler)
				if !blocked {
					t.Fatal("it was not called")
				}
				for range 64 { // one at least shares each lock that sessions share
					bystander(t, h, room, handler)
				}
			})
		})
	}
}

// Observers and readers of events that cause what they are told of go on for as long as they like, and as deep as before.
func TestPitfall06EventsFeedThemselves(t *testing.T) {
	const rounds = 2000
	synctest.Test(t, func(t *testing.T) {
		var h *wshub.Hub
		var room, hall wshub.Topic[int]
		left := 0
		h = newHub(t, wshub.WithObserver(wshub.Observer{
			Joined: func(e wshub.Event) {
				if s, ok := h.Session(e.Session); ok && e.Topic == "room" {
					room.Leave(s)
				}
			},
			Left: func(e wshub.Event) {
				if s, ok := h.Session(e.Session); ok && e.Topic == "room" {
					if left++; left < rounds {
						room.Join(context.Background(), s)
					}
				}
			},
		}))
		room = newTopic[int](t, h, "room", wshub.Policy{})
		hall = newTopic[int](t, h, "hall", wshub.Policy{})
		ss, cc := sessions(t, h, 2)
		events := h.Events(t.Context(), wshub.DropOldest(10*rounds))
		went := 0
		go func() { // ends with the stream
			for e := range events.C() {
				s, ok := h.Session(e.Session)
				switch {
				case !ok || e.Topic != "hall":
				case e.Kind == wshub.EventJoined:
					hall.Leave(s)
				case e.Kind == wshub.EventLeft:
					if went++; went < rounds {
						hall.Join(context.Background(), s)
					}
				}
			}
		}()
		join(t, room, ss[0])
		join(t, hall, ss[1])
		synctest.Wait()
		if left != rounds || went != rounds {
			t.Errorf("%d and %d of %d rounds", left, went, rounds)
		}
		for _, c := range cc {
			c.Close(1000, "")
		}
	})
}

// What a reader of events misses is no event, or each would make the next.
func TestPitfall06MissedEventsMakeNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		h.Events(t.Context(), wshub.DropOldest(1)) // nobody reads
		events := h.Events(t.Context(), wshub.DropOldest(10_000))
		for range 100 {
			_, cc := sessions(t, h, 1)
			cc[0].Close(1000, "")
		}
		synctest.Wait()
		total := 0
		for len(events.C()) > 0 || events.Lag() > 0 {
			if e := <-events.C(); e.Kind == wshub.EventDropped {
				t.Errorf("event %v", e)
			}
			total++
			synctest.Wait()
		}
		if total < 200 {
			t.Errorf("%d events", total)
		}
	})
}

// A filter that panics is logged, and who writes the log slowly keeps nobody else from the topic's values.
func TestPitfall06LoggerOfAFilterMayBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		logged := false
		h := newHub(t, wshub.WithLogger(slog.New(slog.NewTextHandler(writer(func() {
			logged = true
			<-release
		}), nil))))
		defer close(release)
		topic := newTopic[string](t, h, "room", wshub.Policy{})
		ss, cc := sessions(t, h, 2)
		join(t, topic.Where(func(s string) bool { panic(strings.ToUpper(s)) }), ss[0])
		join(t, topic, ss[1])
		for range 10 {
			publish(t, topic, "news")
			cc[1].ExpectText("news")
		}
		cc[0].ExpectClose(1011)
		synctest.Wait()
		if !logged {
			t.Error("nothing was logged")
		}
	})
}
