package wshub_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

func TestTopicFansOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[price](t, h, "prices", wshub.Policy{})
		ss, cc := sessions(t, h, 3)
		join(t, topic, ss...)
		publish(t, topic, price{"A", 1})
		publish(t, topic.Except(ss[1], nil), price{"A", 2})
		publish(t, topic.Only(ss[1], nil), price{"A", 3})
		publish(t, topic.Only(), price{"A", 4})
		if err := topic.Leave(ss[0]); err != nil {
			t.Fatal(err)
		}
		publish(t, topic, price{"A", 5})
		synctest.Wait()
		for i, want := range [][]int{{1, 2}, {1, 3, 5}, {1, 2, 5}} {
			for _, v := range want {
				cc[i].ExpectJSON(price{"A", v})
			}
			cc[i].ExpectNothing()
		}
		if got := slices.Collect(topic.Members()); len(got) != 2 || topic.Len() != 2 || topic.Has(ss[0]) || !topic.Has(ss[1]) {
			t.Errorf("members %v, len %d", got, topic.Len())
		}
		want := wshub.Tally{Offered: 14, Sent: 8, Filtered: 6}
		if got := topic.Stats(); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
	})
}

func TestTopicKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		ss, cc := sessions(t, h, 1)
		texts := newTopic[string](t, h, "text", wshub.Policy{})
		bytes := newTopic[[]byte](t, h, "bytes", wshub.Policy{})
		messages := newTopic[wshub.Message](t, h, "messages", wshub.Policy{})
		upper := newTopic(t, h, "upper", wshub.Policy{}, wshub.WithCodec[string](upperCodec{}))
		join(t, texts, ss...)
		join(t, bytes, ss...)
		join(t, messages, ss...)
		join(t, upper, ss...)
		publish(t, texts, "héllo")
		b := []byte{0, 1, 2}
		publish(t, bytes, b)
		b[0] = 9 // the caller's again
		publish(t, messages, wshub.Text("a"), wshub.Binary([]byte{3}))
		publish(t, upper, "loud")
		cc[0].ExpectText("héllo")
		cc[0].ExpectBinary([]byte{0, 1, 2})
		cc[0].ExpectText("a")
		cc[0].ExpectBinary([]byte{3})
		cc[0].ExpectText("LOUD")

		for _, bad := range []struct {
			name string
			err  error
			want error
		}{
			{"text that is not UTF-8", texts.Publish(t.Context(), "\xff"), wshub.ErrUTF8},
			{"message without kind", messages.Publish(t.Context(), wshub.Message{}), wshub.ErrKind},
			{"codec", upper.Publish(t.Context(), ""), errEmpty},
		} {
			if !errors.Is(bad.err, bad.want) {
				t.Errorf("%s: %v, want %v", bad.name, bad.err, bad.want)
			}
		}
		cc[0].ExpectNothing()
	})
}

var errEmpty = errors.New("empty")

type upperCodec struct{}

func (upperCodec) Append(dst []byte, v string) ([]byte, wshub.Kind, error) {
	if v == "" {
		return nil, 0, errEmpty
	}
	return append(dst, strings.ToUpper(v)...), wshub.KindText, nil
}

