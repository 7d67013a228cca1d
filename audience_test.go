package wshub

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
	"github.com/wshub-go/wshub/wshubtest"
)

// byQuery authenticates by the query's "as".
func byQuery(r *http.Request) (Identity, error) {
	return Identity{User: r.URL.Query().Get("as")}, nil
}

func TestAudiences(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, Authenticate(byQuery))
		handler := h.Handler(idle)
		clients := map[string]*wshubtest.Client{}
		sessions := map[string]*Session{}
		for _, name := range []string{"ann1", "ann2", "bob1", "1"} {
			clients[name] = wshubtest.Dial(t, handler, wshubtest.WithPath("/?as="+name[:len(name)-1]))
			synctest.Wait()
			for s := range h.Sessions() {
				if !slices.Contains(slices.Collect(mapsValues(sessions)), s) {
					sessions[name] = s
				}
			}
		}
		for _, test := range []struct {
			name string
			to   Audience
			want []string
		}{
			{"everyone", h.Everyone(), []string{"1", "ann1", "ann2", "bob1"}},
			{"everyone but one", h.Everyone().Except(sessions["ann1"]), []string{"1", "ann2", "bob1"}},
			{"user", h.User("ann"), []string{"ann1", "ann2"}},
			{"user but one", h.User("ann").Except(sessions["ann2"], sessions["bob1"]), []string{"ann1"}},
			{"nobody's user", h.User("eve"), nil},
			{"no user", h.User(""), nil},
			{"session", h.To(sessions["bob1"].ID()), []string{"bob1"}},
			{"session but it", h.To(sessions["bob1"].ID()).Except(sessions["bob1"]), nil},
			{"unknown session", h.To("x.y"), nil},
			{"everyone but all", h.Everyone().Except(sessions["1"], sessions["ann1"], sessions["ann2"], sessions["bob1"]), nil},
			{"zero", Audience{}, nil},
		} {
			n, err := test.to.Count(t.Context())
			if err != nil || n != len(test.want) {
				t.Errorf("%s: Count is %d, %v, want %d", test.name, n, err, len(test.want))
			}
			err = test.to.Send(t.Context(), Text(test.name))
			if want := map[bool]error{true: ErrNoSession}[len(test.want) == 0]; !errors.Is(err, want) {
				t.Errorf("%s: Send: %v, want %v", test.name, err, want)
			}
			synctest.Wait()
			var got []string
			for name, c := range clients {
				for _, m := range c.Take() {
					if string(m.Data) != test.name {
						t.Errorf("%s got %q", name, m.Data)
					}
					got = append(got, name)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("%s reached %q, want %q", test.name, got, test.want)
			}
		}
		if err := SendJSON(t.Context(), h.User("bob"), map[string]int{"n": 1}); err != nil {
			t.Error(err)
		}
		clients["bob1"].ExpectJSON(map[string]int{"n": 1})
		if err := SendJSON(t.Context(), sessions["bob1"], make(chan int)); err == nil {
			t.Error("a channel was sent as JSON")
		}

		// Kick.
		if err := h.User("ann").Except(sessions["ann1"]).Close(t.Context(), 4003, "kicked"); err != nil {
			t.Error(err)
		}
		if reason := clients["ann2"].ExpectClose(4003); reason != "kicked" {
			t.Errorf("reason %q", reason)
		}
		<-sessions["ann2"].Done()
		if err := sessions["ann2"].Err(); !errors.Is(err, &CloseError{Code: 4003}) {
			t.Errorf("Err is %v", err)
		}
		if h.Len() != 3 {
			t.Errorf("%d sessions", h.Len())
		}
		if err := h.User("eve").Close(t.Context(), 4003, ""); !errors.Is(err, ErrNoSession) {
			t.Errorf("kicked nobody: %v", err)
		}
	})
}

func mapsValues(m map[string]*Session) func(func(*Session) bool) {
	return func(yield func(*Session) bool) {
		for _, s := range m {
			if !yield(s) {
				return
			}
		}
	}
}

