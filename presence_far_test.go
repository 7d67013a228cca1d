package wshub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/mesh"
	"github.com/wshub-go/wshub/wshubtest"
)

// farRoom is the attendance of a topic as the cluster tells it: by calls of the test, without a bus.
type farRoom struct {
	*attendance
	stream *Stream[PresenceEvent]
	known  map[string]Member // by the list and the changes after it
}

func newFarRoom(t *testing.T, grace time.Duration) *farRoom {
	t.Helper()
	h := newHub(t, WithPresence(time.Second, grace))
	topic, err := NewTopic[string](h, "room", Policy{})
	if err != nil {
		t.Fatal(err)
	}
	r := &farRoom{attendance: topic.st.attendance(), stream: topic.Watch(context.Background())}
	r.far = map[string]farMember{}
	t.Cleanup(func() {
		r.far = nil // there is nobody to be told
		r.stream.Close()
	})
	r.take(t)
	return r
}

// take takes all events there are.
func (r *farRoom) take(t *testing.T) (kinds []PresenceKind) {
	t.Helper()
	for {
		synctest.Wait()
		select {
		case e := <-r.stream.C():
			kinds = append(kinds, e.Kind)
			if e.Kind == PresenceList {
				r.known = map[string]Member{}
			} else if len(e.Members) == 0 {
				t.Errorf("%v: nobody", e.Kind)
			}
			for _, m := range e.Members {
				if _, there := r.known[m.Session]; there != (e.Kind == PresenceLeft) {
					t.Errorf("%v %+v, there: %v", e.Kind, m, there)
				}
				if e.Kind == PresenceLeft {
					delete(r.known, m.Session)
				} else {
					r.known[m.Session] = m
				}
			}
		default:
			return kinds
		}
	}
}

func (r *farRoom) sessions() []string { return slices.Sorted(maps.Keys(r.known)) }

func member(session, user string) mesh.Member { return mesh.Member{Session: session, User: user} }

