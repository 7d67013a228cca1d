package wshub_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// byPath makes the request's path the user, "/" none.
var byPath = wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
	return wshub.Identity{User: strings.TrimPrefix(r.URL.Path, "/")}, nil
})

// userSession returns a session of a user.
func userSession(t *testing.T, h *wshub.Hub, user string) (*wshub.Session, *wshubtest.Client) {
	t.Helper()
	ss, cc := sessions(t, h, 1, wshubtest.WithPath("/"+user))
	return ss[0], cc[0]
}

// end ends a session from its client's side.
func end(s *wshub.Session, c *wshubtest.Client) {
	c.Abort()
	<-s.Done()
}

const grace = 10 * time.Second

// graceRoom is a room of a hub with a grace on one node, its watcher, and a member.
type graceRoom struct {
	wshub.Topic[string]
	h *wshub.Hub
	w *wshub.Stream[wshub.PresenceEvent]
	s *wshub.Session
	c *wshubtest.Client
}

func newGraceRoom(t *testing.T) *graceRoom {
	t.Helper()
	h := newHub(t, byPath, wshub.WithPresence(5*time.Second, grace), wshub.WithMember(func(s *wshub.Session) any { return s.User() }))
	r := &graceRoom{h: h, Topic: newTopic[string](t, h, "room", wshub.Policy{})}
	r.s, r.c = userSession(t, h, "ann")
	join(t, r, r.s)
	r.w = r.Watch(t.Context())
	expect(t, r.w, wshub.PresenceList, r.s)
	return r
}

// present checks Present.
func present(t *testing.T, topic wshub.Topic[string], ss ...*wshub.Session) {
	t.Helper()
	got, err := topic.Present(t.Context())
	if err != nil || !slices.Equal(ids(got), idsOf(ss...)) {
		t.Errorf("present: %v, %v, want %v", got, err, idsOf(ss...))
	}
}

// The leave of a session that has ended is told when its user does not come back in time.
func TestGraceIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newGraceRoom(t)
		end(r.s, r.c)
		present(t, r.Topic)
		if n, err := r.Count(t.Context()); n != 0 || err != nil {
			t.Errorf("count %d, %v", n, err)
		}
		time.Sleep(grace - time.Nanosecond)
		expectQuiet(t, r.w)
		late := r.Watch(t.Context())
		expect(t, late, wshub.PresenceList, r.s) // who is told to leave later
		time.Sleep(time.Nanosecond)
		for _, w := range []*wshub.Stream[wshub.PresenceEvent]{r.w, late} {
			e := expect(t, w, wshub.PresenceLeft, r.s)
			if m := e.Members[0]; m.User != "ann" || string(m.Data) != `"ann"` || m.Node != r.h.Node() {
				t.Errorf("got %+v", m)
			}
			expectQuiet(t, w)
		}
		expect(t, r.Watch(t.Context()), wshub.PresenceList)
	})
}

// The leave is told right after the join of the user's next session, and for one session only.
func TestGraceComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newGraceRoom(t)
		second, c := userSession(t, r.h, "ann")
		join(t, r, second)
		expect(t, r.w, wshub.PresenceJoined, second)
		end(r.s, r.c)
		time.Sleep(time.Second)
		end(second, c)
		expectQuiet(t, r.w)

		other, _ := userSession(t, r.h, "bob")
		join(t, r, other)
		expect(t, r.w, wshub.PresenceJoined, other)
		expectQuiet(t, r.w)

		back, _ := userSession(t, r.h, "ann")
		expectQuiet(t, r.w) // it has not joined
		join(t, r, back)
		expect(t, r.w, wshub.PresenceJoined, back)
		expect(t, r.w, wshub.PresenceLeft, r.s) // the one that is held longest
		expectQuiet(t, r.w)
		present(t, r.Topic, other, back)

		time.Sleep(grace - 2*time.Second)
		expectQuiet(t, r.w)
		expect(t, r.Watch(t.Context()), wshub.PresenceList, second, other, back)
		time.Sleep(time.Second)
		expectQuiet(t, r.w)
		time.Sleep(time.Second)
		expect(t, r.w, wshub.PresenceLeft, second)
		time.Sleep(grace)
		expectQuiet(t, r.w)
	})
}

// Nothing is held of a session that leaves and goes on, nor of one without a user.
func TestGraceIsForUsersThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newGraceRoom(t)
		if err := r.Leave(r.s); err != nil {
			t.Fatal(err)
		}
		expect(t, r.w, wshub.PresenceLeft, r.s)
		join(t, r, r.s)
		expect(t, r.w, wshub.PresenceJoined, r.s)
		r.s.LeaveAll()
		expect(t, r.w, wshub.PresenceLeft, r.s)

		nobody, c := userSession(t, r.h, "")
		join(t, r, nobody)
		expect(t, r.w, wshub.PresenceJoined, nobody)
		end(nobody, c)
		expect(t, r.w, wshub.PresenceLeft, nobody)
		time.Sleep(2 * grace)
		expectQuiet(t, r.w)
	})
}

// A session that is closing and leaves by itself, as a SessionFunc may have it do on its way out, has ended too. If it
// joins once more it was never away.
func TestGraceOnTheWayOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newGraceRoom(t)
		arrived, proceed := make(chan *wshub.Session), make(chan struct{})
		c := wshubtest.Dial(t, r.h.Handler(func(ctx context.Context, s *wshub.Session) error {
			join(t, r, s)
			defer r.Leave(s)
			arrived <- s
			for range s.Messages() {
			}
			r.Leave(s)
			arrived <- s
			<-proceed
			if err := r.Join(ctx, s); err != nil {
				t.Error(err)
			}
			return nil
		}), wshubtest.WithPath("/bob"))
		s := <-arrived
		expect(t, r.w, wshub.PresenceJoined, s)
		c.SendFrame(true, wshubtest.OpClose, []byte{1000 >> 8, 1000 & 0xff})
		<-arrived
		present(t, r.Topic, r.s)
		proceed <- struct{}{}
		<-s.Done()
		expectQuiet(t, r.w)
		time.Sleep(grace)
		expect(t, r.w, wshub.PresenceLeft, s)
		expectQuiet(t, r.w)
	})
}

// What is held goes with the last watcher, and those of a list that was never held are not told.
func TestGraceGoesWithItsWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newGraceRoom(t)
		end(r.s, r.c)
		r.w.Close()
		synctest.Wait()
		w := r.Watch(t.Context())
		expect(t, w, wshub.PresenceList)
		time.Sleep(2 * grace)
		expectQuiet(t, w)
	})
}

// Many that have ended at once are told together, each user's return takes one of them.
func TestGraceOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newGraceRoom(t)
		const n = 50
		var ss []*wshub.Session
		var cc []*wshubtest.Client
		for i := range n {
			s, c := userSession(t, r.h, fmt.Sprint("user", i%5))
			join(t, r, s)
			expect(t, r.w, wshub.PresenceJoined, s)
			ss, cc = append(ss, s), append(cc, c)
		}
		for i := range n {
			end(ss[i], cc[i])
		}
		for i := range 5 {
			s, _ := userSession(t, r.h, fmt.Sprint("user", i))
			join(t, r, s)
			expect(t, r.w, wshub.PresenceJoined, s)
			expect(t, r.w, wshub.PresenceLeft, ss[i])
		}
		time.Sleep(grace)
		expect(t, r.w, wshub.PresenceLeft, ss[5:]...)
		expectQuiet(t, r.w)
	})
}
