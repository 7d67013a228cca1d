package wshub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// all returns an observer of every kind.
func all(f func(wshub.Event)) wshub.Observer {
	return wshub.Observer{
		Connected: f, Joined: f, Left: f, Disconnected: f, Dropped: f, Evicted: f, Error: f, Refused: f, Served: f, Handled: f,
	}
}

func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got, left []string
		running := 0
		obs := all(func(e wshub.Event) {
			running++
			got = append(got, fmt.Sprintf("%v %s %s %d %v %v", e.Kind, e.User, e.Topic, e.Code, e.Cause, e.Took))
			time.Sleep(time.Millisecond)
			if running--; running != 0 {
				t.Error("two calls at once")
			}
		})
		some := wshub.Observer{Left: func(e wshub.Event) { left = append(left, e.Session) }}
		h := newHub(t, wshub.WithObserver(obs), wshub.WithObserver(wshub.Observer{}, some), wshub.WithLogger(nil),
			wshub.Authenticate(func(*http.Request) (wshub.Identity, error) { return wshub.Identity{User: "ann"}, nil }))
		topic := newTopic[string](t, h, "room", wshub.Policy{})
		broken := errors.New("broken")
		c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
			join(t, topic, s)
			time.Sleep(time.Second)
			topic.Leave(s)
			return broken
		}))
		c.ExpectClose(1011)
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{
			"connected ann  0 <nil> 0s",
			"joined ann room 0 <nil> 0s",
			"left ann room 0 <nil> 0s",
			"error ann  0 broken 0s",
			"disconnected ann  1011 broken 1s",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		if len(left) != 1 {
			t.Errorf("left: %q", left)
		}
		if s := h.Stats(); s.EventsLost != 0 || s.ObserverMissed != 0 {
			t.Errorf("%d lost, %d missed", s.EventsLost, s.ObserverMissed)
		}
	})
}

// An observer that hangs delays neither sessions nor publishers nor other observers. It misses the oldest events.
func TestPitfall06ObserverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var hung, told []wshub.Event
		h := newHub(t,
			wshub.WithLimits(wshub.Limits{Pending: 1024}),
			wshub.WithObserver(all(func(e wshub.Event) {
				hung = append(hung, e)
				<-release
			}), all(func(e wshub.Event) { told = append(told, e) })))
		topic := newTopic[int](t, h, "room", wshub.Policy{})
		ss, cc := sessions(t, h, 1)
		const n = 2000
		for i := range n {
			join(t, topic, ss[0])
			publish(t, topic, i)
			cc[0].ExpectJSON(i)
			topic.Leave(ss[0])
			synctest.Wait()
		}
		if len(hung) != 1 || len(told) != 1+2*n {
			t.Errorf("told %d and %d of %d", len(hung), len(told), 1+2*n)
		}
		close(release)
		synctest.Wait()
		// 1,024/4 wait, the first was under way.
		if missed := h.Stats().ObserverMissed; len(hung) != 257-1 && len(hung) != 257 || missed != uint64(1+2*n-len(hung)) || h.Stats().EventsLost != 0 {
			t.Errorf("told %d, %d missed, %d lost", len(hung), missed, h.Stats().EventsLost)
		}
		if last := hung[len(hung)-1]; last != told[len(told)-1] {
			t.Errorf("last %v", last)
		}
	})
}

func TestObserverPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := 0
		h := newHub(t, wshub.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), wshub.WithObserver(all(func(wshub.Event) {
			n++
			panic("broken observer")
		})))
		_, cc := sessions(t, h, 3)
		for _, c := range cc {
			if got := c.Close(1000, ""); got != 1000 {
				t.Errorf("closed with %d", got)
			}
		}
		synctest.Wait()
		if n != 6 {
			t.Errorf("%d calls, want 6", n)
		}
		if got := strings.Count(log.String(), "broken observer"); got != 1 {
			t.Errorf("logged %d times:\n%s", got, &log)
		}
	})
}