func TestTopicDefinition(t *testing.T) {
	h := newHub(t)
	first := newTopic[price](t, h, "prices", wshub.DropOldest(3))
	if again := newTopic[price](t, h, "prices", wshub.DropOldest(3)); again != first {
		t.Error("the same definition is another topic")
	}
	for name, want := range map[string]struct {
		err   error
		parts []string
	}{
		"type":   {newErr[string](h, "prices", wshub.DropOldest(3)), []string{"wshub_test.price", "string"}},
		"policy": {newErr[price](h, "prices", wshub.DropOldest(4)), []string{"dropoldest(3)", "dropoldest(4)"}},
	} {
		if !errors.Is(want.err, wshub.ErrTopicConflict) {
			t.Errorf("%s: %v", name, want.err)
			continue
		}
		for _, part := range want.parts {
			if !strings.Contains(want.err.Error(), part) {
				t.Errorf("%s: %q does not name %q", name, want.err, part)
			}
		}
	}
	if _, err := wshub.NewFamily[price](h, "room", wshub.Policy{}); err != nil {
		t.Fatal(err)
	}
	if _, err := wshub.NewFamily[string](h, "room", wshub.Policy{}); !errors.Is(err, wshub.ErrTopicConflict) {
		t.Errorf("family of another type: %v", err)
	}
	for _, bad := range []struct {
		name string
		err  error
		want error
	}{
		{"no name", newErr[price](h, "", wshub.Policy{}), wshub.ErrName},
		{"long name", newErr[price](h, strings.Repeat("x", 256), wshub.Policy{}), wshub.ErrName},
		{"policy at the wrong place", newErr[price](h, "x", wshub.Replay(3)), wshub.ErrPolicy},
		{"binary that packs", newErr[[]byte](h, "x", wshub.PackText("\n")), wshub.ErrPolicy},
		{"more than may be pending", newErr[price](h, "x", wshub.DropOldest(1<<20)), wshub.ErrPolicy},
		{"no hub", newErr[price](nil, "x", wshub.Policy{}), wshub.ErrClosed},
	} {
		if !errors.Is(bad.err, bad.want) {
			t.Errorf("%s: %v, want %v", bad.name, bad.err, bad.want)
		}
	}
	runtime.KeepAlive(first)
}

func newErr[T any](h *wshub.Hub, name string, p wshub.Policy) error {
	_, err := wshub.NewTopic[T](h, name, p)
	return err
}

func TestZeroTopic(t *testing.T) {
	var topic wshub.Topic[int]
	var family wshub.Family[int]
	_, familyErr := family.Topic("x")
	_, countErr := topic.Count(t.Context())
	for name, err := range map[string]error{
		"Publish":        topic.Publish(t.Context(), 1),
		"Except.Publish": topic.Except(nil).Publish(t.Context(), 1),
		"Only.Publish":   topic.Only(nil).Publish(t.Context(), 1),
		"Join":           topic.Join(t.Context(), nil),
		"Leave":          topic.Leave(nil),
		"With.Join":      topic.With(wshub.Coalesce()).Join(t.Context(), nil),
		"Update":         topic.With(wshub.Coalesce()).Update(t.Context(), nil),
		"Count":          countErr,
		"Subscribe.Err":  topic.Subscribe(t.Context()).Err(),
		"Family.Topic":   familyErr,
	} {
		if !errors.Is(err, wshub.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok := <-topic.Stream(t.Context()); ok {
		t.Error("a value")
	}
	for range topic.Members() {
		t.Error("a member")
	}
	for range family.All() {
		t.Error("a topic")
	}
	if topic.Name() != "" || topic.Len() != 0 || topic.Has(nil) || topic.Stats() != (wshub.Tally{}) || family.Stats() != (wshub.Tally{}) {
		t.Error("not empty")
	}
}

func TestMembershipErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithLimits(wshub.Limits{TopicsPerSession: 2, SessionsPerTopic: 1}),
			wshub.Authorize(func(_ context.Context, _ *wshub.Session, topic string) error {
				if topic == "secret" {
					return wshub.ErrUnauthorized
				}
				return nil
			}))
		ss, cc := sessions(t, h, 2)
		a, b := newTopic[int](t, h, "a", wshub.Policy{}), newTopic[int](t, h, "b", wshub.Policy{})
		c, secret := newTopic[int](t, h, "c", wshub.Policy{}), newTopic[int](t, h, "secret", wshub.Policy{})
		join(t, a, ss[0])
		join(t, b, ss[0])
		ctx := t.Context()
		for _, x := range []struct {
			name string
			err  error
			want error
		}{
			{"again", a.Join(ctx, ss[0]), wshub.ErrAlreadyMember},
			{"full topic", a.Join(ctx, ss[1]), wshub.ErrTopicFull},
			{"full topic one is in", a.Join(ctx, ss[0]), wshub.ErrAlreadyMember},
			{"too many topics", c.Join(ctx, ss[0]), wshub.ErrTooManyTopics},
			{"not allowed", secret.Join(ctx, ss[1]), wshub.ErrUnauthorized},
			{"nil session", c.Join(ctx, nil), wshub.ErrNoSession},
			{"leave as a stranger", c.Leave(ss[0]), wshub.ErrNotMember},
			{"update as a stranger", c.With(wshub.Coalesce()).Update(ctx, ss[0]), wshub.ErrNotMember},
			{"bad view", c.With(wshub.Rate(1, 1)).Join(ctx, ss[1]), wshub.ErrPolicy},
		} {
			if !errors.Is(x.err, x.want) {
				t.Errorf("%s: %v, want %v", x.name, x.err, x.want)
			}
		}
		if !errors.Is(a.Join(ctx, ss[1]), wshub.ErrLimit) {
			t.Error("a limit's error does not match ErrLimit")
		}
		cc[0].Close(1000, "")
		<-ss[0].Done()
		if err := c.Join(ctx, ss[0]); !errors.Is(err, wshub.ErrSessionClosed) {
			t.Errorf("join after the end: %v", err)
		}
		join(t, a, ss[1]) // the place is free again
	})
}

