package wshub_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

const (
	settle = 5 * time.Second
	spread = 15 * time.Second
)

// farewells returns how long after start each session closed, in order of their acceptance.
func farewells(t *testing.T, start time.Time, ss []*wshub.Session) []time.Duration {
	t.Helper()
	after := make([]time.Duration, len(ss))
	for i, s := range ss {
		at, over := s.Ended()
		if !over {
			t.Fatalf("session %d is open", i)
		}
		after[i] = at.Sub(start)
	}
	return after
}

// Drain asks the sessions to go one after the other, active and idle ones alike, in random order, evenly over the spread
// and not in step. Each gets what is pending and 1001; everything else goes on.
func TestPitfall27DrainPacesItsCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		events := h.Events(t.Context(), wshub.Policy{})
		topic := newTopic[string](t, h, "news", wshub.Policy{})
		const n = 30
		var ss []*wshub.Session
		var cc []*wshubtest.Client
		for i := range n / 2 {
			busy, clients := sessions(t, h, 1)
			ss, cc = append(ss, busy...), append(cc, clients...)
			s, c := unread(t, h)
			if i%2 == 0 {
				s.CloseRead()
			}
			ss, cc = append(ss, s), append(cc, c)
		}
		join(t, topic, ss...)
		var talk sync.WaitGroup
		for _, s := range ss[:2*n/3] { // these are kept busy
			talk.Go(func() {
				for s.Err() == nil && s.Send(context.Background(), wshub.Text("tick")) == nil {
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		select {
		case <-h.Draining():
			t.Fatal("draining before Drain")
		default:
		}
		start := time.Now()
		done := make(chan error)
		go func() { done <- h.Drain(context.Background()) }()
		<-h.Draining()
		if v := h.Health(); v.Ready || v.Status != "draining" || !v.Live {
			t.Errorf("health %+v", v)
		}

		time.Sleep(settle - 1)
		synctest.Wait()
		if h.Len() != n {
			t.Errorf("%d sessions have gone before the settle time is over", n-h.Len())
		}
		late, lateClients := sessions(t, h, 1) // still welcome
		ss, cc = append(ss, late...), append(cc, lateClients...)
		time.Sleep(1 * time.Nanosecond)
		synctest.Wait()
		_, resp, err := wshubtest.TryDial(t, h.Handler(func(context.Context, *wshub.Session) error { return nil }))
		if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("an upgrade after the settle time: %v, %v", resp, err)
		}

		time.Sleep(spread / 2)
		if got := h.Len(); got < n/4 || got > 3*n/4 {
			t.Errorf("%d of %d are left at half time", got, n+1)
		}
		if err := topic.Publish(t.Context(), "still here"); err != nil {
			t.Error(err)
		}
		other := newTopic[string](t, h, "other", wshub.Policy{})
		for s := range h.Sessions() {
			join(t, other, s)
			break
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		talk.Wait()
		if h.Len() != 0 || topic.Len() != 0 {
			t.Errorf("%d sessions, %d members are left", h.Len(), topic.Len())
		}
		if took := time.Since(start); took > settle+spread+time.Second {
			t.Errorf("it took %v", took)
		}

		after := farewells(t, start, ss)
		if slices.IsSorted(after) {
			t.Error("in order of acceptance")
		}
		slices.Sort(after)
		slot := spread / time.Duration(len(ss))
		steps := map[time.Duration]bool{}
		for i, d := range after {
			from := settle + time.Duration(i)*slot
			if d < from-time.Millisecond || d > from+slot+time.Millisecond {
				t.Errorf("farewell %d after %v, want between %v and %v", i, d, from, from+slot)
			}
			steps[(d - from).Round(time.Millisecond)] = true
		}
		if len(steps) < len(ss)/2 {
			t.Errorf("in step: %v", steps)
		}
		for _, c := range cc {
			if got := c.ExpectClose(1001); got != "server draining" {
				t.Errorf("reason %q", got)
			}
		}
		count := map[wshub.EventKind]int{}
		for _, k := range kinds(events) {
			count[k]++
		}
		if count[wshub.EventDisconnected] != n+1 || count[wshub.EventLeft] != n+1 {
			t.Errorf("events: %v", count)
		}
	})
}

// What was published before a session's turn reaches it, also when its SessionFunc says good-bye.
func TestDrainFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithDrain(0, 0))
		c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
			for range s.Messages() {
			}
			time.Sleep(time.Second)
			return s.Send(context.Background(), wshub.Text("bye"))
		}))
		synctest.Wait()
		if err := h.Everyone().Send(t.Context(), wshub.Text("pending")); err != nil {
			t.Error(err)
		}
		if err := h.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		c.ExpectText("pending")
		c.ExpectText("bye")
		c.ExpectClose(1001)
	})
}

