package wshub_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
)

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
