package wshub

import (
	"testing"
)

// What no observer has a function for, and no stream reads, is not even made.
func TestObserverCostsNothing(t *testing.T) {
	in(t, func(t *testing.T) { // which fails should New leave a goroutine: nobody shuts this hub down
		h, err := New(WithObserver(Observer{}, Observer{Connected: func(Event) {}}))
		if err != nil {
			t.Fatal(err)
		}
		if n := h.events.Len(); n != 1 {
			t.Errorf("%d observers, want the one that wants something", n)
		}
		s := &Session{hub: h}
		if n := testing.AllocsPerRun(100, func() {
			s.emit(Event{Kind: EventJoined, Topic: "room"})
			h.emit(Event{Kind: EventRefused, Status: 401})
		}); n != 0 || h.events.Log().Head() != 0 {
			t.Errorf("%v allocations, %d events", n, h.events.Log().Head())
		}
		events := h.Events(t.Context(), Policy{})
		h.emit(Event{Kind: EventRefused, Status: 401})
		if e := <-events.C(); e.Kind != EventRefused {
			t.Errorf("got %v", e)
		}
		events.Close()
		h.emit(Event{Kind: EventRefused, Status: 401})
		if n := h.events.Log().Head(); n != 1 {
			t.Errorf("%d events, want the one that was read", n)
		}
	})
}