// In any order, twice, before the first session and beside each other: defined, and nothing hangs.
func TestPitfall26DrainAnyTime(t *testing.T) {
	drain := func(t *testing.T, h *wshub.Hub, want time.Duration) {
		t.Helper()
		start := time.Now()
		if err := h.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > want || d < want-spread {
			t.Errorf("it took %v, want %v", d, want)
		}
	}
	for _, test := range []struct {
		name string
		do   func(*testing.T, *wshub.Hub)
	}{
		{"before the first session", func(t *testing.T, h *wshub.Hub) { drain(t, h, settle) }},
		{"again", func(t *testing.T, h *wshub.Hub) { drain(t, h, settle); drain(t, h, 0) }},
		{"again with sessions", func(t *testing.T, h *wshub.Hub) { sessions(t, h, 3); drain(t, h, settle+spread); drain(t, h, 0) }},
		{"after Shutdown", func(t *testing.T, h *wshub.Hub) { sessions(t, h, 3); h.Shutdown(t.Context()); drain(t, h, 0) }},
		{"after Close", func(t *testing.T, h *wshub.Hub) { sessions(t, h, 3); h.Close(); drain(t, h, 0) }},
		{"then Shutdown", func(t *testing.T, h *wshub.Hub) {
			sessions(t, h, 3)
			drain(t, h, settle+spread)
			if err := h.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}},
		{"with a done context once it is over", func(t *testing.T, h *wshub.Hub) {
			drain(t, h, settle)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := h.Drain(ctx); err != nil {
				t.Error(err)
			}
		}},
		{"sessions that go by themselves", func(t *testing.T, h *wshub.Hub) {
			ss, _ := sessions(t, h, 3)
			time.AfterFunc(settle+1, func() {
				for _, s := range ss {
					s.Close(1000, "")
				}
			})
			start := time.Now()
			drain(t, h, settle+spread)
			if d := time.Since(start); d > settle+time.Second {
				t.Errorf("it waited %v for nobody", d)
			}
		}},
		{"many at once", func(t *testing.T, h *wshub.Hub) {
			ss, _ := sessions(t, h, 10)
			start := time.Now()
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() { drain(t, h, settle+spread) })
			}
			wg.Wait()
			after := farewells(t, start, ss)
			slices.Sort(after)
			for i, d := range after { // one paces
				if from := settle + spread/10*time.Duration(i); d < from-time.Millisecond {
					t.Errorf("farewell %d after %v, before %v", i, d, from)
				}
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test.do(t, newHub(t)) })
		})
	}
}

// A Shutdown or Close beside Drain ends its settling and its pace at once.
func TestPitfall26DrainBesideShutdown(t *testing.T) {
	for _, at := range []time.Duration{0, settle / 2, settle + spread/2} {
		for name, end := range map[string]func(*wshub.Hub) error{
			"Shutdown": func(h *wshub.Hub) error { return h.Shutdown(context.Background()) },
			"Close":    func(h *wshub.Hub) error { return h.Close() },
		} {
			t.Run(name+" after "+at.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHub(t)
					_, cc := sessions(t, h, 10)
					done := make(chan error)
					for range 2 {
						go func() { done <- h.Drain(context.Background()) }()
					}
					time.Sleep(at)
					start := time.Now()
					if err := end(h); err != nil {
						t.Error(err)
					}
					for range 2 {
						if err := <-done; err != nil {
							t.Error(err)
						}
					}
					if d := time.Since(start); d > 100*time.Millisecond {
						t.Errorf("it took %v", d)
					}
					if name == "Shutdown" {
						for _, c := range cc {
							c.ExpectClose(1001)
						}
					}
				})
			})
		}
	}
}

// A context that ends is an error that says how many are left. What was begun stands: the next Drain does not settle anew,
// and one that is waiting goes on at the same pace.
func TestDrainBoundedByContext(t *testing.T) {
	broken := errors.New("enough")
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		ss, _ := sessions(t, h, 10)
		start := time.Now()
		settling, cancel := context.WithTimeoutCause(t.Context(), settle/2, broken)
		defer cancel()
		if err := h.Drain(settling); !errors.Is(err, broken) || !strings.Contains(err.Error(), "10 sessions are left") {
			t.Errorf("Drain: %v", err)
		}
		more, clients := sessions(t, h, 1) // nothing refuses yet
		clients[0].Close(1000, "")
		<-more[0].Done()

		pacing, cancel := context.WithTimeoutCause(t.Context(), settle/2+spread/2, broken)
		defer cancel()
		errs := make(chan error, 2)
		go func() { errs <- h.Drain(pacing) }()
		synctest.Wait()
		go func() { errs <- h.Drain(t.Context()) }()
		err := <-errs
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "sessions are left") {
			t.Errorf("Drain: %v", err)
		}
		if n := h.Len(); n < 4 || n > 6 {
			t.Errorf("%d sessions are left", n)
		}
		if d := time.Since(start); d != settle+spread/2 {
			t.Errorf("it took %v", d)
		}
		if err := <-errs; err != nil {
			t.Error(err)
		}
		after := farewells(t, start, ss)
		slices.Sort(after)
		for i, d := range after {
			from := settle + spread/10*time.Duration(i)
			if d < from-time.Millisecond || d > from+spread/10+time.Millisecond {
				t.Errorf("farewell %d after %v, want about %v", i, d, from)
			}
		}
	})
}

