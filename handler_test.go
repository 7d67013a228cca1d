package wshub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/wshubtest"
)

// refused dials and returns the answer to a refused upgrade.
func refused(t *testing.T, h http.Handler, opts ...wshubtest.DialOption) *http.Response {
	t.Helper()
	_, resp, err := wshubtest.TryDial(t, h, opts...)
	if err == nil {
		t.Fatal("the upgrade was not refused")
	}
	if resp == nil {
		t.Fatalf("no answer: %v", err)
	}
	return resp
}

func userAnn(*http.Request) (Identity, error) { return Identity{User: "ann"}, nil }

func TestRefusals(t *testing.T) {
	teapot := &RejectError{Status: http.StatusTeapot, Header: http.Header{"X-Why": {"tea"}}, Reason: "short and stout"}
	for _, test := range []struct {
		name   string
		opts   []Option
		dial   []wshubtest.DialOption
		pick   error // of HandlerFor's func
		status int
		header string // X-Why
		later  bool   // there is a Retry-After
	}{
		{name: "foreign origin", dial: []wshubtest.DialOption{wshubtest.WithOrigin("https://evil.example")}, status: 403},
		{name: "null origin", dial: []wshubtest.DialOption{wshubtest.WithOrigin("null")}, status: 403},
		{name: "check origin", opts: []Option{CheckOrigin(func(*http.Request) bool { return false })}, status: 403},
		{name: "authentication", opts: []Option{Authenticate(func(*http.Request) (Identity, error) { return Identity{}, errors.New("secret") })}, status: 401},
		{name: "chosen answer", opts: []Option{Authenticate(func(*http.Request) (Identity, error) {
			return Identity{}, fmt.Errorf("auth: %w", teapot)
		})}, status: 418, header: "tea"},
		{name: "expired", opts: []Option{Authenticate(func(*http.Request) (Identity, error) {
			return Identity{Expires: time.Now()}, nil
		})}, status: 401},
		{name: "panic", opts: []Option{Authenticate(func(*http.Request) (Identity, error) { panic("boom") })}, status: 500},
		{name: "pick", pick: errors.New("no"), status: 401},
		{name: "pick's answer", pick: teapot, status: 418, header: "tea"},
		{name: "unauthorized", pick: fmt.Errorf("secret: %w", ErrUnauthorized), status: 401},
		{name: "forbidden", pick: fmt.Errorf("secret: %w", ErrForbidden), status: 403},
		{name: "not found", pick: fmt.Errorf("secret: %w", ErrNotFound), status: 404},
		{name: "limit", pick: fmt.Errorf("secret: %w", ErrTopicFull), status: 429, later: true},
		{name: "draining", pick: fmt.Errorf("secret: %w", ErrDraining), status: 503, later: true},
		{name: "closed", pick: fmt.Errorf("secret: %w", ErrClosed), status: 503, later: true},
		{name: "bad name", pick: fmt.Errorf("secret: %w", ErrName), status: 400},
		{name: "forbidden by authentication", opts: []Option{Authenticate(func(*http.Request) (Identity, error) { return Identity{}, ErrForbidden })}, status: 403},
		{name: "chosen answer before all", pick: fmt.Errorf("%w: %w", ErrForbidden, teapot), status: 418, header: "tea"},
		{name: "not a websocket", dial: []wshubtest.DialOption{wshubtest.WithHeader("Upgrade", "")}, status: 426},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t, append(test.opts, WithLimits(Limits{Sessions: 1, SessionsPerAddr: 1, Upgrades: 1}))...)
				handler := h.HandlerFor(func(*http.Request) (SessionFunc, error) { return idle, test.pick })
				for range 3 { // each gives back what it took
					resp := refused(t, handler, test.dial...)
					if resp.StatusCode != test.status {
						t.Errorf("status %d, want %d", resp.StatusCode, test.status)
					}
					if got := resp.Header.Get("X-Why"); got != test.header {
						t.Errorf("header %q, want %q", got, test.header)
					}
					if got := resp.Header.Get("Retry-After"); (got != "") != test.later {
						t.Errorf("Retry-After %q", got)
					}
					body := new(strings.Builder)
					resp.Write(body)
					if strings.Contains(body.String(), "secret") {
						t.Error("the client was told the error")
					}
				}
				if st := h.Stats(); st.Refused != 3 || st.Accepted != 0 {
					t.Errorf("stats: %+v", st)
				}
			})
		})
	}
}