// Whatever other nodes say, in whatever order, the changes add up.
func TestFarMembersAddUp(t *testing.T) {
	for seed := range uint64(60) {
		in(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			grace := time.Duration(rng.IntN(2)) * 10 * time.Second
			r := newFarRoom(t, grace)
			truth := [4]map[string]mesh.Member{{}, {}, {}, {}}
			name := func() string { return fmt.Sprint("s", rng.IntN(40)) }
			user := func() string { return strings.Repeat("u", rng.IntN(4)) }
			for range 600 {
				of := mesh.Origin(1 + rng.IntN(len(truth)-1))
				switch rng.IntN(12) {
				case 0:
					clear(truth[of])
					list := make([]mesh.Member, rng.IntN(6))
					for i := range list {
						list[i] = member(name(), user())
					}
					for _, m := range list {
						for _, other := range truth { // a session is on one node
							delete(other, m.Session)
						}
						truth[of][m.Session] = m
					}
					r.membersAre(of, "n", list)
				case 1:
					clear(truth[of])
					r.membersGone(of)
				case 2, 3, 4, 5, 6:
					m := member(name(), user())
					for _, other := range truth {
						delete(other, m.Session)
					}
					truth[of][m.Session] = m
					r.memberChanged(of, memberOf("n", m), true, false)
				case 7, 8, 9:
					m := member(name(), user())
					delete(truth[of], m.Session)
					r.memberChanged(of, memberOf("n", m), false, rng.IntN(2) == 0)
				case 10:
					time.Sleep(time.Duration(rng.Int64N(int64(5 * time.Second))))
				case 11:
					r.take(t)
				}
			}
			var want []string
			for _, x := range truth {
				want = slices.AppendSeq(want, maps.Keys(x))
			}
			slices.Sort(want)
			list, err := (Topic[string]{r.st}).Present(t.Context())
			var got []string
			for _, m := range list {
				got = append(got, m.Session)
			}
			if slices.Sort(got); err != nil || !slices.Equal(got, want) {
				t.Errorf("present %v, %v, want %v", got, err, want)
			}
			r.take(t)
			if time.Sleep(grace); grace > 0 {
				r.take(t)
			}
			if got := r.sessions(); !slices.Equal(got, want) {
				t.Errorf("watched %v, want %v", got, want)
			}
			if x := r.held; x != nil && (x.all.Len() > 0 || len(x.bySession) > 0 || len(x.byUser) > 0) {
				t.Errorf("held are %d, %d sessions, %d users", x.all.Len(), len(x.bySession), len(x.byUser))
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// A node that comes, goes, or is heard of again after a gap is one event of each kind, joins first.
func TestFarMembersTogether(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newFarRoom(t, 10*time.Second)
		r.membersAre(1, "n1", []mesh.Member{member("s1", "ann"), member("s2", "bob"), member("s3", "")})
		if kinds := r.take(t); !slices.Equal(kinds, []PresenceKind{PresenceJoined}) {
			t.Errorf("came: %v", kinds)
		}
		r.membersAre(1, "n1", []mesh.Member{member("s2", "bob"), member("s4", "ann")})
		if kinds := r.take(t); !slices.Equal(kinds, []PresenceKind{PresenceJoined, PresenceLeft}) || len(r.known) != 2 {
			t.Errorf("changed: %v, %v", kinds, r.known)
		}
		r.membersGone(1)
		if kinds := r.take(t); len(kinds) > 0 {
			t.Errorf("gone: %v", kinds)
		}
		r.membersAre(2, "n1", []mesh.Member{member("s5", "ann"), member("s6", "bob"), member("s7", "cid")})
		if kinds := r.take(t); !slices.Equal(kinds, []PresenceKind{PresenceJoined, PresenceLeft}) || !slices.Equal(r.sessions(), []string{"s5", "s6", "s7"}) {
			t.Errorf("back: %v, %v", kinds, r.known)
		}
		for _, m := range r.known {
			if m.Node != "n1" {
				t.Errorf("%+v", m)
			}
		}
		r.membersAre(2, "n1", []mesh.Member{member("s5", "ann"), member("s6", "bob"), member("s7", "cid")})
		if kinds := r.take(t); len(kinds) > 0 {
			t.Errorf("the same: %v", kinds)
		}
	})
}

// What other nodes send may be anything.
func TestFarMembersAreChecked(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newFarRoom(t, 0)
		ours := arrive(t, r.st.hub)
		for _, m := range []mesh.Member{
			{Session: "fine", Data: []byte(`{"a":1}`)},
			{Session: "none"},
			{Session: "null", Data: []byte("null")},
			{Session: "empty", Data: []byte{}},
			{Session: "no JSON", Data: []byte(`{"a"`)},
			{Session: "no UTF-8", Data: []byte("\"\xff\"")},
			{Session: "long", Data: []byte(`"` + strings.Repeat("x", maxMemberData) + `"`)},
			{Session: ours.ID(), Data: []byte("1")},
			{},
		} {
			r.memberChanged(1, memberOf("n", m), true, false)
		}
		r.take(t)
		want := map[string]string{"fine": `{"a":1}`, "none": "", "null": "null", "empty": "", "no JSON": "", "no UTF-8": "", "long": ""}
		for name, m := range r.known {
			if data, ok := want[name]; !ok || string(m.Data) != data {
				t.Errorf("%+v, want %q", m, data)
			}
			if b, err := json.Marshal(m); err != nil || (m.Data == nil) != !strings.Contains(string(b), "data") {
				t.Errorf("%s, %v", b, err)
			}
		}
		if len(r.known) != len(want) {
			t.Errorf("got %v", r.sessions())
		}
	})
}

// That a list is due twice, as when a topic is watched again in the midst of it, gives nobody a second one.
func TestFarListOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newFarRoom(t, 0)
		r.ready()
		if kinds := r.take(t); len(kinds) > 0 {
			t.Errorf("got %v", kinds)
		}
	})
}

// arrive returns a new session of h, which stays.
func arrive(t *testing.T, h *Hub) *Session {
	t.Helper()
	arrived := make(chan *Session, 1)
	wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
		arrived <- s
		return idle(ctx, s)
	}))
	return <-arrived
}

