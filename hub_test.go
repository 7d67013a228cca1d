package wshub

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/wshubtest"
)

// newHub makes a hub that logs into the test and shuts down with it.
func newHub(t testing.TB, opts ...Option) *Hub {
	t.Helper()
	h, err := New(append([]Option{WithLogger(nil)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if n := h.Len(); n != 0 {
			t.Errorf("%d sessions after Shutdown", n)
		}
		if n := h.taken.Load(); n != 0 {
			t.Errorf("%d sessions count against the limit after Shutdown", n)
		}
	})
	return h
}

// idle is a SessionFunc that reads until no message comes.
func idle(ctx context.Context, s *Session) error {
	for range s.Messages() {
	}
	return nil
}

// waiting is one that only waits for its context.
func waiting(ctx context.Context, s *Session) error {
	<-ctx.Done()
	return ctx.Err()
}

// only returns the hub's only session, in a bubble. A client may see the upgrade before the hub has the session.
func only(t testing.TB, h *Hub) *Session {
	t.Helper()
	synctest.Wait()
	sessions := slices.Collect(h.Sessions())
	if len(sessions) != 1 {
		t.Fatalf("%d sessions, want 1", len(sessions))
	}
	return sessions[0]
}

// record is a log that can be read while it is written.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

func (r *record) logger() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

// in runs f in a bubble of fake time.
func in(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestPitfall08PeerCloses(t *testing.T) {
	for _, test := range []struct {
		name string
		code int
		err  error
	}{
		{"normal", 1000, nil},
		{"going away", 1001, nil},
		{"browser", 0, nil},
		{"own code", 4000, &CloseError{Code: 4000, Reason: "why"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t)
				var cause error
				c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
					<-ctx.Done()
					cause = context.Cause(ctx)
					return errors.New("not heard any more")
				}))
				s := only(t, h)
				reason := "why"
				want := test.code
				if test.code == 0 {
					reason, want = "", 1005
				}
				if got := c.Close(test.code, reason); got != want {
					t.Errorf("answered %d, want %d", got, want)
				}
				<-s.Done()
				if err := s.Err(); !errors.Is(err, test.err) {
					t.Errorf("Err is %v, want %v", err, test.err)
				}
				if !errors.Is(cause, &CloseError{Code: StatusCode(want)}) {
					t.Errorf("the context's cause is %v, want %d", cause, want)
				}
			})
		})
	}
}

func TestConnectionLost(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(idle))
		s := only(t, h)
		c.Abort()
		<-s.Done()
		if s.Err() == nil {
			t.Error("no Err")
		}
	})
}

// Messages that came before the client's close are delivered, with a live context.
func TestMessagesBeforeClose(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		var got []string
		var late int
		done := make(chan struct{})
		c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
			defer close(done)
			for m := range s.Messages() {
				time.Sleep(100 * time.Millisecond)
				if ctx.Err() != nil {
					late++
				}
				got = append(got, m.Text())
			}
			<-ctx.Done()
			return nil
		}))
		var want []string
		for i := range 16 {
			text := strings.Repeat("x", i)
			want = append(want, text)
			c.SendText(text)
		}
		c.Close(1000, "")
		<-done
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		if late > 1 { // the last one may be worked on while the context ends: it was taken
			t.Errorf("%d messages were handled after the context had ended", late)
		}
	})
}

// A SessionFunc that never reads still hears of the end.
func TestUnreadMessagesDoNotHoldTheContext(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(waiting))
		s := only(t, h)
		c.SendText("nobody reads this")
		start := time.Now()
		c.Close(1000, "")
		<-s.Done()
		if d := time.Since(start); d > closeWait+time.Second {
			t.Errorf("it took %v", d)
		}
		if n := h.Stats().Unread; n != 1 {
			t.Errorf("%d unread, want 1", n)
		}
	})
}

func TestCloseFlushesThenCloses(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
			for range 10 {
				if err := s.Send(ctx, Text("pending")); err != nil {
					return err
				}
			}
			if err := s.Close(4000, "first"); err != nil {
				t.Error(err)
			}
			if err := s.Close(4001, "second"); err != nil {
				t.Error(err)
			}
			if err := s.Send(ctx, Text("late")); !errors.Is(err, ErrSessionClosed) {
				t.Errorf("Send after Close: %v", err)
			}
			for range s.Messages() { // ends promptly
			}
			return errors.New("too late to matter")
		}))
		if reason := c.ExpectClose(4000); reason != "first" {
			t.Errorf("reason %q", reason)
		}
		if got := len(c.Take()); got != 10 {
			t.Errorf("%d messages, want 10", got)
		}
	})
}

