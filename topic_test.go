package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

type price struct {
	Symbol string `json:"symbol"`
	Value  int    `json:"value"`
}

func (p price) key() string { return p.Symbol }

// newHub returns a hub that is shut down with the test, which has to go through.
func newHub(t *testing.T, opts ...wshub.Option) *wshub.Hub {
	t.Helper()
	h, err := wshub.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return h
}

func newTopic[T any](t *testing.T, h *wshub.Hub, name string, p wshub.Policy, opts ...wshub.TopicOption[T]) wshub.Topic[T] {
	t.Helper()
	topic, err := wshub.NewTopic(h, name, p, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// sessions returns n sessions and their clients. Their handlers return when the sessions end.
func sessions(t *testing.T, h *wshub.Hub, n int, opts ...wshubtest.DialOption) ([]*wshub.Session, []*wshubtest.Client) {
	t.Helper()
	arrived := make(chan *wshub.Session)
	handler := h.Handler(func(ctx context.Context, s *wshub.Session) error {
		arrived <- s
		for range s.Messages() {
		}
		return nil
	})
	ss := make([]*wshub.Session, n)
	cc := make([]*wshubtest.Client, n)
	for i := range n {
		cc[i] = wshubtest.Dial(t, handler, opts...)
		ss[i] = <-arrived
	}
	return ss, cc
}

func publish[T any](t *testing.T, topic interface {
	Publish(context.Context, T) error
}, values ...T) {
	t.Helper()
	for _, v := range values {
		if err := topic.Publish(context.Background(), v); err != nil {
			t.Fatal(err)
		}
	}
}

func join(t *testing.T, topic interface {
	Join(context.Context, *wshub.Session) error
}, ss ...*wshub.Session) {
	t.Helper()
	for _, s := range ss {
		if err := topic.Join(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
}

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

// A name nobody holds is free for another definition: what was used once costs nothing.
func TestTopicNameIsForgotten(t *testing.T) {
	h := newHub(t)
	newTopic[price](t, h, "once", wshub.Policy{})
	for range 100 {
		runtime.GC()
		if newErr[string](h, "once", wshub.Policy{}) == nil {
			return
		}
		runtime.Gosched()
	}
	t.Error("the name is still bound")
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

func TestFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		rooms, err := wshub.NewFamily[string](h, "room", wshub.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		ss, cc := sessions(t, h, 2)
		for i, name := range []string{"go", "a/b.*>\x00 \U0001f389"} {
			room, err := rooms.Topic(name)
			if err != nil {
				t.Fatal(err)
			}
			join(t, room, ss[i])
			publish(t, room, name)
			cc[i].ExpectText(name)
		}
		var names []string
		for room := range rooms.All() {
			names = append(names, room.Name())
		}
		slices.Sort(names)
		if want := []string{"room/a/b.*>\x00 \U0001f389", "room/go"}; !slices.Equal(names, want) {
			t.Errorf("rooms %q", names)
		}
		for _, bad := range []string{"", "\xff", strings.Repeat("x", 300)} {
			if _, err := rooms.Topic(bad); !errors.Is(err, wshub.ErrName) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		if _, err := wshub.NewFamily[string](h, "a/b", wshub.Policy{}); !errors.Is(err, wshub.ErrName) {
			t.Errorf("prefix with a slash: %v", err)
		}
		if err := newErr[string](h, "room/go", wshub.Policy{}); !errors.Is(err, wshub.ErrTopicConflict) {
			t.Errorf("a topic with the name of a room: %v", err)
		}
		// Everybody leaves: the rooms vanish, what they counted does not.
		for i, s := range ss {
			cc[i].Close(1000, "")
			<-s.Done()
		}
		for i := range h.Topics() {
			t.Errorf("topic %q lives", i.Name)
		}
		if got, want := rooms.Stats(), (wshub.Tally{Offered: 2, Sent: 2}); got != want {
			t.Errorf("family %+v", got)
		}
		if got, want := h.Stats().Topics, (wshub.Tally{Offered: 2, Sent: 2}); got != want {
			t.Errorf("hub %+v", got)
		}
		room, _ := rooms.Topic("go")
		s, c := sessions(t, h, 1)
		join(t, room, s...)
		publish(t, room, "again")
		c[0].ExpectText("again")
	})
}

func TestTopicInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[price](t, h, "prices", wshub.Coalesce(), wshub.KeyBy(price.key))
		if _, ok := h.Topic("prices"); ok {
			t.Error("a topic nobody is in is listed")
		}
		ss, _ := sessions(t, h, 1)
		join(t, topic, ss...)
		stream := topic.Subscribe(t.Context())
		defer stream.Close()
		publish(t, topic, price{"A", 1})
		synctest.Wait()
		got, ok := h.Topic("prices")
		if !ok || got.Members != 1 || got.Streams != 1 || got.Type != "wshub_test.price" || got.Tally.Offered != 2 {
			t.Errorf("info %+v", got)
		}
		if names := slices.Collect(ss[0].Topics()); !slices.Equal(names, []string{"prices"}) {
			t.Errorf("topics of the session %q", names)
		}
		ss[0].LeaveAll()
		if names := slices.Collect(ss[0].Topics()); len(names) > 0 {
			t.Errorf("topics of the session %q", names)
		}
	})
}

// Joins, leaves and publishes that chase a vanishing topic: who has joined gets what is published afterwards.
func TestTopicRevives(t *testing.T) {
	for _, p := range []wshub.Policy{{}, wshub.History(2, time.Hour)} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			h := newHub(t)
			topic := newTopic[int](t, h, "busy", p)
			done := make(chan error)
			for range 4 {
				go func() {
					for i := range 300 {
						ctx, cancel := context.WithCancel(context.Background())
						s := topic.Subscribe(ctx)
						if err := topic.Publish(ctx, i); err != nil {
							cancel()
							done <- err
							return
						}
						seen := false
						for v := range s.C() {
							if v == i {
								seen = true
								cancel()
							}
						}
						cancel()
						if !seen {
							done <- fmt.Errorf("%d never came: %w", i, s.Err())
							return
						}
					}
					done <- nil
				}()
			}
			for range 4 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			if a := topic.Stats(); a.Offered != a.Sent+a.Undelivered+a.Pending {
				t.Errorf("account %+v", a)
			}
		})
	}
}

