package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// A Send that waits for room wakes at once when the session closes, however slow its client.
func TestPitfall05BlockedSendWakesOnClose(t *testing.T) {
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

// Without an end of its own a Send or Publish still comes back, however long a client takes nothing: the client is given up.
func TestPitfall05NoSendBlocksForEver(t *testing.T) {
	const writeTimeout, blocked = 7 * time.Second, 3 * time.Second
	for name, to := range map[string]func(*wshub.Hub, *wshub.Session, wshub.Topic[wshub.Message]) wshub.Sender{
		"Session":  func(_ *wshub.Hub, s *wshub.Session, _ wshub.Topic[wshub.Message]) wshub.Sender { return s },
		"To":       func(h *wshub.Hub, s *wshub.Session, _ wshub.Topic[wshub.Message]) wshub.Sender { return h.To(s.ID()) },
		"User":     func(h *wshub.Hub, _ *wshub.Session, _ wshub.Topic[wshub.Message]) wshub.Sender { return h.User("ann") },
		"Everyone": func(h *wshub.Hub, _ *wshub.Session, _ wshub.Topic[wshub.Message]) wshub.Sender { return h.Everyone() },
		"Topic": func(_ *wshub.Hub, _ *wshub.Session, topic wshub.Topic[wshub.Message]) wshub.Sender {
			return publisher(topic.Publish)
		},
	} {
		for _, p := range []wshub.Policy{{}, wshub.Block(4, blocked), wshub.Evict(1024, blocked)} {
			t.Run(fmt.Sprint(name, "/", p), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHub(t, wshub.WithPolicy(p), wshub.WithWriteTimeout(writeTimeout), wshub.Authenticate(asQuery),
						wshub.WithLimits(wshub.Limits{Pending: 1024, PendingBytes: 2 << 20}))
					topic := newTopic[wshub.Message](t, h, "room", wshub.Policy{})
					ss, cc := sessions(t, h, 1, wshubtest.WithBuffer(1000), wshubtest.WithPath("/?as=ann"))
					join(t, topic, ss[0])
					cc[0].Stall()
					m := wshub.Binary(make([]byte, 100_000))
					waited := time.Duration(0)
					for ss[0].Context().Err() == nil {
						start := time.Now()
						err := to(h, ss[0], topic).Send(context.Background(), m)
						waited = max(waited, time.Since(start))
						if err != nil && !errors.Is(err, wshub.ErrSessionClosed) && !errors.Is(err, wshub.ErrNoSession) {
							t.Error(err)
						}
						time.Sleep(time.Millisecond)
					}
					if waited == 0 && p == wshub.Block(4, blocked) {
						t.Error("nothing was blocked")
					}
					if waited > writeTimeout+time.Second {
						t.Errorf("it took %v", waited)
					}
					cc[0].Abort()
				})
			})
		}
	}
}

// publisher is a topic's Publish as a Sender.
type publisher func(context.Context, wshub.Message) error

func (p publisher) Send(ctx context.Context, m wshub.Message) error { return p(ctx, m) }