func TestCloseRefusesCodes(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		wshubtest.Dial(t, h.Handler(idle))
		s := only(t, h)
		for _, code := range []StatusCode{-1, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000} {
			if s.Close(code, "") == nil {
				t.Errorf("Close(%d) is no error", code)
			}
			if h.Everyone().Close(t.Context(), code, "") == nil {
				t.Errorf("Everyone.Close(%d) is no error", code)
			}
		}
		if s.ended() {
			t.Error("a refused code closed the session")
		}
	})
}

// A client that does not answer the close frame is cut off in time.
func TestCloseIsBounded(t *testing.T) {
	for _, test := range []struct {
		name  string
		opts  []wshubtest.DialOption
		stall bool
		limit time.Duration
	}{
		{"no answer", []wshubtest.DialOption{wshubtest.WithoutCloseEcho()}, false, closeWait + time.Second},
		{"takes nothing", []wshubtest.DialOption{wshubtest.WithBuffer(1024)}, true, 2*10*time.Second + closeWait + time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t)
				c := wshubtest.Dial(t, h.Handler(idle), test.opts...)
				s := only(t, h)
				if test.stall {
					c.Stall()
					for range 10 {
						if err := s.Send(t.Context(), Binary(make([]byte, 1000))); err != nil {
							t.Fatal(err)
						}
					}
				}
				start := time.Now()
				s.Close(1000, "")
				<-s.Done()
				if d := time.Since(start); d > test.limit {
					t.Errorf("it took %v", d)
				}
				c.Abort()
			})
		})
	}
}

// A client that takes nothing fails the session within the write timeout, and wakes who sends to it.
func TestPitfall05StalledClientWakesSenders(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithWriteTimeout(3*time.Second))
		c := wshubtest.Dial(t, h.Handler(waiting), wshubtest.WithBuffer(1024))
		s := only(t, h)
		c.Stall()
		var err error
		for err == nil {
			err = s.Send(context.Background(), Binary(make([]byte, 100_000)))
		}
		if !errors.Is(err, ErrSessionClosed) {
			t.Errorf("Send: %v", err)
		}
		<-s.Done()
		if !errors.Is(s.Err(), ErrWriteTimeout) {
			t.Errorf("Err is %v", s.Err())
		}
		c.Abort()
	})
}

func TestSendBoundedByContext(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(waiting), wshubtest.WithBuffer(1024))
		s := only(t, h)
		c.Stall()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var err error
		for err == nil {
			err = s.Send(ctx, Binary(make([]byte, 100_000)))
		}
		if !errors.Is(err, ErrPendingFull) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Send: %v", err)
		}
		c.Abort()
	})
}

func TestMessageTimeout(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithMessageTimeout(2*time.Second))
		c := wshubtest.Dial(t, h.Handler(idle))
		s := only(t, h)
		frame := wshubtest.Frame(true, wshubtest.OpText, []byte("half"))
		c.SendRaw(frame[:len(frame)-2])
		c.ExpectClose(1008)
		<-s.Done()
		if !errors.Is(s.Err(), ErrMessageTimeout) {
			t.Errorf("Err is %v", s.Err())
		}
	})
}

// Accept by hand: the caller reads and closes.
func TestAcceptByHand(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		sessions := make(chan *Session, 1)
		c := wshubtest.Dial(t, handlerFunc(func(s *Session, err error) {
			if err != nil {
				t.Error(err)
			}
			sessions <- s
		}, h))
		s := <-sessions
		c.SendText("hello")
		if m := <-s.Messages(); m.Text() != "hello" || m.Kind != KindText || m.Time.IsZero() {
			t.Errorf("got %+v", m)
		}
		s.Close(1000, "")
		c.ExpectClose(1000)
		<-s.Done()
		if _, ok := <-s.Messages(); ok {
			t.Error("a message after the end")
		}
	})
}

func TestSessionFacts(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithNode("node-7"), WithSubprotocols("chat.v2", "chat.v1"))
		wshubtest.Dial(t, h.Handler(idle), wshubtest.WithSubprotocols("chat.v1"), wshubtest.WithRemoteAddr("198.51.100.7:1234"))
		s := only(t, h)
		if !strings.HasPrefix(s.ID(), "node-7.") || h.Node() != "node-7" {
			t.Errorf("id %q on node %q", s.ID(), h.Node())
		}
		if got := s.Subprotocol(); got != "chat.v1" {
			t.Errorf("subprotocol %q", got)
		}
		if got := s.RemoteAddr().String(); got != "198.51.100.7:1234" {
			t.Errorf("remote address %q", got)
		}
		if !s.ConnectedAt().Equal(time.Now()) {
			t.Errorf("connected at %v", s.ConnectedAt())
		}
		if found, ok := h.Session(s.ID()); !ok || found != s {
			t.Errorf("Session(id): %v, %v", found, ok)
		}
		if _, ok := h.Session("node-7.nobody"); ok {
			t.Error("found nobody")
		}
	})
}
