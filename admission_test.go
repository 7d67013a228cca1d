package wshub_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// kinds takes the events that are there.
func kinds(events *wshub.Stream[wshub.Event]) (got []wshub.EventKind) {
	for {
		synctest.Wait()
		select {
		case e := <-events.C():
			got = append(got, e.Kind)
		default:
			return got
		}
	}
}

func TestAdmissionInTime(t *testing.T) {
	for _, test := range []struct {
		name  string
		admit func(wshub.Topic[string], *wshub.Session) error // nil: nothing does
		ok    bool
	}{
		{"nothing", nil, false},
		{"topic", func(x wshub.Topic[string], s *wshub.Session) error { return x.Join(t.Context(), s) }, true},
		{"user", func(_ wshub.Topic[string], s *wshub.Session) error { return s.SetUser("ann") }, true},
		{"no user", func(_ wshub.Topic[string], s *wshub.Session) error { return s.SetUser("") }, false},
		{"topic and gone", func(x wshub.Topic[string], s *wshub.Session) error {
			return errors.Join(x.Join(t.Context(), s), x.Leave(s))
		}, true},
		{"user and gone", func(_ wshub.Topic[string], s *wshub.Session) error {
			return errors.Join(s.SetUser("ann"), s.SetUser(""))
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, wshub.WithAdmission(10*time.Second))
				topic := newTopic[string](t, h, "t", wshub.Policy{})
				ss, cc := sessions(t, h, 1)
				time.Sleep(10*time.Second - 1)
				synctest.Wait()
				if err := ss[0].Err(); err != nil || h.Len() != 0 {
					t.Fatalf("in time: %v, %d sessions", err, h.Len())
				}
				if test.admit != nil {
					if err := test.admit(topic, ss[0]); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Hour)
				if test.ok {
					if ss[0].Err() != nil || h.Len() != 1 {
						t.Errorf("admitted: %v, %d sessions", ss[0].Err(), h.Len())
					}
					return
				}
				if got := cc[0].ExpectClose(1008); got != "not admitted in time" {
					t.Errorf("reason %q", got)
				}
				if err := ss[0].Err(); !errors.Is(err, wshub.ErrNotAdmitted) || !errors.Is(err, wshub.ErrUnauthorized) {
					t.Errorf("Err is %v", err)
				}
				if at, _ := ss[0].Ended(); at.Sub(ss[0].ConnectedAt()) != 10*time.Second {
					t.Errorf("it ended after %v", at.Sub(ss[0].ConnectedAt()))
				}
			})
		})
	}
}

// A user of Authenticate's admits at once; an identity without one does not.
func TestAdmissionByAuthenticate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithAdmission(time.Second), wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
			return wshub.Identity{User: r.URL.Query().Get("user"), Claims: "some"}, nil
		}))
		ss, _ := sessions(t, h, 1, wshubtest.WithPath("/?user=ann"))
		if found, ok := h.Session(ss[0].ID()); !ok || found != ss[0] {
			t.Error("a session with a user is not found")
		}
		_, cc := sessions(t, h, 1)
		if st := h.Stats(); st.Sessions != 1 || st.Unadmitted != 1 || st.Accepted != 2 {
			t.Errorf("stats: %+v", st)
		}
		cc[0].ExpectClose(1008)
		time.Sleep(time.Minute)
		if ss[0].Err() != nil || h.Len() != 1 {
			t.Errorf("%v, %d sessions", ss[0].Err(), h.Len())
		}
	})
}

// Until it is admitted a session counts against the limits, and is nobody otherwise: pitfall 38.
func TestUnadmittedIsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithAdmission(time.Minute), wshub.WithLimits(wshub.Limits{Sessions: 1, TopicsPerSession: 1}))
		events := h.Events(t.Context(), wshub.Policy{})
		topic := newTopic[string](t, h, "t", wshub.Policy{})
		ss, cc := sessions(t, h, 1)
		s, c := ss[0], cc[0]

		if _, resp, err := wshubtest.TryDial(t, h.Handler(func(context.Context, *wshub.Session) error { return nil })); err == nil || resp.StatusCode != 503 {
			t.Errorf("it does not count against Limits.Sessions: %v", err)
		}
		if _, ok := h.Session(s.ID()); ok || h.Len() != 0 || len(slices.Collect(h.Sessions())) != 0 {
			t.Error("it is found")
		}
		if st, v := h.Stats(), h.Health(); st.Sessions != 0 || st.Unadmitted != 1 || v.Sessions != 0 || v.Unadmitted != 1 {
			t.Errorf("stats %+v, health %+v", st, v)
		}
		for _, a := range []wshub.Audience{h.Everyone(), h.To(s.ID())} {
			n, err := a.Count(t.Context())
			if n != 0 || err != nil {
				t.Errorf("%v: %d, %v", a, n, err)
			}
			if err := a.Send(t.Context(), wshub.Text("psst")); !errors.Is(err, wshub.ErrNoSession) {
				t.Errorf("send to %v: %v", a, err)
			}
			if err := a.Close(t.Context(), 1000, ""); !errors.Is(err, wshub.ErrNoSession) {
				t.Errorf("close %v: %v", a, err)
			}
		}
		if err := s.Send(t.Context(), wshub.Text("who are you?")); err != nil {
			t.Error(err)
		}
		c.ExpectText("who are you?")
		c.ExpectNothing()
		if got := kinds(events); !slices.Equal(got, []wshub.EventKind{wshub.EventRefused}) { // the upgrade over the limit
			t.Errorf("events: %v", got)
		}

		join(t, topic, s) // TopicsPerSession does not count everyone
		if found, ok := h.Session(s.ID()); !ok || found != s || h.Len() != 1 {
			t.Error("it is not found once admitted")
		}
		if st := h.Stats(); st.Sessions != 1 || st.Unadmitted != 0 {
			t.Errorf("stats %+v", st)
		}
		if err := h.Everyone().Send(t.Context(), wshub.Text("welcome")); err != nil {
			t.Error(err)
		}
		c.ExpectText("welcome")
		if got := kinds(events); !slices.Equal(got, []wshub.EventKind{wshub.EventConnected, wshub.EventJoined}) {
			t.Errorf("events: %v", got)
		}
		c.Close(1000, "")
		if got := kinds(events); !slices.Equal(got, []wshub.EventKind{wshub.EventLeft, wshub.EventDisconnected}) {
			t.Errorf("events: %v", got)
		}
	})
}

