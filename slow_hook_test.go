package wshub_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// A function of the user's that takes an hour for one connection delays that one: meanwhile others are accepted, join, send,
// get what is published, and leave, all at once; and the slow one goes on when the hour is over.
func TestPitfall29SlowHookDelaysItsOwn(t *testing.T) {
	type served struct {
		opts    []wshub.Option
		handler func(*wshub.Hub, wshub.Topic[string], wshub.SessionFunc) http.Handler // nil: Handler
		upgrade bool                                                                  // is what waits
	}
	nap := func(slow bool) {
		if slow {
			time.Sleep(time.Hour)
		}
	}
	slowPath := func(r *http.Request) bool { return r.URL.Path == "/slow" }
	isSlow := func(s *wshub.Session) bool { return s.Subprotocol() == "slow" }
	slowEvent := func(e wshub.Event) { nap(e.User == "slow") }
	user := wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
		if slowPath(r) {
			return wshub.Identity{User: "slow"}, nil
		}
		return wshub.Identity{User: "ann"}, nil
	})
	for name, tt := range map[string]served{
		"Authenticate": {upgrade: true, opts: []wshub.Option{wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
			nap(slowPath(r))
			return wshub.Identity{User: "ann"}, nil
		})}},
		"CheckOrigin": {upgrade: true, opts: []wshub.Option{wshub.CheckOrigin(func(r *http.Request) bool { nap(slowPath(r)); return true })}},
		"HandlerFor": {upgrade: true, handler: func(h *wshub.Hub, _ wshub.Topic[string], fn wshub.SessionFunc) http.Handler {
			return h.HandlerFor(func(r *http.Request) (wshub.SessionFunc, error) { nap(slowPath(r)); return fn, nil })
		}},
		"Authorize":  {opts: []wshub.Option{wshub.Authorize(func(_ context.Context, s *wshub.Session, _ string) error { nap(isSlow(s)); return nil })}},
		"WithMember": {opts: []wshub.Option{wshub.WithMember(func(s *wshub.Session) any { nap(isSlow(s)); return nil })}},
		"middleware": {handler: func(h *wshub.Hub, _ wshub.Topic[string], fn wshub.SessionFunc) http.Handler {
			return h.Handler(fn, func(next wshub.SessionFunc) wshub.SessionFunc {
				return func(ctx context.Context, s *wshub.Session) error { nap(isSlow(s)); return next(ctx, s) }
			})
		}},
		"Each": {handler: func(h *wshub.Hub, topic wshub.Topic[string], _ wshub.SessionFunc) http.Handler {
			return h.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, _ wshub.Message) error {
				nap(isSlow(s))
				return topic.Join(ctx, s)
			}))
		}},
		"observer": {opts: []wshub.Option{user, wshub.WithObserver(wshub.Observer{Connected: slowEvent})}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, append(tt.opts, wshub.WithSubprotocols("slow"))...)
				topic := newTopic[string](t, h, "room", wshub.Policy{})
				var handler http.Handler
				fn := func(ctx context.Context, s *wshub.Session) error {
					<-s.Messages()
					if err := topic.Join(ctx, s); err != nil {
						return err
					}
					for range s.Messages() {
					}
					return nil
				}
				if tt.handler != nil {
					handler = tt.handler(h, topic, fn)
				} else {
					handler = h.Handler(fn)
				}
				dialled := make(chan *wshubtest.Client, 1)
				start := time.Now()
				go func() { // ends with the upgrade
					c, _, err := wshubtest.TryDial(t, handler, wshubtest.WithPath("/slow"), wshubtest.WithSubprotocols("slow"), wshubtest.WithTimeout(2*time.Hour))
					if err != nil {
						t.Error(err)
						close(dialled)
						return
					}
					c.SendText("join")
					dialled <- c
				}()
				synctest.Wait()
				if tt.upgrade != (len(dialled) == 0) {
					t.Fatalf("%d upgrades are done", len(dialled))
				}
				var others []*wshubtest.Client
				for range 8 {
					c := wshubtest.Dial(t, handler)
					c.SendText("join")
					others = append(others, c)
				}
				synctest.Wait()
				publish(t, topic, "first")
				if err := h.Everyone().Send(t.Context(), wshub.Text("all")); err != nil {
					t.Error(err)
				}
				for _, c := range others {
					c.ExpectText("first")
					c.ExpectText("all")
					c.Close(1000, "")
				}
				synctest.Wait()
				if d := time.Since(start); d != 0 {
					t.Errorf("others had to wait for %v", d)
				}
				if n := h.Len() - len(dialled); name != "observer" && (n != 0 || topic.Len() != 0) {
					t.Errorf("%d others and %d members are left", n, topic.Len())
				}
				c, ok := <-dialled
				if !ok {
					return
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				publish(t, topic, "second")
				synctest.Wait()
				if got := c.Take(); len(got) == 0 || string(got[len(got)-1].Data) != "second" {
					t.Errorf("the slow one got %v", got)
				}
			})
		})
	}
}
