package wshub_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// All of a large topic lose their connections at once. While half of them have gone and half have SessionFuncs that do not
// return yet, and while those leave all together, new sessions are accepted, join and get what is published, at once.
func TestPitfall16MassDisconnectLetsOthersIn(t *testing.T) {
	const n, late = 500, 50
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[string](t, h, "crowd", wshub.Policy{})
		release := make(chan struct{})
		var arrived int
		arrival := make(chan struct{}, n)
		clients := make([]*wshubtest.Client, n)
		for i := range clients {
			clients[i] = wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
				join(t, topic, s)
				arrival <- struct{}{}
				for range s.Messages() {
				}
				if i%2 == 0 {
					<-release
				}
				return nil
			}))
		}
		for range clients {
			<-arrival
		}
		newcomers := func() {
			t.Helper()
			start := time.Now()
			ss, cc := sessions(t, h, late)
			join(t, topic, ss...)
			publish(t, topic, "welcome")
			for _, c := range cc {
				c.ExpectText("welcome")
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("new sessions were accepted after %v", d)
			}
			arrived += late
		}
		for _, c := range clients {
			c.Abort()
		}
		newcomers()
		synctest.Wait()
		if got := topic.Len(); got != n/2+arrived {
			t.Errorf("%d members, want %d that do not return yet and %d new ones", got, n/2, arrived)
		}
		newcomers()
		close(release)
		newcomers()
		synctest.Wait()
		if got := topic.Len(); got != arrived || h.Len() != arrived {
			t.Errorf("%d members, %d sessions at last, want %d", got, h.Len(), arrived)
		}
	})
}
