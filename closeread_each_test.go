package wshub_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Each reads itself, so a message that it delays for the rate is one that nobody has taken yet.
func TestCloseReadRefusesWhatEachDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithInbound(wshub.Rate(rate.Every(time.Hour), 1)))
		arrived := make(chan *wshub.Session, 1)
		handled := 0
		c := wshubtest.Dial(t, h.Handler(wshub.Each(func(_ context.Context, s *wshub.Session, _ wshub.Message) error {
			if handled++; handled == 1 {
				arrived <- s
			}
			return nil
		})))
		c.SendText("at once")
		s := <-arrived
		c.SendText("delayed")
		synctest.Wait()
		start := time.Now()
		s.CloseRead()
		if got := c.ExpectClose(1008); got != "unexpected message" {
			t.Errorf("reason %q", got)
		}
		<-s.Done()
		if !errors.Is(s.Err(), wshub.ErrUnexpectedMessage) {
			t.Errorf("Err is %v", s.Err())
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %v", d)
		}
		if handled != 1 {
			t.Errorf("%d messages were handled", handled)
		}
		if st := h.Stats(); st.Received != 2 || st.Unread != 1 {
			t.Errorf("%d received, %d unread", st.Received, st.Unread)
		}
	})
}
