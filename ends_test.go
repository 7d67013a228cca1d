package wshub_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// What is a client's everyday goodbye is no error anywhere; what the client has done, or was closed for, is the cause that
// the session and its last event tell. None of it is the program's fault, so nothing is logged.
func TestPitfall08CauseOfTheEnd(t *testing.T) {
	closeFrame := func(code int) []byte {
		if code == 0 {
			return wshubtest.Frame(true, wshubtest.OpClose, nil)
		}
		return wshubtest.Frame(true, wshubtest.OpClose, []byte{byte(code >> 8), byte(code)})
	}
	flood := func(h *wshub.Hub) { // more than the client takes
		for range 40 {
			h.Everyone().Send(context.Background(), wshub.Binary(make([]byte, 50_000)))
			time.Sleep(10 * time.Millisecond)
		}
	}
	for _, test := range []struct {
		name  string
		opts  []wshub.Option
		do    func(h *wshub.Hub, s *wshub.Session, c *wshubtest.Client)
		code  wshub.StatusCode
		cause error // nil: none
	}{
		{name: "a browser's close", code: 1005,
			do: func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) { c.SendRaw(closeFrame(0)) }},
		{name: "normal", code: 1000,
			do: func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) { c.SendRaw(closeFrame(1000)) }},
		{name: "a tab's close", code: 1001,
			do: func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) { c.SendRaw(closeFrame(1001)) }},
		{name: "our normal close", code: 1000,
			do: func(_ *wshub.Hub, s *wshub.Session, _ *wshubtest.Client) { s.Close(1000, "") }},
		{name: "a client's own code", code: 4000, cause: &wshub.CloseError{Code: 4000},
			do: func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) { c.SendRaw(closeFrame(4000)) }},
		{name: "oversize message", code: 1009, cause: wshub.ErrTooBig, opts: []wshub.Option{wshub.WithReadLimit(100)},
			do: func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) { c.SendText(strings.Repeat("x", 101)) }},
		{name: "write timeout", code: 1006, cause: wshub.ErrWriteTimeout, opts: []wshub.Option{wshub.WithPolicy(wshub.DropOldest(1))},
			do: func(h *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) { c.Stall(); flood(h) }},
		{name: "policy violation", code: 1008, cause: &wshub.CloseError{Code: wshub.StatusPolicyViolation, Reason: "spam"},
			do: func(h *wshub.Hub, s *wshub.Session, _ *wshubtest.Client) {
				h.To(s.ID()).Close(context.Background(), wshub.StatusPolicyViolation, "spam")
			}},
		{name: "evicted by policy", code: 1013, cause: wshub.ErrSlow, opts: []wshub.Option{wshub.WithPolicy(wshub.Evict(2, 100*time.Millisecond))},
			do: func(h *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) { c.Stall(); flood(h); c.Resume() }},
		{name: "more than the policy takes", code: 1008, cause: wshub.ErrTooManyMessages, opts: []wshub.Option{wshub.WithInbound(wshub.Rate(1, 1).With(wshub.Evict(1, 0)))},
			do: func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) {
				c.SendText("1")
				c.SendText("2")
				c.SendText("3")
			}},
		{name: "no sign of life", code: 1008, cause: wshub.ErrKeepAlive, opts: []wshub.Option{wshub.WithKeepAlive(time.Second, time.Second)},
			do: func(_ *wshub.Hub, _ *wshub.Session, c *wshubtest.Client) {
				c.Stall()
				time.Sleep(time.Minute)
				c.Resume()
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				h := newHub(t, append(test.opts, wshub.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))...)
				events := h.Events(t.Context(), wshub.Policy{}.With(wshub.DropOldest(1000)))
				ss, cc := sessions(t, h, 1, wshubtest.WithBuffer(1000))
				test.do(h, ss[0], cc[0])
				<-ss[0].Done()
				if err := ss[0].Err(); !errors.Is(err, test.cause) || (err == nil) != (test.cause == nil) {
					t.Errorf("Err is %v, want %v", err, test.cause)
				}
				for e := range events.C() {
					if e.Kind == wshub.EventError {
						t.Errorf("event %v", e)
					}
					if e.Kind == wshub.EventDisconnected {
						if e.Code != test.code || !errors.Is(e.Cause, test.cause) || (e.Cause == nil) != (test.cause == nil) {
							t.Errorf("told %d %v, want %d %v", e.Code, e.Cause, test.code, test.cause)
						}
						break
					}
				}
				if log.Len() > 0 {
					t.Errorf("logged %s", &log)
				}
				cc[0].Abort()
			})
		})
	}
}

// A message of no kind fails the call that sends it, all calls alike, and the connection lives.
func TestPitfall09KindIsTheSendersError(t *testing.T) {
	for _, kind := range []wshub.Kind{0, 3, 8, 9, 255} { // 8 and 9 are the opcodes of close and ping
		wantSendError(t, wshub.Message{Kind: kind, Data: []byte("?")}, wshub.ErrKind)
	}
}

