package wshub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/wshub-go/wshub/wshubtest"
)

// The events of each session come in order, whatever the sessions do at once.
func TestPitfall07EventsInOrder(t *testing.T) {
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

// checkOrder fails the test unless the events of one session are in order: connected, joined and left by turns for each
// topic, disconnected.
func checkOrder(t *testing.T, list []Event) {
	t.Helper()
	id := list[0].Session
	if list[0].Kind != EventConnected || list[len(list)-1].Kind != EventDisconnected {
		t.Errorf("session %s: from %v to %v", id, list[0].Kind, list[len(list)-1].Kind)
	}
	var member []string
	for i, e := range list {
		at := slices.Index(member, e.Topic)
		switch {
		case e.Kind == EventJoined && at < 0:
			member = append(member, e.Topic)
		case e.Kind == EventLeft && at >= 0:
			member = slices.Delete(member, at, at+1)
		case e.Kind == EventJoined, e.Kind == EventLeft, e.Kind == EventConnected && i > 0, e.Kind == EventDisconnected && i < len(list)-1:
			t.Errorf("session %s: %v %s", id, e.Kind, e.Topic)
		}
	}
	if len(member) != 0 {
		t.Errorf("session %s is still in %q", id, member)
	}
}

// They keep the order of what has happened also when several goroutines join and leave for one session, and it ends in
// their midst: readers and observers are told the same, of each join and leave that was no error.
func TestPitfall07EventsKeepTheirOrder(t *testing.T) {
	in(t, func(t *testing.T) {
		var observed []Event
		note := func(e Event) { observed = append(observed, e) }
		h := newHub(t, WithObserver(Observer{Connected: note, Joined: note, Left: note, Disconnected: note}))
		events := h.Events(t.Context(), DropOldest(60_000).With(MaxBytes(32<<20)))
		var topics []Topic[string]
		for i := range 2 {
			topic, err := NewTopic[string](h, fmt.Sprint("topic", i), Policy{})
			if err != nil {
				t.Fatal(err)
			}
			topics = append(topics, topic)
		}
		joins := map[string]*atomic.Int64{}
		for i := range 20 {
			arrived, work := make(chan *Session, 1), make(chan struct{})
			c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
				arrived <- s
				<-work
				return nil
			}))
			s, n := <-arrived, new(atomic.Int64)
			var busy sync.WaitGroup
			joins[s.ID()] = n
			for range 4 {
				busy.Go(func() {
					for range 20 {
						for _, topic := range topics {
							if topic.Join(context.Background(), s) == nil {
								n.Add(1)
							}
							topic.Leave(s)
						}
					}
				})
			}
			for i%4 < 2 && n.Load() < 20 { // in their midst
				runtime.Gosched()
			}
			if i%4 >= 2 { // after them
				busy.Wait()
			}
			if i%2 == 0 {
				s.Close(1000, "")
			} else {
				c.Abort()
			}
			close(work)
			<-s.Done()
			busy.Wait()
		}
		synctest.Wait()
		told := taken(events, EventConnected, EventJoined, EventLeft, EventDisconnected)
		if !slices.Equal(told, observed) {
			t.Errorf("%d events are told, %d observed", len(told), len(observed))
		}
		of := map[string][]Event{}
		for _, e := range told {
			of[e.Session] = append(of[e.Session], e)
		}
		if len(of) != len(joins) {
			t.Errorf("events of %d sessions, want %d", len(of), len(joins))
		}
		for id, list := range of {
			checkOrder(t, list)
			joined := int64(0)
			for _, e := range list {
				if e.Kind == EventJoined {
					joined++
				}
			}
			if want := joins[id].Load(); joined != want {
				t.Errorf("%s: %d joins are told, want %d", id, joined, want)
			}
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
func TestPitfall06EventReaderCallsBack(t *testing.T) {
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

func TestEventSize(t *testing.T) {
	if size := unsafe.Sizeof(Event{}); size > eventSize || size < eventSize-16 && strconv.IntSize == 64 {
		t.Errorf("an event has %d bytes and counts for %d", size, eventSize)
	}
}

func TestEventKindString(t *testing.T) {
	if EventConnected.String() != "connected" || EventError.String() != "error" || EventHandled.String() != "handled" || EventKind(0).String() != "unknown" || EventKind(99).String() != "unknown" {
		t.Error("names of events")
	}
}

// Events do not wait, so a reader with Block is given up, and takes nothing from the others.
func TestPitfall06EventsDoNotBlock(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithPolicy(Block(2, time.Second)))
		stuck := h.Events(t.Context(), Policy{})
		events := h.Events(t.Context(), DropOldest(1000))
		const n = 20
		for range n {
			wshubtest.Dial(t, h.Handler(idle)).Close(1000, "")
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !errors.Is(stuck.Err(), ErrSlow) {
			t.Errorf("the reader that takes nothing: %v", stuck.Err())
		}
		ended := 0
		for ended < n {
			select {
			case e := <-events.C():
				if e.Kind == EventDisconnected {
					ended++
				}
			case <-time.After(time.Second):
				t.Fatalf("%d of %d disconnected, %d events were lost", ended, n, h.Stats().EventsLost)
			}
		}
		if lost := h.Stats().EventsLost; lost != 0 {
			t.Errorf("%d events were lost", lost)
		}
	})
}

// Whoever goes on with a session that has ended does not bring it back: its EventDisconnected is the last of it.
func TestPitfall07NothingFollowsDisconnected(t *testing.T) {
	in(t, func(t *testing.T) {
		debug := NewDebugObserver(io.Discard)
		h := newHub(t, WithLogger(nil), WithObserver(debug.Observer()))
		events := h.Events(t.Context(), DropOldest(10_000))
		handler := h.Handler(idle)
		var m Mux
		fn := MetricsEach()(m.Message)
		var wg sync.WaitGroup
		for range 50 {
			c := wshubtest.Dial(t, handler)
			s := only(t, h)
			wg.Go(func() {
				for range 20 {
					fn(context.Background(), s, Text("{"))
				}
			})
			c.Abort()
			<-s.Done()
		}
		wg.Wait()
		over := map[string]bool{}
		for _, e := range taken(events, EventConnected, EventDisconnected, EventError, EventHandled) {
			if over[e.Session] {
				t.Fatalf("%v follows the end of its session", e.Kind)
			}
			over[e.Session] = e.Kind == EventDisconnected
		}
		if len(over) != 50 {
			t.Errorf("events of %d sessions", len(over))
		}
		if len(debug.sessions) != 0 {
			t.Errorf("%d sessions are still numbered", len(debug.sessions))
		}
	})
}

// A session is a member of everyone before it is announced: what happens to it by then is told afterwards.
func TestPitfall07NothingPrecedesConnected(t *testing.T) {
	// Clients that drop their connections at once come faster than upgrades end.
	h := newHub(t, WithPolicy(Evict(1, 0)), WithLimits(Limits{Upgrades: 1 << 20}))
	events := h.Events(context.Background(), Evict(60_000, time.Minute))
	done := make(chan map[string]EventKind) // the first of each session
	go func() {                             // ends with the stream
		first := map[string]EventKind{}
		for e := range events.C() {
			if e.Session != "" && first[e.Session] == 0 {
				first[e.Session] = e.Kind
			}
		}
		done <- first
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // how long it goes on
	defer cancel()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				h.Everyone().Send(ctx, Binary(make([]byte, 3000)))
				time.Sleep(10 * time.Microsecond)
			}
		})
	}
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, _, err := wshubtest.TryDial(t, h.Handler(idle), wshubtest.WithBuffer(1000))
				if err != nil {
					t.Error(err)
					return
				}
				c.Abort()
			}
		})
	}
	wg.Wait()
	if err := h.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	first := <-done
	if n := h.Stats().EventsLost; n > 0 || errors.Is(events.Err(), ErrSlow) {
		t.Fatalf("the reader could not keep up: %d events lost, %v", n, events.Err())
	}
	for _, kind := range first {
		if kind != EventConnected {
			t.Errorf("%v first", kind)
		}
	}
}
