package wshub

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/wshubtest"
)

// Every client sees 1001 after all that was pending for it, whether it reads or is slow; each session leaves its topics and
// is told of as disconnected; and nothing is counted as there any more.
func TestPitfall25ShutdownEndsAll(t *testing.T) {
	in(t, func(t *testing.T) {
		const n = 20
		h := newHub(t)
		topic, err := NewTopic[string](h, "news", Policy{})
		if err != nil {
			t.Fatal(err)
		}
		events := h.Events(t.Context(), DropOldest(1000))
		count := map[EventKind]int{}
		heard := make(chan struct{})
		go func() { // ends with the hub
			defer close(heard)
			for e := range events.C() {
				count[e.Kind]++
				if e.Kind == EventDisconnected && (e.Code != StatusGoingAway || e.Cause != nil) {
					t.Errorf("disconnected with %d, %v", e.Code, e.Cause)
				}
			}
		}()
		var clients []*wshubtest.Client
		for i := range n {
			fn := idle
			if i%2 == 0 {
				fn = waiting
			}
			var opts []wshubtest.DialOption
			if i%3 == 0 {
				opts = append(opts, wshubtest.WithBuffer(10))
			}
			clients = append(clients, wshubtest.Dial(t, h.Handler(fn), opts...))
		}
		synctest.Wait()
		for i, c := range clients {
			if i%3 == 0 { // reads on in the midst of the shutdown
				c.Stall()
				time.AfterFunc(200*time.Millisecond, c.Resume)
			}
		}
		for s := range h.Sessions() {
			if err := topic.Join(t.Context(), s); err != nil {
				t.Error(err)
			}
			if err := s.Send(t.Context(), Text("pending")); err != nil {
				t.Error(err)
			}
		}
		if err := h.Everyone().Send(t.Context(), Text("all")); err != nil {
			t.Error(err)
		}
		if err := topic.Publish(t.Context(), "topic"); err != nil {
			t.Error(err)
		}
		if st := h.Stats(); st.Sessions != n || st.Topics.Offered != n || topic.Len() != n || h.Health().Topics != 1 {
			t.Errorf("before: %+v", st)
		}
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		for _, c := range clients {
			c.ExpectText("pending")
			c.ExpectText("all")
			c.ExpectText("topic")
			c.ExpectClose(1001)
		}
		<-heard
		if want := (map[EventKind]int{EventConnected: n, EventJoined: n, EventLeft: n, EventDisconnected: n}); !maps.Equal(count, want) {
			t.Errorf("events %v, want %v", count, want)
		}
		st := h.Stats()
		if st.Sessions != 0 || st.Unadmitted != 0 || topic.Len() != 0 || st.Everyone.Pending+st.Direct.Pending+st.Topics.Pending != 0 {
			t.Errorf("after: %+v, %d members", st, topic.Len())
		}
		if st.Everyone.Sent != n || st.Direct.Sent != n || st.Topics.Sent != n {
			t.Errorf("sent: %+v", st)
		}
		if v := h.Health(); v.Sessions != 0 || v.Topics != 0 || v.Upgrades != 0 {
			t.Errorf("health %+v", v)
		}
		if err := h.Everyone().Send(t.Context(), Text("late")); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after Shutdown: %v", err)
		}
		resp := refused(t, h.Handler(idle))
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("an upgrade was answered %v", resp.Status)
		}
	})
}

// Over real sockets, where closing with bytes unread makes the peer lose what it has not read: clients that talk all the
// time, to handlers that take it or do not, have all that was pending and 1001.
func TestPitfall25TalkersSeeGoingAway(t *testing.T) {
	for _, taken := range []bool{true, false} {
		t.Run(fmt.Sprint("taken ", taken), func(t *testing.T) {
			const n = 4
			h := newHub(t)
			srv := wshubtest.Server(t, h.Handler(func(ctx context.Context, s *Session) error {
				if taken {
					return idle(ctx, s)
				}
				<-h.Draining()
				return ErrClosed
			}))
			var talk sync.WaitGroup
			clients := make([]*wshubtest.Client, n)
			for i := range clients {
				// So little that the end waits with the server's kernel when the connection closes, and is lost if it closes rudely.
				c := srv.DialTCP(wshubtest.WithBuffer(32 << 10))
				clients[i] = c
				talk.Go(func() {
					text := strings.Repeat("talk ", 1000)
					for c.TrySend(text) == nil {
					}
				})
			}
			for st := h.Stats(); st.Sessions < n || st.Received < 10*n; st = h.Stats() { // all are in the midst of it
				runtime.Gosched()
			}
			text := strings.Repeat("x", 10_000)
			for range 20 {
				if err := h.Everyone().Send(t.Context(), Text(text)); err != nil {
					t.Error(err)
				}
			}
			if err := h.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			for _, c := range clients {
				for range 20 {
					c.ExpectText(text)
				}
				c.ExpectClose(1001)
			}
			talk.Wait()
		})
	}
}

