package wshub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/mesh"
	"github.com/wshub-go/wshub/wshubtest"
)

// farHub returns a hub with a bus that carries nothing.
func farHub(t *testing.T, opts ...Option) *Hub {
	t.Helper()
	m := cluster.NewMemory()
	t.Cleanup(m.Close)
	h, err := New(append([]Option{WithBus(m.Bus()), WithLogger(nil)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func mustTopic[T any](t *testing.T, h *Hub, name string, p Policy, opts ...TopicOption[T]) Topic[T] {
	t.Helper()
	topic, err := NewTopic(h, name, p, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// A bus that is being connected as the hub begins is no fault; that it cannot be is.
func TestBusStates(t *testing.T) {
	type states = []cluster.Status
	for name, test := range map[string]struct {
		states states
		events string
		lines  int
	}{
		"connects":       {states{{State: cluster.StateDown}, {State: cluster.StateUp}}, "up", 0},
		"is up":          {states{{State: cluster.StateUp}}, "up", 0},
		"does not come":  {states{{State: cluster.StateDown}, {State: cluster.StateDown, Err: errors.New("refused")}, {State: cluster.StateUp}}, "down up", 2},
		"goes and comes": {states{{State: cluster.StateUp}, {State: cluster.StateDown}, {State: cluster.StateUp}}, "up down up", 2},
		"is closed":      {states{{State: cluster.StateUp}, {State: cluster.StateClosed}}, "up closed", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				var events []string
				h := newMeshless(t, WithLogger(slog.New(slog.NewTextHandler(&log, nil))), WithObserver(Observer{Bus: func(e Event) { events = append(events, e.Name) }}))
				host := &meshHost{Hub: h}
				for _, s := range test.states {
					host.Bus(s)
					synctest.Wait()
				}
				if got := strings.Join(events, " "); got != test.events || strings.Count(log.String(), "\n") != test.lines {
					t.Errorf("told %q, want %q; logged, want %d lines: %s", got, test.events, test.lines, &log)
				}
			})
		})
	}
}

// newMeshless returns a hub without a bus.
func newMeshless(t *testing.T, opts ...Option) *Hub {
	t.Helper()
	h, err := New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// from is a value as another node sends it.
func from(origin mesh.Origin, number uint64, binary bool, data string) mesh.Value {
	return mesh.Value{Payload: mesh.Payload{Binary: binary, Data: []byte(data)}, Origin: origin, Epoch: 1, Number: number, Time: time.Now()}
}

// What no hub of this version would send is left out and counted, and harms nobody.
func TestPitfall32FarHostile(t *testing.T) {
	tests := map[string]struct {
		give giver
		bad  []mesh.Value
		good mesh.Value
	}{
		"string":  {kept[string](), []mesh.Value{from(1, 1, true, "x"), from(1, 2, false, "\xff")}, from(1, 3, false, "x")},
		"bytes":   {kept[[]byte](), []mesh.Value{from(1, 1, false, "x")}, from(1, 2, true, "\xff")},
		"message": {kept[Message](), []mesh.Value{from(1, 1, false, "\xff")}, from(1, 2, true, "\xff")},
		"json": {kept[farPoint](), []mesh.Value{
			from(1, 1, true, "{}"), from(1, 1, false, ""), from(1, 1, false, "{"), from(1, 1, false, `{"X":1}{}`), from(1, 1, false, `{"X":"1"}`),
		}, from(1, 2, false, `{"X":1,"Y":2}`)},
		"event": {kept(AsEvent[farPoint]("moved")), []mesh.Value{
			from(1, 1, false, `{"X":1}`), from(1, 1, false, `{"event":"moved","topic":"other","data":{}}`),
			from(1, 1, false, `{"event":"other","topic":"room","data":{}}`), from(1, 1, false, `{"event":"moved","topic":"room"}`),
			from(1, 1, false, `{"event":"moved","topic":"room","data":[]}`), from(1, 1, true, `{"event":"moved","topic":"room","data":{}}`),
		}, from(1, 2, false, `{"event":"moved","topic":"room","data":{}}`)},
		"panicking codec": {kept(WithCodec[farPoint](panicky{})),
			[]mesh.Value{from(1, 1, false, "panic"), from(1, 1, true, "error")}, from(1, 1, true, "good")},
		"key": {kept(KeyBy(func(p farPoint) [1]int {
			if p.X == 7 {
				panic("seven")
			}
			return [1]int{p.X}
		})), []mesh.Value{from(1, 1, false, "{"), from(1, 1, false, `{"X":7}`)}, from(1, 1, false, `{}`)},
		"key that is not equal to itself": {kept(KeyBy(func(p farPoint) [1]float64 { return [1]float64{math.NaN()} })), []mesh.Value{from(1, 1, false, `{"X":0}`)}, mesh.Value{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := farHub(t)
				f, kept := tt.give(t, h)
				for i, v := range tt.bad {
					f.Receive(v)
					synctest.Wait()
					if k, n := kept(), h.Stats().Bus.Invalid; n != uint64(i+1) || k != 0 {
						t.Errorf("%q: %d are invalid, %d are kept", v.Data, n, k)
					}
				}
				if tt.good.Data == nil {
					return
				}
				f.Receive(tt.good)
				synctest.Wait()
				if k, n := kept(), h.Stats().Bus.Invalid; n != uint64(len(tt.bad)) || k != 1 {
					t.Errorf("the good one: %d are invalid, %d are kept", n, k)
				}
			})
		})
	}
}

type farPoint struct{ X int }

// giver makes a topic, and says how many values it has kept that can be read.
type giver func(t *testing.T, h *Hub) (f *farTopic, kept func() int)

func kept[T any](opts ...TopicOption[T]) giver {
	return func(t *testing.T, h *Hub) (*farTopic, func() int) {
		topic := mustTopic(t, h, "room", History(100, 0), opts...)
		topic.st.open()
		return topic.st.far, func() int { return len(slices.Collect(topic.Snapshot())) }
	}
}

type panicky struct{}

func (panicky) Append(dst []byte, _ farPoint) ([]byte, Kind, error) { return dst, KindText, nil }

func (panicky) Decode(m Message) (farPoint, error) {
	switch string(m.Data) {
	case "panic":
		panic("hostile")
	case "error":
		return farPoint{}, errors.New("hostile")
	}
	return farPoint{1}, nil
}

// What another node asks for is checked as what a program asks for.
func TestFarHostileOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := farHub(t)
		sessions := make(chan *Session, 1)
		wshubtest.Dial(t, handlerFunc(func(s *Session, err error) { sessions <- s }, h))
		s := <-sessions
		x := &meshHost{Hub: h}
		to := mesh.To{Kind: mesh.ToSession, ID: s.ID()}
		x.Deliver(to, mesh.Payload{Data: []byte("\xff")})
		for _, code := range []uint16{0, 999, 1005, 1006, 1015, 2000, 65535} {
			x.Kick(to, code, "")
		}
		x.Kick(to, 4000, "\xff")
		for _, kind := range []mesh.ToKind{0, mesh.ToSession, 99} {
			x.Deliver(mesh.To{Kind: kind}, mesh.Payload{})
			x.Kick(mesh.To{Kind: kind}, 4000, "")
			x.Leave(mesh.To{Kind: kind}, "room")
		}
		x.Leave(to, "\xff")
		x.Leave(mesh.To{Kind: mesh.ToUser}, "")
		synctest.Wait()
		if n := h.Stats().Bus.Invalid; n != 9 || s.ended() {
			t.Errorf("%d are invalid, ended: %v", n, s.ended())
		}
		x.Kick(to, 4000, strings.Repeat("ü", 200))
		synctest.Wait()
		if !s.ended() {
			t.Error("it was not closed")
		}
	})
}

