package wshub_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/wshub-go/wshub"
)

// identified returns a hub whose sessions have the given identity, and one of them.
func identified(t *testing.T, ident wshub.Identity, opts ...wshub.Option) (*wshub.Hub, *wshub.Session) {
	t.Helper()
	h := newHub(t, append(opts, wshub.WithKeepAlive(0, 0), wshub.Authenticate(func(*http.Request) (wshub.Identity, error) { return ident, nil }))...)
	ss, _ := sessions(t, h, 1)
	return h, ss[0]
}

func TestRenewMovesTheEnd(t *testing.T) {
	for _, tc := range []struct {
		name  string
		renew time.Duration // from the start; 0: for ever
		end   time.Duration
	}{
		{"later", 3 * time.Hour, 3 * time.Hour},
		{"earlier", 45 * time.Minute, 45 * time.Minute},
		{"never", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, s := identified(t, wshub.Identity{User: "ann", Expires: start.Add(time.Hour)})
				time.Sleep(30 * time.Minute)
				next := wshub.Identity{User: "ann", Claims: 2}
				if tc.renew > 0 {
					next.Expires = start.Add(tc.renew)
				}
				if err := s.Renew(t.Context(), next); err != nil {
					t.Fatal(err)
				}
				if s.Identity() != next {
					t.Errorf("it is %v, want %v", s.Identity(), next)
				}
				if tc.end == 0 {
					time.Sleep(1000 * time.Hour)
					if s.Err() != nil {
						t.Errorf("closed: %v", s.Err())
					}
					return
				}
				time.Sleep(time.Until(start.Add(tc.end)) - time.Nanosecond)
				synctest.Wait()
				if s.Err() != nil {
					t.Errorf("closed too early: %v", s.Err())
				}
				<-s.Done()
				if took := time.Since(start); took < tc.end || took > tc.end+time.Second {
					t.Errorf("ended after %v, want %v", took, tc.end)
				}
				if err := s.Err(); !errors.Is(err, wshub.ErrUnauthorized) {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

// Many renewals at once leave one identity and the timer of that one.
func TestRenewBesideRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := identified(t, wshub.Identity{User: "ann", Expires: time.Now().Add(time.Minute)})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				err := s.Renew(t.Context(), wshub.Identity{User: "ann", Expires: time.Now().Add(time.Duration(i+1) * time.Hour)})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		end := s.Identity().Expires
		time.Sleep(time.Until(end) - 1)
		synctest.Wait()
		if s.Err() != nil {
			t.Errorf("closed too early: %v", s.Err())
		}
		<-s.Done()
		if d := time.Since(end); d > time.Second {
			t.Errorf("ended %v late", d)
		}
	})
}

func TestRenewAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		may := func(ctx context.Context, s *wshub.Session, topic string) error {
			if !slices.Contains(s.Identity().Claims.([]string), topic) {
				return errors.New("not yours")
			}
			return nil
		}
		h, s := identified(t, wshub.Identity{Claims: []string{"a", "b", "c"}}, wshub.Authorize(may))
		events := h.Events(t.Context(), wshub.Policy{})
		for _, name := range []string{"a", "b", "c"} {
			join(t, newTopic[string](t, h, name, wshub.Policy{}), s)
			<-events.C()
		}
		err := s.Renew(t.Context(), wshub.Identity{User: "ann", Claims: []string{"b"}})
		if !errors.Is(err, wshub.ErrUnauthorized) || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), `"c"`) {
			t.Errorf("renew: %v", err)
		}
		if left := slices.Collect(s.Topics()); !slices.Equal(left, []string{"b"}) {
			t.Errorf("it is in %q", left)
		}
		for range 2 {
			if ev := <-events.C(); ev.Kind != wshub.EventLeft || ev.Topic == "b" || ev.User != "ann" {
				t.Errorf("event %+v", ev)
			}
		}
		if s.Err() != nil {
			t.Errorf("closed: %v", s.Err())
		}
	})
}

// A join that was authorized for an identity that is gone by the time it happens is authorized again.
func TestRenewBesideJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, answer := make(chan any), make(chan struct{})
		may := func(ctx context.Context, s *wshub.Session, topic string) error {
			claims := s.Identity().Claims
			asked <- claims
			<-answer
			if claims != "member" {
				return errors.New("members only")
			}
			return nil
		}
		h, s := identified(t, wshub.Identity{Claims: "member"}, wshub.Authorize(may))
		topic := newTopic[string](t, h, "club", wshub.Policy{})
		joined := make(chan error)
		go func() { joined <- topic.Join(t.Context(), s) }()
		if c := <-asked; c != "member" {
			t.Fatalf("asked about %v", c)
		}
		if err := s.Renew(t.Context(), wshub.Identity{Claims: "guest"}); err != nil {
			t.Fatal(err)
		}
		answer <- struct{}{}
		if c := <-asked; c != "guest" {
			t.Errorf("asked again about %v", c)
		}
		answer <- struct{}{}
		if err := <-joined; !errors.Is(err, wshub.ErrUnauthorized) || topic.Has(s) {
			t.Errorf("joined with %v, member: %t", err, topic.Has(s))
		}
	})
}

