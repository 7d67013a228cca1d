package wshubtest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// newHub makes a hub that closes with the test, after its clients.
func newHub(t *testing.T, opts ...wshub.Option) *wshub.Hub {
	t.Helper()
	hub, err := wshub.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hub.Close() })
	return hub
}

// TestHub drives the package that the client is for, as its users will.
func TestHub(t *testing.T) {
	both(t, func(t *testing.T, dial func(http.Handler, ...wshubtest.DialOption) *wshubtest.Client) {
		hub := newHub(t, wshub.WithCompression(64), wshub.WithSubprotocols("v2"))
		h := hub.Handler(func(ctx context.Context, s *wshub.Session) error {
			for m := range s.Messages() {
				if m.Text() == "enough" {
					return &wshub.CloseError{Code: 4001, Reason: "as asked"}
				}
				if err := s.Send(ctx, m); err != nil {
					return err
				}
			}
			return nil
		})
		long := strings.Repeat("again ", 1000)
		c := dial(h,
			wshubtest.WithCompression(),
			wshubtest.WithSubprotocols("v1", "v2"),
			wshubtest.WithEarly(wshubtest.Frame(true, wshubtest.OpText, []byte("early"))))
		if c.Subprotocol() != "v2" || !c.Compressed() {
			t.Errorf("subprotocol %q, compressed %t", c.Subprotocol(), c.Compressed())
		}
		c.ExpectText("early")
		c.SendCompressed(long)
		c.ExpectText(long)
		if got := c.Received(); got.Wire >= got.Bytes/2 {
			t.Errorf("received %+v", got)
		}
		c.Ping("p")
		c.ExpectPong("p")
		c.SendText("enough")
		if reason := c.ExpectClose(4001); reason != "as asked" {
			t.Errorf("reason %q", reason)
		}

		other := dial(h)
		if got := other.Close(1000, "bye"); got != 1000 {
			t.Errorf("the echo's code is %d", got)
		}
		_, _, err := wshubtest.TryDial(t, h, wshubtest.WithOrigin("https://evil.example"))
		var refused *wshubtest.DialError
		if !errors.As(err, &refused) || refused.Response.StatusCode != http.StatusForbidden {
			t.Errorf("another origin: %v", err)
		}
	})
}

// TestHubSlowClient stalls a client until the default policy evicts it.
func TestHubSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t)
		topic, err := wshub.NewTopic[string](hub, "news", wshub.Evict(10, time.Second))
		if err != nil {
			t.Fatal(err)
		}
		h := hub.Handler(func(ctx context.Context, s *wshub.Session) error {
			if err := topic.Join(ctx, s); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		})
		slow, quick := wshubtest.Dial(t, h, wshubtest.WithBuffer(64)), wshubtest.Dial(t, h)
		synctest.Wait()
		slow.Stall()
		const n = 40
		for range n {
			if err := topic.Publish(t.Context(), "something that fills a buffer"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if got := len(quick.Take()); got != n {
			t.Errorf("the quick client got %d of %d", got, n)
		}
		slow.Resume()
		slow.ExpectClose(1013)
		if got := len(slow.Take()); got >= n {
			t.Errorf("the slow client got all %d", got)
		}
		quick.ExpectNothing()
		quick.Close(1000, "")
	})
}