// A change that a list here has already is told to other nodes all the same: theirs may not.
func TestChangeIsListedHereAndToldThere(t *testing.T) {
	in(t, func(t *testing.T) {
		broker := cluster.NewMemory()
		defer broker.Close()
		var topics [2]Topic[string]
		for i := range topics {
			h := newHub(t, WithBus(broker.Bus()), WithLogger(nil))
			var err error
			if topics[i], err = NewTopic[string](h, "room", Policy{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute) // they know each other
		st := topics[0].st
		s := arrive(t, st.hub)
		there := topics[1].Watch(t.Context())
		if e := <-there.C(); len(e.Members) != 0 {
			t.Errorf("got %+v", e)
		}
		for _, kind := range []PresenceKind{PresenceJoined, PresenceLeft} {
			want := 0
			if kind == PresenceJoined {
				want = 1
				if _, err := st.open().Join(s.sub, st.def.rule, nil, 0); err != nil {
					t.Fatal(err)
				}
			} else {
				st.member(s).Leave()
			}
			here := topics[0].Watch(t.Context())
			if e := <-here.C(); len(e.Members) != want {
				t.Errorf("got %+v", e)
			}
			st.tell(kind, s, nil, false)
			if e := <-there.C(); e.Kind != kind || e.Members[0].Session != s.ID() {
				t.Errorf("got %+v", e)
			}
			synctest.Wait()
			select {
			case e := <-here.C():
				t.Errorf("got %+v", e)
			default:
			}
			here.Close()
		}
		st.vacate()

		// When nobody watches any more nothing is kept, and nobody is told.
		there.Close()
		time.Sleep(time.Minute)
		if st.hub.mesh.Watched("room") {
			t.Error("still watched")
		}
		for i := range topics {
			if a := topics[i].st.present.Load(); a.far != nil || a.held != nil || a.in != nil || a.log != nil || a.told.Load() {
				t.Errorf("kept: %+v", a.in)
			}
		}
		if err := st.hub.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if list, err := topics[0].Present(t.Context()); len(list) > 0 || !errors.Is(err, ErrClosed) {
			t.Errorf("of a closed hub: %v, %v", list, err)
		}
	})
}

// Somebody on another node begins to watch, and gets the list, after a change has looked whether anybody does and before
// it is in the list: the change tells him.
func TestChangeBesideFarList(t *testing.T) {
	for _, watched := range []bool{false, true} { // here
		in(t, func(t *testing.T) {
			memory := cluster.NewMemory()
			t.Cleanup(memory.Close)
			var topics []Topic[string]
			for _, node := range []string{"a", "b"} {
				opts := []Option{WithNode(node), WithBus(memory.Connect(node))}
				if !watched {
					opts = append(opts, WithMember(func(*Session) any { return node }))
				}
				topic, err := NewTopic[string](newHub(t, opts...), "room", Policy{})
				if err != nil {
					t.Fatal(err)
				}
				topics = append(topics, topic)
			}
			time.Sleep(time.Minute) // they know each other
			st := topics[0].st
			s := arrive(t, st.hub)
			if watched {
				here := topics[0].Watch(t.Context())
				defer here.Close()
				<-here.C()
			}
			for _, kind := range []PresenceKind{PresenceJoined, PresenceLeft} {
				if kind == PresenceJoined {
					if _, err := st.open().Join(s.sub, st.def.rule, nil, 0); err != nil {
						t.Fatal(err)
					}
				} else {
					st.member(s).Leave()
				}
				there := topics[1].Watch(t.Context()) // tell has found that nobody does
				if e := <-there.C(); len(e.Members) > 0 != (kind == PresenceLeft) {
					t.Errorf("got %+v", e)
				}
				st.attendance().change(kind, s, nil, false)
				synctest.Wait()
				select {
				case e := <-there.C():
					if e.Kind != kind || e.Members[0].Session != s.ID() {
						t.Errorf("got %+v", e)
					}
				default:
					t.Errorf("not told that he has %v", kind)
				}
				there.Close()
				time.Sleep(time.Minute) // nobody watches any more
			}
			st.vacate()
		})
	}
}