// A kick does not wait for what is pending: a client whose queue is full gets its close frame.
func TestPitfall14KickPassesTheQueue(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(waiting), wshubtest.WithBuffer(1000))
		s := only(t, h)
		c.Stall()
		for range 100 {
			if err := s.Send(t.Context(), Binary(make([]byte, 900))); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.To(s.ID()).Close(t.Context(), 4000, ""); err != nil {
			t.Fatal(err)
		}
		c.Resume()
		c.ExpectClose(4000)
		if got := len(c.Take()); got > 3 {
			t.Errorf("%d messages came before the close frame", got)
		}
		<-s.Done()
		d := h.Stats().Direct
		if d.Offered != 100 || d.Undelivered < 97 || d.Sent+d.Undelivered != 100 {
			t.Errorf("account: %+v", d)
		}
	})
}

// One device that lags does not keep a message from the user's others.
func TestUserSendReachesTheRestFirst(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, Authenticate(byQuery))
		slow := wshubtest.Dial(t, h.Handler(waiting), wshubtest.WithPath("/?as=ann"), wshubtest.WithBuffer(1000))
		s := only(t, h)
		slow.Stall()
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			err := s.Send(ctx, Binary(make([]byte, 100_000)))
			cancel()
			if err != nil {
				break
			}
		}
		quick := wshubtest.Dial(t, h.Handler(idle), wshubtest.WithPath("/?as=ann"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := h.User("ann").Send(ctx, Binary(make([]byte, 100_000)))
		if !errors.Is(err, ErrPendingFull) {
			t.Errorf("Send: %v", err)
		}
		quick.ExpectBinary(make([]byte, 100_000))
		slow.Abort()
	})
}

// onlooker is a member of everyone that takes what it is sent at once: a hundred thousand of them are cheap.
type onlooker struct{ observing }

func (*onlooker) TryPut(*queue.Entry) bool { return true }

// A fresh session misses nothing that is sent to everyone after Accept has returned, or from its SessionFunc or by who
// hears that it is connected, also while the workers are busy with 100,000 others.
func TestPitfall04FreshSessionMissesNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithPolicy(Evict(1024, time.Hour)))
		for range 100_000 {
			o := new(onlooker)
			if _, err := h.everyone.Join(h.engine.NewFeed(o, o), h.rule, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		send := func(text string) {
			if err := h.Everyone().Send(context.Background(), Text(text)); err != nil {
				t.Error(err)
			}
		}
		events := h.Events(t.Context(), Policy{})
		byHand := handlerFunc(func(s *Session, err error) {
			if err != nil {
				t.Error(err)
				return
			}
			send("hello")
		}, h)
		served := h.Handler(func(ctx context.Context, s *Session) error {
			send("hello")
			return idle(ctx, s)
		})
		heard := h.Handler(func(ctx context.Context, s *Session) error {
			for e := range events.C() {
				if e.Kind == EventConnected && e.Session == s.ID() {
					break
				}
			}
			send("hello")
			return idle(ctx, s)
		})
		wshubtest.Dial(t, h.Handler(idle))
		synctest.Wait()
		for i, handler := range []http.Handler{byHand, served, heard} {
			send("before") // the workers begin
			c := wshubtest.Dial(t, handler)
			for {
				m, ok := c.Next()
				if !ok {
					t.Fatalf("session %d missed it", i)
				}
				if string(m.Data) == "hello" {
					break
				}
			}
		}
	})
}

func TestSlowClientIsEvicted(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithPolicy(Evict(10, 100*time.Millisecond)))
		events := h.Events(t.Context(), Policy{})
		c := wshubtest.Dial(t, h.Handler(waiting), wshubtest.WithBuffer(1000))
		s := only(t, h)
		quick := wshubtest.Dial(t, h.Handler(idle))
		synctest.Wait()
		c.Stall()
		for range 40 {
			if err := h.Everyone().Send(t.Context(), Binary(make([]byte, 500))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		c.Resume()
		c.ExpectClose(1013)
		<-s.Done()
		if !errors.Is(s.Err(), ErrSlow) {
			t.Errorf("Err is %v", s.Err())
		}
		synctest.Wait()
		if got := len(quick.Take()); got != 40 {
			t.Errorf("the other got %d of 40", got)
		}
		var kinds []EventKind
		for len(kinds) < 4 {
			kinds = append(kinds, (<-events.C()).Kind)
		}
		want := []EventKind{EventConnected, EventConnected, EventEvicted, EventDisconnected}
		if !slices.Equal(kinds, want) {
			t.Errorf("events %v, want %v", kinds, want)
		}
		if st := h.Stats(); st.Evicted != 1 || st.Everyone.Evicted == 0 {
			t.Errorf("stats: %+v", st)
		}
	})
}