// Shutdown waits until observers were told everything, as long as its context allows.
func TestObserversAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := 0
		h, err := wshub.New(wshub.WithObserver(wshub.Observer{Disconnected: func(wshub.Event) {
			time.Sleep(time.Second)
			ended++
		}}))
		if err != nil {
			t.Fatal(err)
		}
		sessions(t, h, 20)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := h.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if ended != 20 || h.Stats().ObserverMissed != 0 {
			t.Errorf("told of %d of 20, %d missed", ended, h.Stats().ObserverMissed)
		}
		// Nobody is told any more.
		if _, _, err := wshubtest.TryDial(t, h.Handler(stay)); err == nil {
			t.Error("upgraded")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h, err := wshub.New(wshub.WithObserver(all(func(wshub.Event) { <-release })))
		if err != nil {
			t.Fatal(err)
		}
		sessions(t, h, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		before := time.Now()
		if err := h.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(before) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(before))
		}
		if missed := h.Stats().ObserverMissed; missed != 3 { // of 4 one is under way
			t.Errorf("%d missed", missed)
		}
		close(release)
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// After Close observers are told what still comes.
func TestObserversAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []wshub.EventKind
		h := newHub(t, wshub.WithObserver(all(func(e wshub.Event) { got = append(got, e.Kind) })))
		sessions(t, h, 1)
		h.Close()
		synctest.Wait()
		if _, _, err := wshubtest.TryDial(t, h.Handler(stay)); err == nil {
			t.Error("upgraded")
		}
		synctest.Wait()
		want := []wshub.EventKind{wshub.EventConnected, wshub.EventDisconnected, wshub.EventRefused}
		if !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	})
}

// An observer may call anything of the hub.
func TestPitfall06ObserverCallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h *wshub.Hub
		var topic wshub.Topic[string]
		obs := wshub.Observer{
			Connected: func(e wshub.Event) {
				s, ok := h.Session(e.Session)
				if !ok {
					t.Error("connected, and not found")
					return
				}
				join(t, topic, s)
			},
			Joined: func(e wshub.Event) {
				publish(t, topic, "joined")
				h.To(e.Session).Send(context.Background(), wshub.Text("welcome"))
				if _, err := topic.Present(context.Background()); err != nil || h.Stats().Sessions != 1 {
					t.Error(err)
				}
				h.To(e.Session).Close(context.Background(), 4000, "enough")
			},
		}
		h = newHub(t, wshub.WithObserver(obs))
		topic = newTopic[string](t, h, "room", wshub.Policy{})
		_, cc := sessions(t, h, 1)
		cc[0].ExpectText("joined")
		cc[0].ExpectText("welcome")
		cc[0].ExpectClose(4000)
	})
}

// Middleware tells observers how long handlers took.
func TestObserverOfMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		f := func(e wshub.Event) { got = append(got, fmt.Sprint(e.Kind, " ", e.Took, " ", e.Cause)) }
		h := newHub(t, wshub.WithObserver(wshub.Observer{Served: f, Handled: f}))
		each := wshub.Each(func(context.Context, *wshub.Session, wshub.Message) error {
			time.Sleep(time.Second)
			return nil
		}, wshub.MetricsEach())
		c := wshubtest.Dial(t, h.Handler(each, wshub.Metrics()))
		c.SendText("hello")
		time.Sleep(3 * time.Second)
		c.Close(1000, "")
		synctest.Wait()
		if want := []string{"handled 1s <nil>", "served 3s <nil>"}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

// What is refused is told with the status that was answered.
func TestObserverRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		refused := func(e wshub.Event) {
			got = append(got, fmt.Sprintf("%v %d %v %v", e.Kind, e.Status, errors.Is(e.Cause, wshub.ErrUnauthorized), e.Session))
		}
		h := newHub(t, wshub.WithObserver(wshub.Observer{Refused: refused}), wshub.WithLogger(nil),
			wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
				switch r.URL.Path {
				case "/teapot":
					return wshub.Identity{}, &wshub.RejectError{Status: http.StatusTeapot}
				case "/panic":
					panic("broken")
				case "/no":
					return wshub.Identity{}, errors.New("no")
				}
				return wshub.Identity{}, nil
			}))
		for _, opts := range [][]wshubtest.DialOption{
			{wshubtest.WithPath("/teapot")},
			{wshubtest.WithPath("/panic")},
			{wshubtest.WithPath("/no")},
			{wshubtest.WithOrigin("https://evil.example.com")},
			{wshubtest.WithHeader("Sec-WebSocket-Version", "12")},
		} {
			_, resp, err := wshubtest.TryDial(t, h.Handler(stay), opts...)
			if err == nil {
				t.Fatal("upgraded")
			}
			synctest.Wait()
			if want := fmt.Sprint("refused ", resp.StatusCode); len(got) == 0 || !strings.HasPrefix(got[len(got)-1], want+" ") {
				t.Errorf("got %q, want %s", got, want)
			}
		}
		h.Handler(stay).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)) // cannot be hijacked
		synctest.Wait()
		want := []string{"refused 418 true ", "refused 500 false ", "refused 401 false ", "refused 403 true ", "refused 400 false ", "refused 501 false "}
		if !slices.Equal(got, want) || h.Stats().Refused != uint64(len(want)) {
			t.Errorf("%d refused, got %q", h.Stats().Refused, got)
		}
	})
}

// stay is a SessionFunc that returns when the session ends.
func stay(_ context.Context, s *wshub.Session) error {
	for range s.Messages() {
	}
	return nil
}