func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[int](t, h, "log", wshub.History(3, time.Minute))
		publish(t, topic, 1, 2, 3, 4, 5)
		ss, cc := sessions(t, h, 2)
		join(t, topic.With(wshub.Replay(2)).Where(func(v int) bool { return v != 4 }), ss[0])
		join(t, topic, ss[1])
		publish(t, topic, 6)
		for _, want := range []string{"5", "6"} {
			cc[0].ExpectText(want)
		}
		cc[1].ExpectText("6")
		cc[0].ExpectNothing()
		cc[1].ExpectNothing()
		if got, want := topic.Stats(), (wshub.Tally{Offered: 4, Sent: 3, Filtered: 1}); got != want {
			t.Errorf("account %+v, want %+v", got, want)
		}
		ss[0].LeaveAll()
		ss[1].LeaveAll()
		if _, ok := h.Topic("log"); !ok {
			t.Error("gone while it has a history")
		}
		time.Sleep(2 * time.Minute)
		if _, ok := h.Topic("log"); ok {
			t.Error("there although its history has aged")
		}
		join(t, topic.With(wshub.Replay(3)), ss[0])
		cc[0].ExpectNothing()
	})
}

func TestReplayByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic(t, h, "board", wshub.Compose(wshub.Coalesce(), wshub.History(10, 0)), wshub.KeyBy(price.key))
		publish(t, topic, price{"A", 1}, price{"B", 2}, price{"A", 3})
		ss, cc := sessions(t, h, 1)
		join(t, topic.With(wshub.Replay(10)), ss[0])
		publish(t, topic, price{"B", 4})
		cc[0].ExpectJSON(price{"B", 2})
		cc[0].ExpectJSON(price{"A", 3})
		cc[0].ExpectJSON(price{"B", 4})
		cc[0].ExpectNothing()
	})
}