// Of a session that ends unadmitted nothing is left, and nothing is told.
func TestUnadmittedEndsWithoutTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithAdmission(time.Minute), wshub.WithInbound(wshub.DropNewest(1)))
		events := h.Events(t.Context(), wshub.Policy{})
		served := make(chan *wshub.Session)
		handler := h.Handler(func(ctx context.Context, s *wshub.Session) error {
			served <- s
			<-ctx.Done()
			return nil
		})
		for _, end := range []func(*wshub.Session, *wshubtest.Client){
			func(_ *wshub.Session, c *wshubtest.Client) { c.Close(1000, "") },
			func(_ *wshub.Session, c *wshubtest.Client) { c.Abort() },
			func(s *wshub.Session, _ *wshubtest.Client) { s.Close(1000, "") },
			func(s *wshub.Session, c *wshubtest.Client) { // drops are counted and not told
				c.SendText("a")
				c.SendText("b")
				synctest.Wait()
				s.CloseRead()
			},
			func(*wshub.Session, *wshubtest.Client) {},
		} {
			c := wshubtest.Dial(t, handler)
			s := <-served
			end(s, c)
			<-s.Done()
			if st := h.Stats(); st.Unadmitted != 0 || st.Sessions != 0 || st.Everyone.Offered != 0 {
				t.Errorf("stats %+v", st)
			}
			if err := s.SetUser("late"); !errors.Is(err, wshub.ErrSessionClosed) {
				t.Errorf("SetUser after the end: %v", err)
			}
		}
		if got := kinds(events); got != nil {
			t.Errorf("events: %v", got)
		}
		if n := h.Stats().InboundDropped; n != 1 {
			t.Errorf("%d dropped", n)
		}
	})
}

// What fails does not admit.
func TestAdmissionNeedsSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithAdmission(time.Minute), wshub.WithLimits(wshub.Limits{SessionsPerUser: 1, SessionsPerTopic: 1}),
			wshub.Authorize(func(_ context.Context, _ *wshub.Session, topic string) error {
				if topic == "secret" {
					return errors.New("no")
				}
				return nil
			}))
		full := newTopic[string](t, h, "full", wshub.Policy{})
		secret := newTopic[string](t, h, "secret", wshub.Policy{})
		ss, cc := sessions(t, h, 2)
		join(t, full, ss[0])
		if err := ss[0].SetUser("ann"); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct{ got, want error }{
			{full.Join(t.Context(), ss[1]), wshub.ErrTopicFull},
			{secret.Join(t.Context(), ss[1]), wshub.ErrUnauthorized},
			{ss[1].SetUser("ann"), wshub.ErrTooManySessionsPerUser},
		} {
			if !errors.Is(test.got, test.want) {
				t.Errorf("%v, want %v", test.got, test.want)
			}
		}
		if st := h.Stats(); st.Sessions != 1 || st.Unadmitted != 1 {
			t.Errorf("stats %+v", st)
		}
		time.Sleep(time.Minute)
		cc[1].ExpectClose(1008)
	})
}

// What the hub does to connections, it does to those that wait for admission too.
func TestUnadmittedIsReached(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(*wshub.Hub)
		code int // 0: the client may see none
	}{
		{"shutdown", func(h *wshub.Hub) { h.Shutdown(context.Background()) }, 1001},
		{"drain", func(h *wshub.Hub) { h.Drain(context.Background()) }, 1001},
		{"close", func(h *wshub.Hub) { h.Close() }, 0},
		{"keep-alive", func(*wshub.Hub) {}, 1008},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, wshub.WithAdmission(time.Hour))
				ss, cc := sessions(t, h, 1, wshubtest.WithoutPong())
				test.do(h)
				<-ss[0].Done()
				if test.code != 0 {
					cc[0].ExpectClose(test.code)
				}
				if at, _ := ss[0].Ended(); at.Sub(ss[0].ConnectedAt()) > 2*time.Minute {
					t.Errorf("it ended after %v", at.Sub(ss[0].ConnectedAt()))
				}
				if n := h.Stats().Unadmitted; n != 0 {
					t.Errorf("%d are left", n)
				}
			})
		})
	}
}
