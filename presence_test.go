package wshub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
)

// ids returns the sessions of a list, sorted.
func ids(members []wshub.Member) []string {
	var all []string
	for _, m := range members {
		all = append(all, m.Session)
	}
	slices.Sort(all)
	return all
}

func idsOf(ss ...*wshub.Session) []string {
	var all []string
	for _, s := range ss {
		all = append(all, s.ID())
	}
	slices.Sort(all)
	return all
}

// expect takes the next event of a watcher and checks it.
func expect(t *testing.T, w *wshub.Stream[wshub.PresenceEvent], kind wshub.PresenceKind, ss ...*wshub.Session) wshub.PresenceEvent {
	t.Helper()
	synctest.Wait()
	select {
	case e, ok := <-w.C():
		if !ok {
			t.Fatalf("the stream has ended with %v", w.Err())
		}
		if e.Kind != kind || !slices.Equal(ids(e.Members), idsOf(ss...)) || e.Time.IsZero() || e.Members == nil {
			t.Fatalf("got %v %+v, want %v %v", e.Kind, e.Members, kind, idsOf(ss...))
		}
		return e
	default:
		t.Fatalf("nothing, want %v %v", kind, idsOf(ss...))
	}
	panic("unreachable")
}

func expectQuiet(t *testing.T, w *wshub.Stream[wshub.PresenceEvent]) {
	t.Helper()
	synctest.Wait()
	select {
	case e, ok := <-w.C():
		t.Fatalf("got %v, %v", e, ok)
	default:
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithNode("n1"), wshub.Authenticate(func(*http.Request) (wshub.Identity, error) {
			return wshub.Identity{User: "ann"}, nil
		}))
		topic := newTopic[string](t, h, "room", wshub.Policy{})
		ss, cc := sessions(t, h, 4)
		join(t, topic, ss[0])

		first := topic.Watch(t.Context())
		e := expect(t, first, wshub.PresenceList, ss[0])
		if want := (wshub.Member{Session: ss[0].ID(), User: "ann", Node: "n1"}); e.Members[0].Session != want.Session || e.Members[0].User != want.User || e.Members[0].Node != want.Node || e.Members[0].Data != nil {
			t.Errorf("got %+v, want %+v", e.Members[0], want)
		}
		join(t, topic, ss[1], ss[2])
		if err := topic.Join(t.Context(), ss[1]); !errors.Is(err, wshub.ErrAlreadyMember) {
			t.Errorf("again: %v", err)
		}
		second := topic.Watch(t.Context())
		if err := topic.Leave(ss[0]); err != nil {
			t.Fatal(err)
		}
		cc[1].Abort()
		<-ss[1].Done()
		join(t, topic, ss[0])

		expect(t, first, wshub.PresenceJoined, ss[1])
		expect(t, first, wshub.PresenceJoined, ss[2])
		expect(t, second, wshub.PresenceList, ss[0], ss[1], ss[2])
		for _, w := range []*wshub.Stream[wshub.PresenceEvent]{first, second} {
			expect(t, w, wshub.PresenceLeft, ss[0])
			expect(t, w, wshub.PresenceLeft, ss[1])
			expect(t, w, wshub.PresenceJoined, ss[0])
			expectQuiet(t, w)
		}
		if got, err := topic.Present(t.Context()); err != nil || !slices.Equal(ids(got), idsOf(ss[0], ss[2])) {
			t.Errorf("present: %v, %v", got, err)
		}

		// When all watchers have gone nothing is kept, and the next one finds who is there now.
		first.Close()
		second.Close()
		if got, err := topic.Present(t.Context()); err != nil || !slices.Equal(ids(got), idsOf(ss[0], ss[2])) {
			t.Errorf("present: %v, %v", got, err)
		}
		join(t, topic, ss[3])
		if err := topic.Leave(ss[0]); err != nil {
			t.Fatal(err)
		}
		expect(t, topic.Watch(t.Context()), wshub.PresenceList, ss[2], ss[3])
	})
}

