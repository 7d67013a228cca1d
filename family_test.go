package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
)

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
