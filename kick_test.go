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

// A session that closes gently, and whose SessionFunc takes its time over it, is cut off by what closes at once: it is sent
// nothing more, and its connection does not wait for the SessionFunc. What it closes for stands.
func TestAtOnceCutsAGentleCloseShort(t *testing.T) {
	gentle := map[string]struct {
		begin func(*wshub.Hub, *wshub.Session, *wshubtest.Client)
		code  int
	}{
		"the client's close": {func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) {
			c.SendFrame(true, wshubtest.OpClose, []byte("\x10\xe1"))
		}, 4321},
		"the client's close, a message unread": {func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) {
			c.SendText("m")
			c.SendFrame(true, wshubtest.OpClose, []byte("\x10\xe1"))
		}, 4321},
		"drain": {func(h *wshub.Hub, _ *wshub.Session, _ *wshubtest.Client) { go h.Drain(context.Background()) }, 1001},
	}
	for begun, g := range gentle {
		for name, cut := range map[string]func(*wshub.Hub){
			"kick":   func(h *wshub.Hub) { h.User("ann").Close(context.Background(), 4001, "out") },
			"expiry": func(*wshub.Hub) {}, // comes a second later
		} {
			t.Run(begun+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHub(t, wshub.WithDrain(0, 0), wshub.Authenticate(func(*http.Request) (wshub.Identity, error) {
						return wshub.Identity{User: "ann", Expires: time.Now().Add(2 * time.Second)}, nil
					}))
					topic := newTopic[string](t, h, "secrets", wshub.Policy{})
					arrived := make(chan *wshub.Session)
					c := wshubtest.Dial(t, h.Handler(func(_ context.Context, s *wshub.Session) error {
						arrived <- s
						time.Sleep(4 * time.Second)
						return nil
					}))
					s := <-arrived
					join(t, topic, s)
					time.Sleep(time.Second)
					g.begin(h, s, c)
					synctest.Wait()
					publish(t, topic, "before")
					c.ExpectText("before")
					cut(h)
					time.Sleep(time.Second) // until the identity has expired
					synctest.Wait()
					publish(t, topic, "after")
					start := time.Now()
					if reason := c.ExpectClose(g.code); reason == "out" {
						t.Error("the kick has changed what it closes for")
					}
					<-c.Done()
					if d := time.Since(start); d != 0 {
						t.Errorf("the connection is held for %v", d)
					}
					if late := c.Take(); len(late) != 0 {
						t.Errorf("it was sent %v", late)
					}
					<-s.Done()
				})
			})
		}
	}
}
