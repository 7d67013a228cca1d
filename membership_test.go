package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Joins beside the session's end leave no member behind, and each that went through is told to have left.
func TestPitfall02JoinRacesDisconnect(t *testing.T) {
	for name, end := range map[string]func(*wshub.Session, *wshubtest.Client){
		"lost":   func(_ *wshub.Session, c *wshubtest.Client) { c.Abort() },
		"closed": func(s *wshub.Session, _ *wshubtest.Client) { s.Close(1000, "") },
		"left": func(_ *wshub.Session, c *wshubtest.Client) {
			c.TrySendRaw(wshubtest.Frame(true, wshubtest.OpClose, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				events := h.Events(t.Context(), wshub.DropOldest(60_000))
				topic := newTopic[int](t, h, "room", wshub.Policy{})
				joined := 0
				const rounds = 50
				for range rounds {
					var s *wshub.Session
					c := wshubtest.Dial(t, h.Handler(stay))
					synctest.Wait()
					for s = range h.Sessions() {
					}
					errs := atOnce(5, func(i int) error {
						if i == 0 {
							end(s, c)
							return wshub.ErrSessionClosed
						}
						return topic.Join(context.Background(), s)
					})
					for _, err := range errs {
						switch {
						case err == nil:
							joined++
						case !errors.Is(err, wshub.ErrSessionClosed) && !errors.Is(err, wshub.ErrAlreadyMember):
							t.Error(err)
						}
					}
					<-s.Done()
					if err := topic.Join(t.Context(), s); !errors.Is(err, wshub.ErrSessionClosed) {
						t.Errorf("join after the end: %v", err)
					}
					for range topic.Members() {
						t.Error("a ghost among the members")
					}
					for name := range s.Topics() {
						t.Errorf("a ghost is in %q", name)
					}
					if list, err := topic.Present(t.Context()); len(list) != 0 || err != nil || topic.Len() != 0 || topic.Has(s) {
						t.Errorf("%d members, %d present, %v", topic.Len(), len(list), err)
					}
					if _, lives := h.Topic("room"); lives {
						t.Error("the topic lives, with nobody in it")
					}
				}
				ins, outs := 0, 0
				for ended := 0; ended < rounds; {
					switch (<-events.C()).Kind {
					case wshub.EventJoined:
						ins++
					case wshub.EventLeft:
						outs++
					case wshub.EventDisconnected:
						ended++
					}
				}
				if ins != joined || outs != joined {
					t.Errorf("%d joins, %d are told, and %d leaves", joined, ins, outs)
				}
			})
		})
	}
}

// Who joins while the last member leaves, and the topic with it, is reached by what is published afterwards.
func TestPitfall02JoinRacesTheLastLeave(t *testing.T) {
	for _, p := range []wshub.Policy{{}, wshub.History(1, time.Millisecond), wshub.History(1, 0)} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				topic := newTopic[int](t, h, "room", p)
				ss, cc := sessions(t, h, 2)
				join(t, topic, ss[0])
				for i := range 300 {
					last, next := ss[i%2], ss[1-i%2]
					for _, err := range atOnce(2, func(k int) error {
						if k == 0 {
							return topic.Leave(last)
						}
						return topic.Join(context.Background(), next)
					}) {
						if err != nil {
							t.Fatal(err)
						}
					}
					publish(t, topic, i)
					cc[1-i%2].ExpectJSON(i)
					if info, ok := h.Topic("room"); !ok || info.Members != 1 || topic.Len() != 1 || !topic.Has(next) {
						t.Fatalf("round %d: %+v, %t", i, info, ok)
					}
					if i%3 == 0 {
						time.Sleep(2 * time.Millisecond) // the history ages
					}
				}
				for i, c := range cc {
					if left := c.Take(); len(left) != 0 {
						t.Errorf("client %d got %d values too many", i, len(left))
					}
				}
			})
		})
	}
}