// A SessionFunc that does not return keeps Drain waiting until ctx ends, but not its client.
func TestDrainWithStubbornSessionFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithDrain(0, 0))
		release := make(chan struct{})
		c := wshubtest.Dial(t, h.Handler(func(context.Context, *wshub.Session) error { <-release; return nil }))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 sessions are left") {
			t.Errorf("Drain: %v", err)
		}
		c.ExpectClose(1001)
		close(release)
		if err := h.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// An upgrade under way is either counted, and asked to go, or refused.
func TestPitfall27DrainDuringUpgrades(t *testing.T) {
	for _, spread := range []time.Duration{0, 50 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			for i := range 20 {
				h := newHub(t, wshub.WithDrain(10*time.Millisecond, spread), wshub.Authenticate(func(*http.Request) (wshub.Identity, error) {
					time.Sleep(time.Duration(i) * time.Millisecond)
					return wshub.Identity{}, nil
				}))
				var wg sync.WaitGroup
				var accepted, refused atomic.Int32
				for j := range 20 {
					wg.Go(func() {
						time.Sleep(time.Duration(j) * time.Millisecond)
						c, resp, err := wshubtest.TryDial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
							<-ctx.Done()
							return nil
						}))
						if err != nil {
							if resp == nil || resp.StatusCode != 503 {
								t.Errorf("%v, %v", resp, err)
							}
							refused.Add(1)
							return
						}
						accepted.Add(1)
						c.ExpectClose(1001)
					})
				}
				if err := h.Drain(t.Context()); err != nil {
					t.Error(err)
				}
				if st := h.Stats(); st.Sessions != 0 {
					t.Errorf("%d sessions after Drain", st.Sessions)
				}
				wg.Wait()
				if refused.Load() == 0 || i < 9 && accepted.Load() == 0 {
					t.Errorf("%d accepted, %d refused", accepted.Load(), refused.Load())
				}
			}
		})
	}
}

// slowHijack is a ResponseWriter whose connection is handed over late.
type slowHijack struct {
	http.ResponseWriter
	begun   chan<- struct{}
	release <-chan struct{}
}

func (w slowHijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.begun <- struct{}{}
	<-w.release
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// An upgrade that has gone too far to be refused is waited for and asked to go, whenever it becomes a session.
func TestPitfall27DrainAsksLateUpgrades(t *testing.T) {
	for _, after := range []time.Duration{spread / 2, 2 * spread} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, wshub.WithDrain(0, spread))
			begun, release := make(chan struct{}), make(chan struct{})
			handler := h.Handler(func(ctx context.Context, s *wshub.Session) error {
				<-ctx.Done()
				return nil
			})
			var dialled sync.WaitGroup
			dialled.Go(func() {
				c := wshubtest.Dial(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					handler.ServeHTTP(slowHijack{w, begun, release}, r)
				}), wshubtest.WithTimeout(time.Hour))
				if got := c.ExpectClose(1001); got != "server draining" {
					t.Errorf("reason %q", got)
				}
			})
			<-begun
			sessions(t, h, 2)
			if n := h.Health().Upgrades; n != 1 {
				t.Errorf("%d upgrades under way", n)
			}
			done := make(chan error)
			start := time.Now()
			go func() { done <- h.Drain(context.Background()) }()
			time.Sleep(after)
			select {
			case err := <-done:
				t.Fatalf("Drain has not waited: %v", err)
			default:
			}
			close(release)
			if err := <-done; err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d > max(after, spread)+spread/2+time.Second {
				t.Errorf("it took %v", d)
			}
			dialled.Wait()
		})
	}
}

// Drain, Shutdown, Close, dials and ends at once, for the race detector: everything ends.
func TestDrainChaos(t *testing.T) {
	for i := range 30 {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, wshub.WithDrain(time.Duration(i%3)*time.Millisecond, time.Duration(i%5)*time.Millisecond))
			var wg sync.WaitGroup
			for j := range 20 {
				wg.Go(func() {
					time.Sleep(time.Duration(j) * time.Millisecond / 4)
					c, _, err := wshubtest.TryDial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
						if j%3 == 0 {
							s.CloseRead()
						}
						<-ctx.Done()
						return nil
					}))
					if err == nil && j%4 == 0 {
						c.Close(1000, "")
					}
				})
			}
			for j := range 3 {
				wg.Go(func() {
					time.Sleep(time.Duration(j) * time.Millisecond)
					if err := h.Drain(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			if i%2 == 0 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond / 4)
					if err := h.Shutdown(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if st := h.Stats(); st.Sessions != 0 || st.Unadmitted != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}