// A panic in user code hurts the call or the session it was for, and nobody else.
func TestCallbackPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic(t, h, "prices", wshub.Coalesce(), wshub.KeyBy(func(p price) string {
			if p.Value < 0 {
				panic("negative")
			}
			return p.Symbol
		}))
		ss, cc := sessions(t, h, 2)
		join(t, topic.Where(func(p price) bool { return 6/(p.Value-6) > 0 }), ss[0])
		join(t, topic, ss[1])
		if err := topic.Publish(t.Context(), price{"A", -1}); !errors.Is(err, wshub.ErrPanic) {
			t.Errorf("publish: %v", err)
		}
		publish(t, topic, price{"A", 7})
		synctest.Wait()
		publish(t, topic, price{"A", 6}, price{"A", 8})
		for _, v := range []int{7, 6, 8} {
			cc[1].ExpectJSON(price{"A", v})
		}
		cc[0].ExpectJSON(price{"A", 7})
		cc[0].ExpectClose(1011)
		<-ss[0].Done()
		if !errors.Is(ss[0].Err(), wshub.ErrPanic) {
			t.Errorf("session: %v", ss[0].Err())
		}
	})
}

// What Authorize says is a refusal: ErrUnauthorized to the caller, 1008 to the client. A panic in it is 1011, and not
// the end of the goroutine that joins.
func TestAuthorize(t *testing.T) {
	wait := errors.New("no seat")
	for _, x := range []struct {
		name      string
		authorize func() error
		code      int
		want      []error
	}{
		{"any error", func() error { return wait }, 1008, []error{wait, wshub.ErrUnauthorized}},
		{"close error", func() error { return &wshub.CloseError{Code: 4003} }, 4003, []error{wshub.ErrUnauthorized}},
		{"reject error", func() error { return &wshub.RejectError{Reason: "members only"} }, 1008, []error{wshub.ErrUnauthorized}},
		{"panic", func() error { panic(wait) }, 1011, []error{wait, wshub.ErrPanic}},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, wshub.WithLogger(nil), wshub.Authorize(func(context.Context, *wshub.Session, string) error { return x.authorize() }))
				topic := newTopic[int](t, h, "club", wshub.Policy{})
				var err error
				c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
					done := make(chan struct{})
					go func() { // any goroutine may join
						defer close(done)
						err = topic.Join(ctx, s)
					}()
					<-done
					return err
				}))
				c.ExpectClose(x.code)
				synctest.Wait() // the close may come before Join returns
				for _, want := range x.want {
					if !errors.Is(err, want) {
						t.Errorf("Join: %v, want %v", err, want)
					}
				}
			})
		})
	}
}

// An error that is not about room says so, whatever has become of the context.
func TestPublishErrorIsItsOwn(t *testing.T) {
	h := newHub(t)
	topic := newTopic(t, h, "keys", wshub.Coalesce(), wshub.KeyBy(func(f float64) float64 { return f }))
	defer topic.Subscribe(t.Context()).Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := topic.Publish(ctx, math.NaN()); !errors.Is(err, wshub.ErrKey) || errors.Is(err, wshub.ErrPendingFull) {
		t.Errorf("Publish: %v", err)
	}
}