func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic(t, h, "prices", wshub.Coalesce(), wshub.KeyBy(price.key))
		ss, cc := sessions(t, h, 1)
		join(t, topic, ss[0])
		publish(t, topic, price{"A", 1}, price{"A", 2})
		cc[0].ExpectJSON(price{"A", 1})
		cc[0].ExpectJSON(price{"A", 2})
		slow := topic.With(wshub.FlushEvery(time.Second)).Where(func(p price) bool { return p.Symbol != "B" })
		if err := slow.Update(t.Context(), ss[0]); err != nil {
			t.Fatal(err)
		}
		publish(t, topic, price{"A", 3}, price{"B", 1}, price{"A", 4})
		cc[0].ExpectNothing()
		time.Sleep(time.Second)
		cc[0].ExpectJSON(price{"A", 4})
		publish(t, topic, price{"A", 5})
		if err := topic.With(wshub.Policy{}).Update(t.Context(), ss[0]); err != nil {
			t.Fatal(err)
		}
		cc[0].ExpectJSON(price{"A", 5}) // nothing is lost
		publish(t, topic, price{"B", 2})
		cc[0].ExpectJSON(price{"B", 2})
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

// Durations that nobody lives to see the end of are no durations in the past.
func TestForever(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		kept := newTopic[int](t, h, "kept", wshub.History(3, forever))
		never := newTopic[int](t, h, "never", wshub.Compose(wshub.Coalesce(), wshub.FlushEvery(forever)))
		trickle := newTopic[int](t, h, "trickle", wshub.Compose(wshub.Coalesce(), wshub.Rate(1e-300, 1)))
		drip := newTopic[string](t, h, "drip", wshub.Compose(wshub.Coalesce(), wshub.RateBytes(1e-300, math.MaxInt32)))
		soon := newTopic[int](t, h, "soon", wshub.Compose(wshub.Coalesce(), wshub.FlushEvery(time.Second)))
		ss, cc := sessions(t, h, 1)
		publish(t, kept, 1, 2)
		join(t, never, ss[0])
		join(t, soon, ss[0])
		join(t, trickle, ss[0])
		join(t, drip, ss[0])
		publish(t, trickle, 5)
		publish(t, drip, "6")
		cc[0].ExpectText("5")
		cc[0].ExpectText("6")
		publish(t, trickle, 7)
		publish(t, never, 7)
		publish(t, soon, 3)
		cc[0].ExpectText("3") // other timers go on
		time.Sleep(time.Hour)
		join(t, kept.With(wshub.Replay(3)), ss[0])
		cc[0].ExpectText("1")
		cc[0].ExpectText("2")
		cc[0].ExpectNothing()
	})
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

// What a filter or a stream sees after Publish has returned is not the caller's slice any more.
func TestBytesOfStreamsAreOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, member := range []bool{false, true} {
			h := newHub(t)
			topic := newTopic[[]byte](t, h, "bytes", wshub.Policy{})
			messages := newTopic[wshub.Message](t, h, "messages", wshub.Policy{})
			if member {
				ss, _ := sessions(t, h, 1)
				join(t, topic, ss[0])
				join(t, messages, ss[0])
			}
			s, m := topic.Subscribe(t.Context()), messages.Subscribe(t.Context())
			b := []byte("before")
			publish(t, topic, b)
			publish(t, messages, wshub.Binary(b))
			copy(b, "after!")
			if got := <-s.C(); string(got) != "before" {
				t.Errorf("with member %v: %q", member, got)
			}
			if got := <-m.C(); got.Text() != "before" {
				t.Errorf("with member %v: %q", member, got.Text())
			}
		}
	})
}

// Values of an interface type may be nil.
func TestNilValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[error](t, h, "errors", wshub.Policy{})
		ss, cc := sessions(t, h, 1)
		join(t, topic.Where(func(err error) bool { return err == nil }), ss[0])
		s := topic.Subscribe(t.Context())
		publish(t, topic, nil)
		if err := <-s.C(); err != nil {
			t.Error(err)
		}
		cc[0].ExpectText("null")
	})
}