// A SessionFunc may say good-bye.
func TestShutdownLetsSessionFuncsFinish(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
			for range s.Messages() {
			}
			time.Sleep(time.Second)
			return s.Send(context.Background(), Text("bye"))
		}))
		synctest.Wait()
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		c.ExpectText("bye")
		c.ExpectClose(1001)
	})
}

func TestPitfall26ShutdownAnyTime(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		for range 3 { // before the first session, and again
			if err := h.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if _, err := NewTopic[string](h, "late", Policy{}); !errors.Is(err, ErrClosed) {
			t.Errorf("NewTopic after Shutdown: %v", err)
		}
	})
	in(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(idle))
		var wg sync.WaitGroup
		for range 5 { // in parallel
			wg.Go(func() {
				if err := h.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() { c.ExpectClose(1001) })
		wg.Wait()
	})
	in(t, func(t *testing.T) { // Close, then Shutdown
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(waiting))
		synctest.Wait()
		h.Close()
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-c.Done()
	})
}

// An upgrade in flight is either counted, and then sees 1001, or refused.
func TestPitfall26ShutdownDuringUpgrades(t *testing.T) {
	in(t, func(t *testing.T) {
		for i := range 20 {
			h := newHub(t, Authenticate(func(*http.Request) (Identity, error) {
				time.Sleep(time.Duration(i) * time.Millisecond)
				return Identity{}, nil
			}))
			var wg sync.WaitGroup
			for j := range 10 {
				wg.Go(func() {
					time.Sleep(time.Duration(j) * 2 * time.Millisecond)
					c, resp, err := wshubtest.TryDial(t, h.Handler(idle))
					if err != nil {
						if resp == nil || resp.StatusCode != 503 {
							t.Errorf("%v, %v", resp, err)
						}
						return
					}
					<-c.Done()
					if got := c.Received(); got.Close != 1 {
						t.Errorf("no close frame: %v", c.Err())
					}
				})
			}
			time.Sleep(10 * time.Millisecond)
			if err := h.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if h.Len() != 0 {
				t.Errorf("%d sessions", h.Len())
			}
			wg.Wait()
		}
	})
}

// ctx bounds Shutdown; what is left is closed at once.
func TestPitfall25ShutdownBoundedByContext(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		release := make(chan struct{})
		c := wshubtest.Dial(t, h.Handler(func(context.Context, *Session) error { <-release; return nil }))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := h.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("it took %v", d)
		}
		<-c.Done()
		close(release)
	})
}

// A SessionFunc that does not return keeps its client waiting for 5 s, not for ever.
func TestShutdownDoesNotWaitForSessionFuncToSayGoodbye(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		release := make(chan struct{})
		c := wshubtest.Dial(t, h.Handler(func(context.Context, *Session) error { <-release; return nil }))
		synctest.Wait()
		done := make(chan error)
		go func() { done <- h.Shutdown(context.Background()) }()
		c.ExpectClose(1001)
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseIsAtOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(waiting))
		s := only(t, h)
		start := time.Now()
		h.Close()
		<-s.Done()
		<-c.Done()
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %v", d)
		}
		if s.Err() != nil {
			t.Errorf("Err is %v", s.Err())
		}
	})
}

// An upgrade under way when the rest is closed at once is closed at once too, when it becomes a session.
func TestCloseDuringUpgrade(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Hub){
		"Close": func(_ *testing.T, h *Hub) { h.Close() },
		"Shutdown": func(t *testing.T, h *Hub) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := h.Shutdown(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Shutdown: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t)
				arrived := make(chan *Session, 1)
				handler := h.Handler(func(ctx context.Context, s *Session) error {
					start := time.Now()
					<-ctx.Done()
					if d := time.Since(start); d != 0 {
						t.Errorf("its context ended after %v", d)
					}
					arrived <- s
					time.Sleep(10 * time.Second)
					return nil
				})
				c, _, err := wshubtest.TryDial(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					handler.ServeHTTP(hijacked{w, func() { end(t, h) }}, r)
				}))
				if err != nil {
					return // cut off before the client had its answer
				}
				start := time.Now()
				<-c.Done()
				if d := time.Since(start); d != 0 {
					t.Errorf("the connection was closed after %v", d)
				}
				<-arrived
			})
		})
	}
}

// hijacked calls f in the midst of the upgrade.
type hijacked struct {
	http.ResponseWriter
	f func()
}

func (w hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.f()
	return w.ResponseWriter.(http.Hijacker).Hijack()
}