// The origin is checked before authentication has side effects.
func TestOriginBeforeAuthentication(t *testing.T) {
	in(t, func(t *testing.T) {
		var asked int
		h := newHub(t, Authenticate(func(*http.Request) (Identity, error) { asked++; return Identity{}, nil }))
		refused(t, h.Handler(idle), wshubtest.WithOrigin("https://evil.example"))
		if asked != 0 {
			t.Error("authentication was asked")
		}
		wshubtest.Dial(t, h.Handler(idle), wshubtest.WithOrigin("https://example.com"))
	})
}

func TestHandlerForSeesTheRequest(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, Authenticate(func(r *http.Request) (Identity, error) {
			return Identity{User: r.URL.Query().Get("as")}, nil
		}))
		var order []string
		note := func(name string) Middleware {
			return func(next SessionFunc) SessionFunc {
				return func(ctx context.Context, s *Session) error {
					order = append(order, name)
					return next(ctx, s)
				}
			}
		}
		c := wshubtest.Dial(t, h.HandlerFor(func(r *http.Request) (SessionFunc, error) {
			room := r.URL.Query().Get("room")
			return func(ctx context.Context, s *Session) error {
				return s.Send(ctx, Text(s.User()+" in "+room))
			}, nil
		}, note("outer"), note("inner")), wshubtest.WithPath("/ws?room=go&as=ann"))
		c.ExpectText("ann in go")
		c.ExpectClose(1000)
		if want := []string{"outer", "inner"}; !slices.Equal(order, want) {
			t.Errorf("order %q", order)
		}
	})
}

// The session's context has the request's values and outlives the request.
func TestContextOutlivesRequest(t *testing.T) {
	type key struct{}
	in(t, func(t *testing.T) {
		h := newHub(t)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
		c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
			<-s.Messages()
			if err := ctx.Err(); err != nil {
				return err
			}
			if ctx != s.Context() {
				t.Error("another context")
			}
			return s.Send(ctx, Text(ctx.Value(key{}).(string)))
		}), wshubtest.WithContext(ctx))
		cancel()
		synctest.Wait()
		c.SendText("go")
		c.ExpectText("trace")
	})
}

// Limits hold exactly under concurrent dials, and come back when sessions end.
func TestPitfall03LimitsUnderParallelDials(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits Limits
		status int
	}{
		{"sessions", Limits{Sessions: 5}, 503},
		{"per user", Limits{SessionsPerUser: 5}, 429},
		{"per address", Limits{SessionsPerAddr: 5}, 429},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t, WithLimits(test.limits), Authenticate(func(r *http.Request) (Identity, error) {
					time.Sleep(time.Millisecond) // all are under way at once
					return Identity{User: "ann"}, nil
				}))
				for range 3 {
					var wg sync.WaitGroup
					var mu sync.Mutex
					var clients []*wshubtest.Client
					for range 50 {
						wg.Go(func() {
							c, resp, err := wshubtest.TryDial(t, h.Handler(idle))
							mu.Lock()
							defer mu.Unlock()
							if err == nil {
								clients = append(clients, c)
							} else if resp == nil || resp.StatusCode != test.status || resp.Header.Get("Retry-After") == "" {
								t.Errorf("refused with %v, %v", resp, err)
							}
						})
					}
					wg.Wait()
					synctest.Wait()
					if len(clients) != 5 || h.Len() != 5 {
						t.Fatalf("%d clients, %d sessions, want 5", len(clients), h.Len())
					}
					for _, c := range clients {
						c.Close(1000, "")
					}
					synctest.Wait()
					if h.Len() != 0 {
						t.Fatalf("%d sessions are left", h.Len())
					}
				}
			})
		})
	}
}

func TestUpgradesLimit(t *testing.T) {
	in(t, func(t *testing.T) {
		release := make(chan struct{})
		var slow atomic.Int32
		h := newHub(t, WithLimits(Limits{Upgrades: 2}), Authenticate(func(r *http.Request) (Identity, error) {
			if r.URL.Path == "/slow" {
				slow.Add(1)
				<-release
			}
			return Identity{}, nil
		}))
		handler := h.Handler(idle)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, _, err := wshubtest.TryDial(t, handler, wshubtest.WithPath("/slow")); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if got := slow.Load(); got != 2 {
			t.Fatalf("%d are under way", got)
		}
		resp := refused(t, handler)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("answered %v", resp.Status)
		}
		close(release)
		wg.Wait()
		synctest.Wait()
		wshubtest.Dial(t, handler)
	})
}