// A refusal that was for an identity that is gone by the time it comes is no refusal.
func TestRenewDuringRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, answer := make(chan struct{}), make(chan struct{})
		may := func(ctx context.Context, s *wshub.Session, topic string) error {
			if s.Identity().Claims == "member" {
				return nil
			}
			asked <- struct{}{}
			<-answer
			return errors.New("members only")
		}
		h, s := identified(t, wshub.Identity{Claims: "member"}, wshub.Authorize(may))
		topic := newTopic[string](t, h, "club", wshub.Policy{})
		join(t, topic, s)
		renewed := make(chan error)
		go func() { renewed <- s.Renew(t.Context(), wshub.Identity{Claims: "guest"}) }()
		<-asked
		if err := s.Renew(t.Context(), wshub.Identity{Claims: "member"}); err != nil {
			t.Fatal(err)
		}
		answer <- struct{}{}
		if err := <-renewed; err != nil {
			t.Errorf("the first renewal: %v", err)
		}
		if !topic.Has(s) {
			t.Error("the second renewal lets it stay, and the first has made it leave")
		}
	})
}

func TestRenewRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := wshub.Identity{User: "ann", Expires: time.Now().Add(time.Hour)}
		h, s := identified(t, first, wshub.WithLimits(wshub.Limits{SessionsPerUser: 1}))
		if err := s.Renew(t.Context(), wshub.Identity{User: "ann", Expires: time.Now()}); !errors.Is(err, wshub.ErrExpired) || !errors.Is(err, wshub.ErrUnauthorized) {
			t.Errorf("with an identity that is over: %v", err)
		}
		if s.Identity() != first {
			t.Errorf("it is %v now", s.Identity())
		}
		if err := s.Renew(t.Context(), wshub.Identity{User: "bob"}); err != nil {
			t.Fatal(err)
		}
		if n := len(slices.Collect(h.UserSessions("ann"))); n != 0 {
			t.Errorf("ann has %d sessions", n)
		}
		second, _ := sessions(t, h, 1) // is ann
		if err := second[0].Renew(t.Context(), wshub.Identity{User: "bob"}); !errors.Is(err, wshub.ErrTooManySessionsPerUser) {
			t.Errorf("a second bob: %v", err)
		}
		if u := second[0].User(); u != "ann" {
			t.Errorf("the second is %q", u)
		}
		s.Close(wshub.StatusNormalClosure, "")
		<-s.Done()
		if err := s.Renew(t.Context(), wshub.Identity{User: "cid"}); !errors.Is(err, wshub.ErrSessionClosed) {
			t.Errorf("of a session that has ended: %v", err)
		}
		if n := len(slices.Collect(h.UserSessions("cid"))); n != 0 {
			t.Errorf("cid has %d sessions", n)
		}
		time.Sleep(2 * time.Hour) // the second's identity ends; nothing is left of the others'
	})
}

func TestAudienceLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[string](t, h, "club", wshub.Policy{})
		ss, _ := sessions(t, h, 4)
		for i, user := range []string{"ann", "ann", "bob", "cid"} {
			if err := ss[i].SetUser(user); err != nil {
				t.Fatal(err)
			}
		}
		join(t, topic, ss[0], ss[1], ss[2])
		for _, tc := range []struct {
			name string
			who  wshub.Audience
			want error
			left int
		}{
			{"nobody", h.User("dan"), wshub.ErrNoSession, 3},
			{"not in it", h.User("cid"), wshub.ErrNotMember, 3},
			{"one session", h.To(ss[2].ID()), nil, 2},
			{"gone already", h.User("bob"), wshub.ErrNotMember, 2},
			{"a user's", h.User("ann").Except(ss[1]), nil, 1},
			{"everyone", h.Everyone(), nil, 0},
			{"the zero audience", wshub.Audience{}, wshub.ErrNoSession, 0},
		} {
			if err := tc.who.Leave(t.Context(), "club"); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
			}
			if topic.Len() != tc.left {
				t.Errorf("%s: %d are left, want %d", tc.name, topic.Len(), tc.left)
			}
		}
		if err := h.Everyone().Leave(t.Context(), "never made"); !errors.Is(err, wshub.ErrNotMember) {
			t.Errorf("of no topic: %v", err)
		}
	})
}

// The wall clock says when an identity expires, as it does for the token: also when it was set since Expires was made, so
// that the monotonic reading in Expires, which times of a bubble do not have, says something else.
func TestExpiryIsByTheWallClock(t *testing.T) {
	expires := time.Now().Add(50 * time.Millisecond)
	reading := &(*struct {
		wall      uint64
		monotonic int64
		loc       *time.Location
	})(unsafe.Pointer(&expires)).monotonic
	before := time.Until(expires)
	*reading += int64(time.Hour) // as if the clock had been set forward by an hour
	if d := time.Until(expires) - before; d.Round(time.Minute) != time.Hour || time.Until(expires.Round(0)) > time.Minute {
		t.Skipf("a time.Time is made of something else: %v", d)
	}
	_, s := identified(t, wshub.Identity{User: "ann", Expires: expires})
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("it is open long after the end")
	}
	if !errors.Is(s.Err(), wshub.ErrUnauthorized) {
		t.Errorf("Err is %v", s.Err())
	}
}
