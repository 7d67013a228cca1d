package wshub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/wshubtest"
)

// The events of each session come in order, whatever the sessions do at once.
func TestEventsInOrder(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		events := h.Events(t.Context(), Policy{})
		topic, err := NewTopic[string](h, "news", Policy{})
		if err != nil {
			t.Fatal(err)
		}
		handler := h.Handler(func(ctx context.Context, s *Session) error {
			if err := topic.Join(ctx, s); err != nil {
				return err
			}
			for range s.Messages() {
			}
			return nil
		})
		const n = 30
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				c, _, err := wshubtest.TryDial(t, handler)
				if err != nil {
					t.Error(err)
					return
				}
				if i%3 == 0 {
					c.Abort()
				} else {
					c.Close(1000, "")
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		of := map[string][]EventKind{}
		for ended := 0; ended < n; {
			e := <-events.C()
			if e.Kind == EventDisconnected {
				ended++
			}
			if e.Time.IsZero() {
				t.Errorf("no time in %v", e)
			}
			of[e.Session] = append(of[e.Session], e.Kind)
		}
		want := []EventKind{EventConnected, EventJoined, EventLeft, EventDisconnected}
		for id, got := range of {
			if !slices.Equal(got, want) && !slices.Equal(got, []EventKind{EventConnected, EventDisconnected}) { // gone before its join
				t.Errorf("%s: %v", id, got)
			}
		}
		if len(of) != n {
			t.Errorf("events of %d sessions, want %d", len(of), n)
		}
	})
}

func TestEventFields(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, Authenticate(byQuery))
		events := h.Events(t.Context(), Policy{})
		broken := errors.New("broken")
		c := wshubtest.Dial(t, h.Handler(func(context.Context, *Session) error { return broken }), wshubtest.WithPath("/?as=ann"))
		c.ExpectClose(1011)
		var got []string
		for len(got) < 3 {
			e := <-events.C()
			got = append(got, fmt.Sprint(e.Kind, " ", e.User, " ", int(e.Code), " ", e.Reason, " ", e.Cause))
		}
		want := []string{
			"connected ann 0  <nil>",
			"error ann 0  broken",
			"disconnected ann 1011 internal error broken",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

// A reader that calls the hub back, from each event, neither deadlocks nor recurses.
func TestEventReaderCallsBack(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		events := h.Events(t.Context(), Policy{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e := range events.C() {
				s, ok := h.Session(e.Session)
				switch e.Kind {
				case EventConnected:
					if !ok {
						t.Error("connected, and not found")
						continue
					}
					s.Send(t.Context(), Text("welcome"))
					h.Everyone().Send(t.Context(), Text("somebody came"))
					s.Close(1000, "")
				case EventDisconnected:
					if ok {
						t.Error("disconnected, and found")
					}
					return
				}
			}
		}()
		c := wshubtest.Dial(t, h.Handler(idle))
		c.ExpectText("welcome")
		c.ExpectText("somebody came")
		c.ExpectClose(1000)
		<-done
	})
}

// The last events of a hub that shuts down reach a reader that reads.
func TestEventsOfShutdown(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		events := h.Events(t.Context(), Policy{})
		for range 20 {
			wshubtest.Dial(t, h.Handler(idle))
		}
		synctest.Wait()
		ended := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e := range events.C() {
				time.Sleep(10 * time.Millisecond)
				if e.Kind == EventDisconnected {
					ended++
				}
			}
		}()
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-done
		if ended != 20 || !errors.Is(events.Err(), ErrClosed) {
			t.Errorf("%d of 20 disconnected, then %v", ended, events.Err())
		}
	})
}

func TestEventKindString(t *testing.T) {
	if EventConnected.String() != "connected" || EventError.String() != "error" || EventKind(0).String() != "unknown" || EventKind(99).String() != "unknown" {
		t.Error("names of events")
	}
}