// wantSendError wants every way to send m to fail with want, and to change nothing for the client.
func wantSendError(t *testing.T, m wshub.Message, want error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.Authenticate(asQuery))
		ss, cc := sessions(t, h, 1, wshubtest.WithPath("/?as=ann"))
		topic := newTopic[wshub.Message](t, h, "room", wshub.Policy{})
		event := newTopic(t, h, "event", wshub.Policy{}, wshub.AsEvent[wshub.Message]("news"))
		coded := newTopic(t, h, "coded", wshub.Policy{}, wshub.WithCodec[wshub.Message](asIs{}))
		placed := newTopic(t, h, "placed", wshub.Policy{}, wshub.WithCodec[wshub.Message](placedAsIs{}))
		for _, x := range []wshub.Topic[wshub.Message]{topic, event, coded, placed} {
			join(t, x, ss[0])
		}
		for name, to := range map[string]wshub.Sender{
			"Session": ss[0], "To": h.To(ss[0].ID()), "User": h.User("ann"), "Everyone": h.Everyone(), "Topic": publisher(topic.Publish),
			"Only": publisher(topic.Only(ss[0]).Publish), "AsEvent": publisher(event.Publish), "Codec": publisher(coded.Publish), "DeliveryCodec": publisher(placed.Publish),
			"SendEvent": publisher(func(ctx context.Context, m wshub.Message) error { return wshub.SendEvent(ctx, ss[0], "news", m) }),
		} {
			if err := to.Send(t.Context(), m); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			if err := to.Send(t.Context(), wshub.Text(`"next"`)); err != nil { // it has taken no place, no turn
				t.Errorf("%s, then: %v", name, err)
			}
			if got, ok := cc[0].Next(); !ok || !strings.Contains(string(got.Data), `"next"`) {
				t.Errorf("%s, then: the client got %v", name, got)
			}
		}
		cc[0].ExpectNothing()
	})
}

// asIs is a codec that says of a message what it is, true or not.
type asIs struct{}

func (asIs) Append(dst []byte, m wshub.Message) ([]byte, wshub.Kind, error) {
	return append(dst, m.Data...), m.Kind, nil
}

type placedAsIs struct{ asIs }

func (c placedAsIs) AppendDelivery(dst []byte, _ wshub.Delivery, m wshub.Message) ([]byte, wshub.Kind, error) {
	return c.Append(dst, m)
}

// A close reason that does not fit into a close frame is cut, between two runes, whoever gives it, and the close frame is
// sent with it.
func TestPitfall09LongReasonIsCut(t *testing.T) {
	for name, end := range map[string]func(h *wshub.Hub, s *wshub.Session, reason string) error{
		"Session.Close": func(_ *wshub.Hub, s *wshub.Session, reason string) error { s.Close(4000, reason); return nil },
		"Audience.Close": func(h *wshub.Hub, _ *wshub.Session, reason string) error {
			return h.Everyone().Close(context.Background(), 4000, reason)
		},
		"CloseError": func(_ *wshub.Hub, _ *wshub.Session, reason string) error {
			return &wshub.CloseError{Code: 4000, Reason: reason}
		},
		"RejectError": func(_ *wshub.Hub, _ *wshub.Session, reason string) error { return &wshub.RejectError{Reason: reason} },
	} {
		t.Run(name, func(t *testing.T) {
			for reason, want := range map[string]string{
				strings.Repeat("x", 123):                strings.Repeat("x", 123),
				strings.Repeat("x", 124):                strings.Repeat("x", 123),
				strings.Repeat("x", 122) + "é":          strings.Repeat("x", 122),
				strings.Repeat("x", 121) + "é":          strings.Repeat("x", 121) + "é",
				strings.Repeat("x", 120) + "\U0001f600": strings.Repeat("x", 120),
				strings.Repeat("é", 1<<16):              strings.Repeat("é", 61),
				"a\xffb":                                "a\ufffdb",
			} {
				synctest.Test(t, func(t *testing.T) {
					h := newHub(t)
					events := h.Events(t.Context(), wshub.Policy{})
					c := wshubtest.Dial(t, h.Handler(func(_ context.Context, s *wshub.Session) error { return end(h, s, reason) }))
					code := 4000
					if name == "RejectError" {
						code = 1008
					}
					if got := c.ExpectClose(code); got != want {
						t.Errorf("%.20q… of %d bytes came as %q", reason, len(reason), got)
					}
					<-events.C() // connected
					if e := <-events.C(); e.Reason != want || !utf8.ValidString(e.Reason) {
						t.Errorf("%v of %q", e.Kind, e.Reason)
					}
				})
			}
		})
	}
}