// A value is decoded at most once, and only when somebody wants it.
func TestFarDecodesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := farHub(t)
		decoded := 0
		topic := mustTopic(t, h, "room", History(10, 0), WithCodec[string](counting{&decoded}))
		topic.st.open()
		topic.st.far.Receive(from(1, 1, false, "one"))
		synctest.Wait()
		if decoded != 0 {
			t.Errorf("decoded %d times for nobody", decoded)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all []<-chan string
		for range 10 {
			all = append(all, topic.With(Replay(5)).Where(func(s string) bool { return s != "" }).Stream(ctx))
		}
		topic.st.far.Receive(from(1, 2, false, "two"))
		for _, s := range all {
			if a, b := <-s, <-s; a != "one" || b != "two" {
				t.Errorf("got %q, %q", a, b)
			}
		}
		if decoded != 2 {
			t.Errorf("2 values were decoded %d times", decoded)
		}
	})
}

type counting struct{ n *int }

func (counting) Append(dst []byte, s string) ([]byte, Kind, error) {
	return append(dst, s...), KindText, nil
}

func (c counting) Decode(m Message) (string, error) {
	*c.n++
	return m.Text(), nil
}

// Values for which the log has no room wait in line, in order, and nobody else waits for them; what the line has no room for
// is a gap that is told.
func TestPitfall34SlowNode(t *testing.T) {
	const pending = 8
	synctest.Test(t, func(t *testing.T) {
		var gaps []string
		h := farHub(t, WithLimits(Limits{Pending: pending}), WithPolicy(Evict(pending, time.Hour)), WithObserver(Observer{
			Gap: func(e Event) { gaps = append(gaps, fmt.Sprintf("%s %d-%d %d", e.Topic, e.From, e.To, e.N)) },
		}))
		topic := mustTopic[string](t, h, "room", Policy{})
		s := topic.Subscribe(t.Context()) // nobody reads
		synctest.Wait()
		const n = 100
		for i := range n {
			topic.st.far.Receive(from(mesh.Origin(1+i%2), uint64(1+i/2), false, fmt.Sprint(i)))
			synctest.Wait()
		}
		synctest.Wait()
		other := mustTopic[string](t, h, "other", Policy{})
		quick := other.Subscribe(t.Context())
		other.st.far.Receive(from(1, 1, false, "quick"))
		if v := <-quick.C(); v != "quick" {
			t.Errorf("got %q", v)
		}
		var got []int
		for v := range s.C() {
			var i int
			fmt.Sscan(v, &i)
			got = append(got, i)
			synctest.Wait()
			if s.Lag() == 0 {
				s.Close()
			}
		}
		if len(got) < 2*pending || len(got) > 2*pending+3 || !slices.IsSorted(got) || got[len(got)-1] != len(got)-1 {
			t.Errorf("got %v", got)
		}
		synctest.Wait()
		stats := h.Stats().Bus
		if stats.Missing != uint64(n-len(got)) || len(gaps) != int(stats.Gaps) || len(gaps) != 2 {
			t.Errorf("got %d, %d are missing in %d gaps, told as %q", len(got), stats.Missing, stats.Gaps, gaps)
		}
		for _, g := range gaps {
			if !strings.HasPrefix(g, "room ") || !strings.Contains(g, "-50 ") {
				t.Errorf("told %q", g)
			}
		}
	})
}

