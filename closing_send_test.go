package wshub_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// A Send that waits for room wakes at once when the session closes, however slow its client. Pitfall 5.
func TestBlockedSendWakesOnClose(t *testing.T) {
	for name, end := range map[string]func(*wshub.Hub, *wshub.Session, *wshubtest.Client){
		"Close": func(_ *wshub.Hub, s *wshub.Session, _ *wshubtest.Client) { s.Close(1000, "") },
		"kick": func(h *wshub.Hub, s *wshub.Session, _ *wshubtest.Client) {
			h.To(s.ID()).Close(context.Background(), 4000, "")
		},
		"the client": func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) { c.SendFrame(true, wshubtest.OpClose, nil) },
		"Shutdown":   func(h *wshub.Hub, _ *wshub.Session, _ *wshubtest.Client) { go h.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				ss, cc := sessions(t, h, 1, wshubtest.WithBuffer(1000))
				cc[0].Stall()
				blocked := make(chan error)
				go func() {
					for {
						if err := ss[0].Send(context.Background(), wshub.Text(strings.Repeat("x", 100_000))); err != nil {
							blocked <- err
							return
						}
					}
				}()
				synctest.Wait()
				start := time.Now()
				end(h, ss[0], cc[0])
				if err := <-blocked; !errors.Is(err, wshub.ErrSessionClosed) {
					t.Errorf("Send: %v", err)
				}
				if d := time.Since(start); d != 0 {
					t.Errorf("it took %v", d)
				}
				cc[0].Resume()
			})
		})
	}
}
