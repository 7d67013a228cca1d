package wshub_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// asQuery authenticates by the query's "as".
func asQuery(r *http.Request) (wshub.Identity, error) {
	return wshub.Identity{User: r.URL.Query().Get("as")}, nil
}

// A session that is closing, or has ended, gets no user any more, so nobody who is gone takes a place of the user's.
func TestPitfall01ClosingSessionGetsNoUser(t *testing.T) {
	ends := map[string]func(*wshub.Hub, *wshub.Session, *wshubtest.Client){
		"closed": func(_ *wshub.Hub, s *wshub.Session, _ *wshubtest.Client) { s.Close(1000, "") },
		"kicked": func(h *wshub.Hub, s *wshub.Session, _ *wshubtest.Client) {
			h.To(s.ID()).Close(context.Background(), 4000, "")
		},
		"left": func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) { c.SendFrame(true, wshubtest.OpClose, nil) },
		"lost": func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) { c.Abort() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, wshub.WithLimits(wshub.Limits{SessionsPerUser: 1}), wshub.Authenticate(asQuery))
				arrived, work := make(chan *wshub.Session), make(chan struct{})
				c := wshubtest.Dial(t, h.Handler(func(_ context.Context, s *wshub.Session) error {
					arrived <- s
					<-work // the session is closing, and has not ended
					return nil
				}), wshubtest.WithPath("/?as=bob"))
				s := <-arrived
				end(h, s, c)
				synctest.Wait()
				refused := func(when string) {
					t.Helper()
					if err := s.SetUser("ann"); !errors.Is(err, wshub.ErrSessionClosed) {
						t.Errorf("SetUser when %s: %v", when, err)
					}
					if err := s.Renew(t.Context(), wshub.Identity{User: "ann"}); !errors.Is(err, wshub.ErrSessionClosed) {
						t.Errorf("Renew when %s: %v", when, err)
					}
					if ghosts := slices.Collect(h.UserSessions("ann")); len(ghosts) != 0 {
						t.Errorf("ann has %d sessions when %s", len(ghosts), when)
					}
				}
				refused("closing")
				close(work)
				<-s.Done()
				refused("ended")
				for _, user := range []string{"ann", "bob"} { // both places are free, and there is one of each
					as := wshubtest.WithPath("/?as=" + user)
					if _, _, err := wshubtest.TryDial(t, h.Handler(stay), as); err != nil {
						t.Errorf("%s is locked out: %v", user, err)
					}
					synctest.Wait()
					if _, resp, err := wshubtest.TryDial(t, h.Handler(stay), as); err == nil || resp.StatusCode != http.StatusTooManyRequests {
						t.Errorf("a second session of %s: %v", user, err)
					}
				}
			})
		})
	}
}

// atOnce calls f for each i below n, at the same time, and returns the errors.
func atOnce(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	calls.Wait()
	return errs
}

// Of many who try at the same time exactly as many succeed as the limit allows, the rest is told which limit it was, and
// who is in already is told that.
func TestPitfall03LimitsUnderParallelJoins(t *testing.T) {
	const many = 30
	ctx := context.Background()
	for name, test := range map[string]struct {
		limits wshub.Limits
		err    error
		take   func(ss []*wshub.Session, topics []wshub.Topic[int], i int) error
		give   func(ss []*wshub.Session, topics []wshub.Topic[int], i int) error
		again  error // of take, to one who has it
	}{
		"sessions of a topic": {
			limits: wshub.Limits{SessionsPerTopic: 5}, err: wshub.ErrTopicFull, again: wshub.ErrAlreadyMember,
			take: func(ss []*wshub.Session, topics []wshub.Topic[int], i int) error { return topics[0].Join(ctx, ss[i]) },
			give: func(ss []*wshub.Session, topics []wshub.Topic[int], i int) error { return topics[0].Leave(ss[i]) },
		},
		"topics of a session": {
			limits: wshub.Limits{TopicsPerSession: 5}, err: wshub.ErrTooManyTopics, again: wshub.ErrAlreadyMember,
			take: func(ss []*wshub.Session, topics []wshub.Topic[int], i int) error { return topics[i].Join(ctx, ss[0]) },
			give: func(ss []*wshub.Session, topics []wshub.Topic[int], i int) error { return topics[i].Leave(ss[0]) },
		},
		"sessions of a user": {
			limits: wshub.Limits{SessionsPerUser: 5}, err: wshub.ErrTooManySessionsPerUser,
			take: func(ss []*wshub.Session, _ []wshub.Topic[int], i int) error { return ss[i].SetUser("ann") },
			give: func(ss []*wshub.Session, _ []wshub.Topic[int], i int) error { return ss[i].SetUser("") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, wshub.WithLimits(test.limits), wshub.Authorize(func(context.Context, *wshub.Session, string) error {
					time.Sleep(time.Millisecond) // all are under way at once
					return nil
				}))
				ss, _ := sessions(t, h, many)
				topics := make([]wshub.Topic[int], many)
				for i := range topics {
					topics[i] = newTopic[int](t, h, "topic"+string(rune('A'+i)), wshub.Policy{})
				}
				for range 5 { // what is given back is there again
					var in []int
					for i, err := range atOnce(many, func(i int) error { return test.take(ss, topics, i) }) {
						switch {
						case err == nil:
							in = append(in, i)
						case !errors.Is(err, test.err) || !errors.Is(err, wshub.ErrLimit):
							t.Errorf("%v, want %v", err, test.err)
						}
					}
					if len(in) != 5 {
						t.Fatalf("%d are in, want 5", len(in))
					}
					for _, i := range in {
						if err := test.take(ss, topics, i); !errors.Is(err, test.again) {
							t.Errorf("again: %v, want %v", err, test.again)
						}
					}
					for _, i := range in {
						if err := test.give(ss, topics, i); err != nil {
							t.Error(err)
						}
					}
				}
			})
		})
	}
}