// A topic that is only watched is not live, and its watchers are told when it becomes so and vanishes.
func TestWatchIsNoMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		rooms, err := wshub.NewFamily[string](h, "room", wshub.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		room, err := rooms.Topic("go")
		if err != nil {
			t.Fatal(err)
		}
		ss, _ := sessions(t, h, 1)
		w := room.Watch(t.Context())
		expect(t, w, wshub.PresenceList)
		for range 2 {
			if info, ok := h.Topic("room/go"); ok || room.Len() != 0 {
				t.Errorf("lives: %+v", info)
			}
			join(t, room, ss[0])
			expect(t, w, wshub.PresenceJoined, ss[0])
			if info, _ := h.Topic("room/go"); info.Members != 1 || info.Streams != 0 {
				t.Errorf("joined: %+v", info)
			}
			if err := room.Leave(ss[0]); err != nil {
				t.Fatal(err)
			}
			expect(t, w, wshub.PresenceLeft, ss[0])
		}
		if got, err := room.Present(t.Context()); err != nil || got == nil || len(got) != 0 {
			t.Errorf("present: %v, %v", got, err)
		}
	})
}

func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var zero wshub.Topic[string]
		if w := zero.Watch(t.Context()); !errors.Is(w.Err(), wshub.ErrClosed) {
			t.Errorf("of the zero topic: %v", w.Err())
		}
		if _, err := zero.Present(t.Context()); !errors.Is(err, wshub.ErrClosed) {
			t.Errorf("of the zero topic: %v", err)
		}
		h := newHub(t)
		topic := newTopic[string](t, h, "room", wshub.Policy{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		over := topic.Watch(ctx)
		w := topic.Watch(t.Context())
		synctest.Wait()
		h.Close()
		synctest.Wait()
		if !errors.Is(over.Err(), context.Canceled) || !errors.Is(w.Err(), wshub.ErrClosed) {
			t.Errorf("%v, %v", over.Err(), w.Err())
		}
		if w := topic.Watch(t.Context()); !errors.Is(w.Err(), wshub.ErrClosed) {
			t.Errorf("of a closed hub: %v", w.Err())
		}
	})
}

// A watcher that is too slow is given up, delays nobody, and may watch again.
func TestWatchSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithLimits(wshub.Limits{Pending: 1024}))
		topic := newTopic[string](t, h, "room", wshub.Policy{})
		ss, _ := sessions(t, h, 2)
		join(t, topic, ss[1])
		slow, quick := topic.Watch(t.Context()), topic.Watch(t.Context())
		seen := make(chan int)
		go func() { // ends with the stream
			n := 0
			for range quick.C() {
				n++
			}
			seen <- n
		}()
		const n = 3000
		for range n {
			join(t, topic, ss[0])
			if err := topic.Leave(ss[0]); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if slow.Err() != nil {
			t.Errorf("at once: %v", slow.Err())
		}
		time.Sleep(2 * time.Second)
		join(t, topic, ss[0])
		synctest.Wait()
		if !errors.Is(slow.Err(), wshub.ErrSlow) {
			t.Errorf("got %v", slow.Err())
		}
		again := topic.Watch(t.Context())
		expect(t, again, wshub.PresenceList, ss...)
		quick.Close()
		if got := <-seen; got != 2*n+2 {
			t.Errorf("the quick one got %d of %d", got, 2*n+2)
		}
	})
}