// Values that wait when the hub ends keep nobody.
func TestFarFullAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := farHub(t, WithLimits(Limits{Pending: 4}), WithPolicy(Evict(4, time.Hour)))
		topic := mustTopic[string](t, h, "room", Policy{})
		topic.Subscribe(t.Context())
		for i := range 8 {
			topic.st.far.Receive(from(1, uint64(i+1), false, "x"))
		}
		synctest.Wait()
	})
}

// Keys come back as they were, and only as keys of their type.
func TestKeyWire(t *testing.T) {
	type name string
	type level int8
	roundTrip(t, "", "a", "fifteen bytes !", "ä\x00\xff")
	roundTrip(t, name("x"))
	roundTrip(t, true, false)
	roundTrip(t, 0, 1, -1, math.MaxInt, math.MinInt)
	roundTrip(t, level(-128), level(127))
	roundTrip[int16](t, math.MinInt16, math.MaxInt16)
	roundTrip[int32](t, math.MinInt32)
	roundTrip[rune](t, 'ä')
	roundTrip[int64](t, math.MinInt64, math.MaxInt64)
	roundTrip[uint](t, 0, math.MaxUint)
	roundTrip[uint8](t, 255)
	roundTrip[uint16](t, 65535)
	roundTrip[uint32](t, math.MaxUint32)
	roundTrip[uint64](t, math.MaxUint64)
	if out, _ := keyWire[string](); out(strings.Repeat("x", 16)) != nil {
		t.Error("a string of 16 bytes travels")
	}
	_, int8In := keyWire[int8]()
	_, uint8In := keyWire[uint8]()
	_, boolIn := keyWire[bool]()
	_, stringIn := keyWire[string]()
	outInt, _ := keyWire[int]()
	outUint, _ := keyWire[uint]()
	for _, bad := range []any{
		int8In(outInt(128)), int8In(outInt(-129)), int8In(outUint(uint(1))), int8In(nil), int8In([]byte{'i'}), int8In(append(outInt(1), 0)),
		uint8In(outUint(uint(256))), uint8In(outInt(1)), uint8In([]byte{'u', 0}), boolIn([]byte{'b', 2}), boolIn([]byte{'b'}), boolIn(nil),
		stringIn(nil), stringIn(outInt(1)),
	} {
		if bad != nil {
			t.Errorf("%v is a key", bad)
		}
	}
	for _, out := range []func(any) []byte{first(keyWire[float64]()), first(keyWire[any]()), first(keyWire[[2]int]()), first(keyWire[*int]()), first(keyWire[uintptr]())} {
		if out != nil {
			t.Error("a key travels that should not")
		}
	}
}