// A SessionFunc whose Send fails because its session was given up does not turn 1013 into 1011.
func TestVerdictOfFailedSend(t *testing.T) {
	for range 20 {
		in(t, func(t *testing.T) {
			h := newHub(t, WithPolicy(Evict(10, 10*time.Millisecond)))
			c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
				for {
					if err := s.Send(ctx, Text("tick")); err != nil {
						return err
					}
					time.Sleep(time.Microsecond)
				}
			}), wshubtest.WithBuffer(1000))
			s := only(t, h)
			c.Stall()
			for !s.ended() {
				h.Everyone().Send(t.Context(), Binary(make([]byte, 500)))
				time.Sleep(time.Millisecond)
			}
			c.Resume()
			c.ExpectClose(1013)
			<-s.Done()
			if !errors.Is(s.Err(), ErrSlow) {
				t.Errorf("Err is %v", s.Err())
			}
		})
	}
}

func TestAttr(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		wshubtest.Dial(t, h.Handler(idle))
		s := only(t, h)
		nick, again := NewAttr[string]("nick"), NewAttr[string]("nick")
		cause := NewAttr[error]("cause")
		if _, ok := nick.Get(s); ok {
			t.Error("found nothing set")
		}
		nick.Set(s, "ann")
		nick.Set(s, "bob")
		cause.Set(s, nil)
		if v, ok := nick.Get(s); !ok || v != "bob" {
			t.Errorf("got %q, %v", v, ok)
		}
		if _, ok := again.Get(s); ok {
			t.Error("keys of one name meet")
		}
		if v, ok := cause.Get(s); !ok || v != nil {
			t.Errorf("got %v, %v", v, ok)
		}
		nick.Delete(s)
		nick.Delete(s)
		if _, ok := nick.Get(s); ok {
			t.Error("found what was deleted")
		}
		if _, ok := cause.Get(s); !ok {
			t.Error("another attribute went with it")
		}
		var zero Attr[int]
		zero.Set(s, 1)
		zero.Delete(s)
		if _, ok := zero.Get(s); ok {
			t.Error("the zero Attr holds something")
		}
		nick.Set(nil, "")
		if nick.String() != "nick" || zero.String() != "" {
			t.Error("names")
		}
	})
}

// Lookups, Len and attributes allocate nothing; a targeted send one.
func TestNoAllocs(t *testing.T) {
	h := newHub(t)
	s := acceptOne(t, h)
	nick := NewAttr[string]("nick")
	nick.Set(s, "ann")
	id := s.ID()
	m := Text("hello")
	ctx := context.Background()
	for _, test := range []struct {
		name string
		max  float64
		f    func()
	}{
		{"Session", 0, func() { h.Session(id) }},
		{"Len", 0, func() { h.Len() }},
		{"Attr.Get", 0, func() { nick.Get(s) }},
		{"User", 0, func() { s.User() }},
		{"Session.Send", 1, func() { s.Send(ctx, m) }},
		{"To.Send", 1, func() { h.To(id).Send(ctx, m) }},
	} {
		if raceEnabled && test.max > 0 {
			continue // the race detector makes pools forget
		}
		if got := testing.AllocsPerRun(1000, test.f); got > test.max {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.max)
		}
	}
}

// Whether anybody is there is not found out by looking at everybody.
func TestSendToEveryoneButOneIsCheap(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		var clients []*wshubtest.Client
		for range 200 {
			clients = append(clients, wshubtest.Dial(t, h.Handler(idle)))
		}
		synctest.Wait()
		var s *Session
		for s = range h.Sessions() {
			break
		}
		others := h.Everyone().Except(s)
		bad := Message{} // is refused after the look
		all := testing.AllocsPerRun(100, func() { h.Everyone().Send(t.Context(), bad) })
		if got := testing.AllocsPerRun(100, func() { others.Send(t.Context(), bad) }); got > all+5 { // a slice of 200 takes more
			t.Errorf("%v allocations, %v without the exception", got, all)
		}
		for _, c := range clients {
			c.Abort()
		}
	})
}