func TestMemberData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var data any
		h := newHub(t, wshub.WithLogger(nil), wshub.WithMember(func(s *wshub.Session) any {
			if data == "panic" {
				panic("broken")
			}
			return data
		}))
		events := h.Events(t.Context(), wshub.Policy{})
		rooms, err := wshub.NewFamily[string](h, "room", wshub.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		room, err := rooms.Topic("go")
		if err != nil {
			t.Fatal(err)
		}
		ss, cc := sessions(t, h, 4)
		data = map[string]string{"name": "Ann"}
		join(t, room, ss[0])
		w := room.Watch(t.Context())
		const ann = `{"name":"Ann"}`
		if e := expect(t, w, wshub.PresenceList, ss[0]); string(e.Members[0].Data) != ann {
			t.Errorf("data %s", e.Members[0].Data)
		}
		data = strings.Repeat("x", 1022)
		join(t, room, ss[1])
		if e := expect(t, w, wshub.PresenceJoined, ss[1]); len(e.Members[0].Data) != 1024 {
			t.Errorf("data %s", e.Members[0].Data)
		}
		data = nil
		join(t, room, ss[2])
		if e := expect(t, w, wshub.PresenceJoined, ss[2]); e.Members[0].Data != nil {
			t.Errorf("data %s", e.Members[0].Data)
		}
		data = strings.Repeat("x", 1023)
		if err := room.Join(t.Context(), ss[3]); !errors.Is(err, wshub.ErrMemberData) || !strings.Contains(err.Error(), "1025 bytes") || room.Has(ss[3]) {
			t.Errorf("too much: %v", err)
		}
		data = func() {}
		var unsupported *json.UnsupportedTypeError
		if err := room.Join(t.Context(), ss[3]); !errors.Is(err, wshub.ErrMemberData) || !errors.As(err, &unsupported) {
			t.Errorf("no JSON: %v", err)
		}
		data = json.RawMessage("\"\xff\"")
		if err := room.Join(t.Context(), ss[3]); !errors.Is(err, wshub.ErrMemberData) || !errors.Is(err, wshub.ErrUTF8) || room.Has(ss[3]) {
			t.Errorf("no UTF-8: %v", err)
		}
		data = "panic"
		if err := room.Join(t.Context(), ss[3]); !errors.Is(err, wshub.ErrPanic) {
			t.Errorf("panic: %v", err)
		}
		cc[3].ExpectClose(1011)
		expectQuiet(t, w)

		// Without a watcher the data stays what it was at the join.
		w.Close()
		list, err := room.Present(t.Context())
		if err != nil || !slices.Equal(ids(list), idsOf(ss[:3]...)) {
			t.Fatalf("%v, %v", list, err)
		}
		for _, m := range list {
			if m.Session == ss[0].ID() && string(m.Data) != ann {
				t.Errorf("data %s", m.Data)
			}
		}
		w = room.Watch(t.Context())
		expect(t, w, wshub.PresenceList, ss[:3]...)
		if err := room.Leave(ss[0]); err != nil {
			t.Fatal(err)
		}
		if e := expect(t, w, wshub.PresenceLeft, ss[0]); string(e.Members[0].Data) != ann {
			t.Errorf("data %s", e.Members[0].Data)
		}
		w.Close()
		for _, c := range cc[:3] {
			c.Abort()
		}
		synctest.Wait()
		if list, _ := room.Present(t.Context()); len(list) != 0 {
			t.Errorf("still there: %v", list)
		}
		if events.Err() != nil {
			t.Error(events.Err())
		}
	})
}

// The user is the one of the moment that is told.
func TestMemberUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[string](t, h, "room", wshub.Policy{})
		ss, _ := sessions(t, h, 1)
		w := topic.Watch(t.Context())
		expect(t, w, wshub.PresenceList)
		for i, user := range []string{"ann", "bob", "cid"} {
			if err := ss[0].SetUser(user); err != nil {
				t.Fatal(err)
			}
			var m wshub.Member
			switch i {
			case 0:
				join(t, topic, ss[0])
				m = expect(t, w, wshub.PresenceJoined, ss[0]).Members[0]
			case 1:
				list, _ := topic.Present(t.Context())
				m = list[0]
			case 2:
				if err := topic.Leave(ss[0]); err != nil {
					t.Fatal(err)
				}
				m = expect(t, w, wshub.PresenceLeft, ss[0]).Members[0]
			}
			if m.User != user {
				t.Errorf("%d: %q, want %q", i, m.User, user)
			}
		}
	})
}

func TestPresenceJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := wshub.PresenceEvent{Kind: wshub.PresenceJoined, Members: []wshub.Member{{Session: "n.s", Node: "n", Data: json.RawMessage(`1`)}}, Time: at}
	b, err := json.Marshal(e)
	const want = `{"kind":"joined","members":[{"session":"n.s","node":"n","data":1}],"time":"2026-01-02T03:04:05Z"}`
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v", b, err)
	}
	var back wshub.PresenceEvent
	if err := json.Unmarshal(b, &back); err != nil || fmt.Sprint(back) != fmt.Sprint(e) {
		t.Errorf("got %v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"kind":"other"}`), &back); err == nil {
		t.Error("an unknown kind is no error")
	}
	for k, want := range map[wshub.PresenceKind]string{0: "unknown", wshub.PresenceList: "list", wshub.PresenceLeft: "left", 9: "unknown"} {
		if k.String() != want {
			t.Errorf("%d is %q", k, k)
		}
	}
}