func first[A, B any](a A, _ B) A { return a }

func roundTrip[K comparable](t *testing.T, keys ...K) {
	t.Helper()
	out, in := keyWire[K]()
	for _, k := range keys {
		b := out(k)
		if got := in(b); len(b) > mesh.MaxKey || got != any(k) || reflect.TypeOf(got) != reflect.TypeFor[K]() {
			t.Errorf("%T %v comes back as %T %v, of %d bytes", k, k, got, got, len(b))
		}
	}
}

// Decoding never panics, whatever the bytes, and what one node has encoded another decodes.
func FuzzFarEvent(f *testing.F) {
	f.Add([]byte(`{"event":"moved","topic":"room","data":{"X":1}}`))
	f.Add([]byte(`{"event":"moved","Topic":"room","data":{"X":1},"DATA":1}`))
	f.Add([]byte("\xff"))
	st := &topicState{name: "room", def: &definition{event: "moved"}}
	decode := decodeEvent[farPoint]()
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := decode(st, Message{Kind: KindText, Data: data})
		if err != nil {
			if !errors.Is(err, ErrDecode) {
				t.Errorf("%v", err)
			}
			return
		}
		if !json.Valid(data) || v.(*farPoint) == nil {
			t.Errorf("%q is decoded", data)
		}
	})
}

// A topic that is looked at, whether it can vanish, takes what comes in meanwhile into its history.
func TestFarHistoryBesideVacate(t *testing.T) {
	const n = 20000
	h := farHub(t)
	topic := mustTopic[string](t, h, "room", History(n, 0))
	f := topic.st.far
	f.Receive(from(1, 1, false, "first")) // nobody wants it yet
	topic.st.open()
	f.Receive(from(1, 2, false, "kept"))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				topic.st.vacate()
			}
		}
	}()
	for i := range n - 1 {
		f.Receive(from(1, uint64(3+i), false, "x"))
	}
	close(stop)
	<-stopped
	if got := len(slices.Collect(topic.Snapshot())); got != n {
		t.Errorf("%d of %d are kept", got, n)
	}
}