func TestSetUser(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithLimits(Limits{SessionsPerUser: 2}))
		handler := h.Handler(idle)
		var clients []*wshubtest.Client
		for range 3 {
			clients = append(clients, wshubtest.Dial(t, handler))
		}
		synctest.Wait()
		s := slices.Collect(h.Sessions())
		for i, want := range []error{nil, nil, ErrTooManySessionsPerUser} {
			if err := s[i].SetUser("ann"); !errors.Is(err, want) {
				t.Errorf("session %d: %v, want %v", i, err, want)
			}
		}
		if got := len(slices.Collect(h.UserSessions("ann"))); got != 2 {
			t.Errorf("ann has %d sessions", got)
		}
		if err := s[0].SetUser("ann"); err != nil { // already
			t.Error(err)
		}
		if err := s[0].SetUser(""); err != nil {
			t.Error(err)
		}
		if err := s[2].SetUser("ann"); err != nil {
			t.Error(err)
		}
		if s[2].User() != "ann" || s[2].Identity().User != "ann" || s[0].User() != "" {
			t.Error("users are wrong")
		}
		for _, c := range clients {
			c.Close(1000, "")
		}
		synctest.Wait()
		if err := s[0].SetUser("ann"); !errors.Is(err, ErrSessionClosed) {
			t.Errorf("on a closed session: %v", err)
		}
		if got := len(slices.Collect(h.UserSessions("ann"))); got != 0 {
			t.Errorf("ann has %d sessions after the end", got)
		}
		for i := range h.table.users {
			if n := len(h.table.users[i].byName); n != 0 {
				t.Errorf("%d users are left in the index", n)
			}
		}
	})
}

// SetUser that races the end never puts a session back into the index.
func TestPitfall01SetUserRacesTheEnd(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithLimits(Limits{SessionsPerUser: 1}))
		for i := range 50 {
			c := wshubtest.Dial(t, h.Handler(idle))
			s := only(t, h)
			var wg sync.WaitGroup
			wg.Go(func() {
				for _, over := s.Ended(); !over; _, over = s.Ended() {
					s.SetUser(fmt.Sprint(i))
					s.SetUser("")
				}
				s.SetUser(fmt.Sprint(i))
			})
			c.Abort()
			wg.Wait()
			<-s.Done()
			if got := len(slices.Collect(h.UserSessions(fmt.Sprint(i)))); got != 0 {
				t.Fatalf("%d ghosts", got)
			}
		}
	})
}

func TestIdentityExpires(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithKeepAlive(0, 0), Authenticate(func(*http.Request) (Identity, error) {
			return Identity{User: "ann", Expires: time.Now().Add(time.Hour), Claims: 7}, nil
		}))
		c := wshubtest.Dial(t, h.Handler(idle), wshubtest.WithTimeout(2*time.Hour))
		s := only(t, h)
		if s.Identity().Claims != 7 {
			t.Errorf("identity %+v", s.Identity())
		}
		start := time.Now()
		c.ExpectClose(1008)
		if d := time.Since(start); d != time.Hour {
			t.Errorf("closed after %v", d)
		}
		<-s.Done()
		if !errors.Is(s.Err(), ErrUnauthorized) {
			t.Errorf("Err is %v", s.Err())
		}
	})
}

// A token for ever, as some issuers write it, is no token that has expired: nanoseconds of the year 9999 are beyond an
// int64.
func TestIdentityWithoutEnd(t *testing.T) {
	for _, end := range []time.Time{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Unix(1<<40, 0)} {
		in(t, func(t *testing.T) {
			h := newHub(t, Authenticate(func(*http.Request) (Identity, error) { return Identity{Expires: end}, nil }))
			c := wshubtest.Dial(t, h.Handler(idle))
			s := only(t, h)
			time.Sleep(time.Minute)
			synctest.Wait()
			if s.ended() {
				t.Errorf("expires in %d, closed now: %v", end.Year(), s.Err())
			}
			c.Abort()
		})
	}
}
