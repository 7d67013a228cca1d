package wshub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
)

// A value comes once to each member on every node, in order, and to those nodes only that have one. A message has at most 64
// bytes more than its payload.
func TestClusterPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 3)
		room := topics[string](t, hubs, "room", wshub.Policy{})
		s1, c1 := sessions(t, hubs[0], 2)
		s2, c2 := sessions(t, hubs[1], 2)
		_, c3 := client(t, hubs[2])
		join(t, room[0], s1...)
		join(t, room[1], s2...)
		values := counted(1, 500)
		publish(t, room[0], values...)
		for _, c := range append(c1, c2...) {
			for _, v := range values {
				c.ExpectText(v)
			}
			c.ExpectNothing()
		}
		publish(t, room[2], "from one who has nobody")
		for _, c := range append(c1, c2...) {
			c.ExpectText("from one who has nobody")
		}
		c3.ExpectNothing()

		payload := len(strings.Join(values, ""))
		sent := m.Published("n1", "wshub.t.room")
		if sent.Messages != 500 || sent.Bytes > uint64(payload+64*500) {
			t.Errorf("%d messages of %d bytes were published for 500 values of %d", sent.Messages, sent.Bytes, payload)
		}
		for name, want := range map[string]uint64{"n1": 1, "n2": 501, "n3": 0} {
			if got := m.Delivered(name, "wshub.t.room").Messages; got != want {
				t.Errorf("%s got %d messages of the topic, want %d", name, got, want)
			}
		}
		for i, h := range hubs {
			s := h.Stats()
			if s.Bus.Gaps+s.Bus.Invalid+s.Bus.Repeated+s.Bus.Failed > 0 {
				t.Errorf("n%d: %+v", i+1, s.Bus)
			}
		}
		if a := room[1].Stats(); a.Offered != 2*501 || a.Sent != 2*501 {
			t.Errorf("the account on n2 is %+v", a)
		}
		if a := room[2].Stats(); a != (wshub.Tally{}) {
			t.Errorf("the account on n3, where nobody was, is %+v", a)
		}
	})
}

// A topic is listened to while it has a member, a stream or a history, and for a while after; a join is complete when the
// bus listens.
func TestClusterInterest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 2)
		room := topics[string](t, hubs, "room", wshub.Policy{})
		listens := func(want bool) {
			t.Helper()
			if got := slices.Contains(m.Subscribers("wshub.t.room"), "n2"); got != want {
				t.Errorf("n2 listens: %v, want %v", got, want)
			}
		}
		listens(false)
		s, c := client(t, hubs[1])
		for range 3 { // pages that are loaded again
			join(t, room[1], s)
			listens(true)
			publish(t, room[0], "hi")
			c.ExpectText("hi")
			if err := room[1].Leave(s); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			listens(true)
			publish(t, room[0], "to nobody")
			synctest.Wait()
		}
		c.ExpectNothing()
		if got := m.Stats().Subjects; got != 5 {
			t.Errorf("%d subjects, want those of all, of control, of both nodes, of the topic", got)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		listens(false)

		ctx, cancel := context.WithCancel(t.Context())
		stream := room[1].Stream(ctx)
		listens(true)
		publish(t, room[0], "streamed")
		if v := <-stream; v != "streamed" {
			t.Errorf("got %q", v)
		}
		cancel()
		for range stream {
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		listens(false)

		kept := topics[string](t, hubs, "kept", wshub.History(10, time.Minute))
		publish(t, kept[1], "one")
		synctest.Wait()
		if !slices.Contains(m.Subscribers("wshub.t.kept"), "n2") {
			t.Error("a topic with history is not listened to")
		}
		publish(t, kept[0], "two")
		synctest.Wait()
		if got := slices.Collect(kept[1].Snapshot()); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("the history is %q", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if slices.Contains(m.Subscribers("wshub.t.kept"), "n2") {
			t.Error("a topic without history is still listened to")
		}
	})
}

// Except takes sessions of this node away, wherever the rest is; Only means nobody elsewhere.
func TestClusterTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 2)
		room := topics[string](t, hubs, "room", wshub.Policy{})
		s1, c1 := sessions(t, hubs[0], 2)
		s2, c2 := sessions(t, hubs[1], 1)
		join(t, room[0], s1...)
		join(t, room[1], s2...)
		publish(t, room[0].Except(s1[0]), "except")
		c1[1].ExpectText("except")
		c2[0].ExpectText("except")
		publish(t, room[0].Except(s2[0]), "except a foreign one")
		for _, c := range append(c1, c2...) {
			c.ExpectText("except a foreign one")
		}
		before := m.Published("n1", "")
		publish(t, room[0].Only(s1[0]), "only")
		c1[0].ExpectText("only")
		for _, c := range append(c1, c2...) {
			c.ExpectNothing()
		}
		if got := m.Published("n1", "wshub.t.room").Messages; got != 2 {
			t.Errorf("%d messages were published, %v before", got, before)
		}
	})
}

// Values of every kind of topic come out at streams of another node as they went in.
func TestClusterTypes(t *testing.T) {
	type point struct{ X, Y int }
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 2)
		crosses(t, hubs, "string", []string{"", "ä", "long " + strings.Repeat("x", 1<<16)})
		crosses(t, hubs, "bytes", [][]byte{{0xff, 0}, []byte("text")})
		crosses(t, hubs, "struct", []point{{1, 2}, {}})
		crosses(t, hubs, "pointer", []*point{{1, 2}})
		crosses(t, hubs, "any", []any{nil, "x", 1.5, map[string]any{"a": true}})
		crosses(t, hubs, "raw", []json.RawMessage{json.RawMessage(`{"a":1}`)})
		crosses(t, hubs, "message", []wshub.Message{wshub.Text("t"), wshub.Binary([]byte{0xff})})
		crosses(t, hubs, "event", []point{{1, 2}}, wshub.AsEvent[point]("moved"))
		crosses(t, hubs, "event/string", []string{"a", `"`}, wshub.AsEvent[string]("said"))
		crosses(t, hubs, "event/bytes", [][]byte{{0xff}}, wshub.AsEvent[[]byte]("said"))
		crosses(t, hubs, "event/message", []wshub.Message{wshub.Text(`{"a":[1]}`)}, wshub.AsEvent[wshub.Message]("said"))
		crosses(t, hubs, "codec", []point{{1, 2}, {3, 4}}, wshub.WithCodec[point](pointCodec[point]{}))
		crosses(t, hubs, " ü.*>_\x00", []string{"odd names"})
		if n := m.Delivered("n2", "").Messages; n == 0 {
			t.Error("nothing crossed")
		}
		for _, h := range hubs {
			if n := h.Stats().Bus.Invalid; n != 0 {
				t.Errorf("%d values are invalid", n)
			}
		}
	})
}

// crosses checks that values come out at a stream, at a session with a filter, and in the history of another node.
func crosses[T any](t *testing.T, hubs []*wshub.Hub, name string, values []T, opts ...wshub.TopicOption[T]) {
	t.Helper()
	all := topics(t, hubs, name, wshub.History(100, 0), opts...)
	here, there := all[0].Subscribe(t.Context()), all[1].Subscribe(t.Context())
	defer here.Close()
	defer there.Close()
	s, c := client(t, hubs[1])
	var admitted int
	join(t, all[1].Where(func(v T) bool { admitted++; return fmt.Sprint(v) == fmt.Sprint(values[0]) }), s)
	for _, v := range values {
		publish(t, all[0], v)
		got, want := <-there.C(), <-here.C()
		if a, b := text(got), text(want); a != b || a != text(v) {
			t.Errorf("%s: %s went in, %s and %s came out", name, text(v), b, a)
		}
	}
	if _, ok := c.Next(); !ok {
		t.Errorf("%s: the filter admits nothing", name)
	}
	synctest.Wait()
	kept := slices.Collect(all[1].Snapshot())
	if len(kept) != len(values) || admitted != len(values) {
		t.Errorf("%s: %d values are kept, %d were seen by a filter, of %d", name, len(kept), admitted, len(values))
	}
	for i := range min(len(kept), len(values)) {
		if a, b := text(kept[i]), text(values[i]); a != b {
			t.Errorf("%s: %s is kept of %s", name, a, b)
		}
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	return fmt.Sprintf("%s %v", b, err)
}

// pointCodec writes values as binary messages.
type pointCodec[T any] struct{}

func (pointCodec[T]) Append(dst []byte, v T) ([]byte, wshub.Kind, error) {
	b, err := json.Marshal(v)
	return append(append(dst, 0xff), b...), wshub.KindBinary, err
}

func (pointCodec[T]) Decode(m wshub.Message) (v T, err error) {
	if len(m.Data) == 0 || m.Data[0] != 0xff {
		return v, errors.New("no point")
	}
	return v, json.Unmarshal(m.Data[1:], &v)
}

// oneWay is a codec that cannot decode.
type oneWay[T any] struct{}

func (oneWay[T]) Append(dst []byte, v T) ([]byte, wshub.Kind, error) {
	return pointCodec[T]{}.Append(dst, v)
}

// Keys of values of other nodes coalesce with those of this one: keys that travel, and keys that have to be decoded.
func TestClusterKeys(t *testing.T) {
	type name string
	type at struct {
		Row, Column int
	}
	type cell struct {
		Name  string
		Value int
	}
	synctest.Test(t, func(t *testing.T) {
		_, hubs := nodes(t, 2)
		coalesces(t, hubs, "string", wshub.KeyBy(func(c cell) string { return c.Name }))
		coalesces(t, hubs, "long", wshub.KeyBy(func(c cell) string { return "a key of more than 15 bytes " + c.Name }))
		coalesces(t, hubs, "edge", wshub.KeyBy(func(c cell) string { return "12345678901234" + c.Name }))
		coalesces(t, hubs, "named", wshub.KeyBy(func(c cell) name { return name(c.Name) }))
		coalesces(t, hubs, "bool", wshub.KeyBy(func(c cell) bool { return c.Name == "b" }))
		coalesces(t, hubs, "int", wshub.KeyBy(func(c cell) int { return -int(c.Name[0]) }))
		coalesces(t, hubs, "int8", wshub.KeyBy(func(c cell) int8 { return int8(c.Name[0]) }))
		coalesces(t, hubs, "uint64", wshub.KeyBy(func(c cell) uint64 { return 1<<63 + uint64(c.Name[0]) }))
		coalesces(t, hubs, "struct", wshub.KeyBy(func(c cell) at { return at{int(c.Name[0]), 2} }))
		coalesces(t, hubs, "array", wshub.KeyBy(func(c cell) [1]byte { return [1]byte{c.Name[0]} }))
		coalesces(t, hubs, "any", wshub.KeyBy(func(c cell) any { return c.Name }))
		for i, h := range hubs {
			if s := h.Stats().Bus; s.Invalid+s.Gaps > 0 {
				t.Errorf("n%d: %+v", i+1, s)
			}
		}
	})
}

func coalesces[C interface {
	~struct {
		Name  string
		Value int
	}
}](t *testing.T, hubs []*wshub.Hub, name string, key wshub.TopicOption[C]) {
	t.Helper()
	all := topics(t, hubs, name, wshub.Compose(wshub.Coalesce(), wshub.FlushEvery(time.Second), wshub.History(10, 0)), key)
	s := all[1].Subscribe(t.Context())
	defer s.Close()
	synctest.Wait()
	for i := range 5 {
		for _, k := range []string{"a", "b"} {
			publish(t, all[i%2], C(struct {
				Name  string
				Value int
			}{k, i}))
			synctest.Wait()
		}
	}
	time.Sleep(2 * time.Second)
	synctest.Wait()
	got := []string{text(<-s.C()), text(<-s.C())}
	want := []string{text(C(struct {
		Name  string
		Value int
	}{"a", 4})), text(C(struct {
		Name  string
		Value int
	}{"b", 4}))}
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q came out, want %q", name, got, want)
	}
	synctest.Wait() // until the second one counts as sent
	if a := s.Stats(); a.Offered != 10 || a.Coalesced != 8 || a.Sent != 2 {
		t.Errorf("%s: the account is %+v", name, a)
	}
	for _, topic := range all {
		if n := len(slices.Collect(topic.Snapshot())); n != 2 {
			t.Errorf("%s: the history has %d values", name, n)
		}
	}
}

// Without Decode a codec serves the sessions of all nodes; what would need the values says so.
func TestClusterNoDecode(t *testing.T) {
	type point struct{ X, Y int }
	synctest.Test(t, func(t *testing.T) {
		_, hubs := nodes(t, 2)
		codec := wshub.WithCodec[point](oneWay[point]{})
		all := topics(t, hubs, "points", wshub.History(5, 0), codec, wshub.KeyBy(func(p point) int { return p.X }))
		s, c := client(t, hubs[1])
		join(t, all[1], s)
		publish(t, all[0], point{1, 2})
		synctest.Wait()
		publish(t, all[1], point{3, 4})
		c.ExpectBinary([]byte("\xff" + `{"X":1,"Y":2}`))
		c.ExpectBinary([]byte("\xff" + `{"X":3,"Y":4}`))
		if got := slices.Collect(all[1].Snapshot()); !slices.Equal(got, []point{{3, 4}}) {
			t.Errorf("the history of what can be read is %v", got)
		}
		other, _ := client(t, hubs[1])
		even := all[1].Where(func(p point) bool { return p.X%2 == 0 })
		stream := all[1].Subscribe(t.Context())
		<-stream.C()
		for what, err := range map[string]error{
			"stream": stream.Err(), "join": even.Join(t.Context(), other), "update": even.Update(t.Context(), s),
		} {
			if !errors.Is(err, wshub.ErrNoDecode) {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err := wshub.NewTopic(hubs[0], "structs", wshub.Policy{}, codec, wshub.KeyBy(func(p point) point { return p }))
		if !errors.Is(err, wshub.ErrNoDecode) || !strings.Contains(err.Error(), "KeyBy") {
			t.Errorf("a key that does not travel: %v", err)
		}
		long := topics(t, hubs, "long", wshub.Policy{}, codec, wshub.KeyBy(func(point) string { return "more than 15 bytes" }))
		if err := long[0].Publish(t.Context(), point{}); !errors.Is(err, wshub.ErrNoDecode) {
			t.Errorf("a key that is too long: %v", err)
		}
		alone := newHub(t)
		if _, err := wshub.NewTopic(alone, "structs", wshub.Policy{}, codec, wshub.KeyBy(func(p point) point { return p })); err != nil {
			t.Errorf("without a bus: %v", err)
		}
	})
}

// A codec that wants to know where values stand is told by the node that publishes, and each node's are a sequence.
func TestClusterDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hubs := nodes(t, 2)
		all := topics(t, hubs, "log", wshub.Compose(wshub.History(100, 0)), wshub.WithCodec[string](placeCodec{}))
		s1, c1 := client(t, hubs[0])
		s2, c2 := client(t, hubs[1])
		join(t, all[0], s1)
		join(t, all[1], s2)
		publish(t, all[0], "a", "b")
		publish(t, all[0].Only(s1), "secret")
		synctest.Wait()
		publish(t, all[1], "x")
		synctest.Wait()
		publish(t, all[0], "c")
		synctest.Wait()
		var got1, got2 []string
		for range 5 {
			m, _ := c1.Next()
			got1 = append(got1, string(m.Data))
		}
		for range 4 {
			m, _ := c2.Next()
			got2 = append(got2, string(m.Data))
		}
		want1 := []string{"n1 0 a", "n1 1 b", "n1 2 secret", "n2 0 x", "n1 3 c"}
		want2 := []string{"n1 0 a", "n1 1 b", "n2 0 x", "n1 3 c"}
		if !slices.Equal(got1, want1) || !slices.Equal(got2, want2) {
			t.Errorf("%q and %q, want %q and %q", got1, got2, want1, want2)
		}
	})
}

// placeCodec writes where a value stands.
type placeCodec struct{}

func (placeCodec) Append([]byte, string) ([]byte, wshub.Kind, error) { panic("not asked") }

func (placeCodec) AppendDelivery(dst []byte, d wshub.Delivery, v string) ([]byte, wshub.Kind, error) {
	if d.Epoch == 0 || d.Topic != "log" || d.Time.IsZero() {
		return nil, 0, fmt.Errorf("%+v", d)
	}
	return fmt.Appendf(dst, "%s %d %s", d.Node, d.Offset, v), wshub.KindText, nil
}

// Who joins late is offered the values of all nodes that its own node has kept, then the live ones.
func TestClusterReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hubs := nodes(t, 2)
		room := topics[string](t, hubs, "room", wshub.History(4, 0))
		first, c := client(t, hubs[1])
		join(t, room[1], first)
		for i, v := range counted(1, 6) {
			publish(t, room[i%2], v)
			synctest.Wait()
		}
		late, cc := client(t, hubs[1])
		join(t, room[1].With(wshub.Replay(10)), late)
		stream := room[1].With(wshub.Replay(2)).Subscribe(t.Context())
		defer stream.Close()
		publish(t, room[0], "7")
		for _, v := range counted(1, 7) {
			c.ExpectText(v)
		}
		for _, v := range counted(3, 7) {
			cc.ExpectText(v)
		}
		for _, v := range counted(5, 7) {
			if got := <-stream.C(); got != v {
				t.Errorf("the stream got %s for %s", got, v)
			}
		}
	})
}

// Under RequireBus a value that the bus does not take is nobody's; without it those here get it.
func TestClusterRequireBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 2)
		sure := topics[string](t, hubs, "sure", wshub.RequireBus())
		loose := topics[string](t, hubs, "loose", wshub.Policy{})
		s1, c1 := client(t, hubs[0])
		s2, c2 := client(t, hubs[1])
		join(t, sure[0], s1)
		join(t, sure[1], s2)
		join(t, loose[0], s1)
		join(t, loose[1], s2)
		publish(t, sure[0], "up")
		c1.ExpectText("up")
		c2.ExpectText("up")
		m.Down()
		synctest.Wait()
		err := sure[0].Publish(t.Context(), "down")
		if !errors.Is(err, wshub.ErrBus) || !errors.Is(err, cluster.ErrDown) {
			t.Errorf("with the bus down: %v", err)
		}
		publish(t, sure[0].Only(s1), "only those here")
		c1.ExpectText("only those here")
		publish(t, loose[0], "here")
		c1.ExpectText("here")
		synctest.Wait() // what cannot leave has failed
		m.Up()
		synctest.Wait()
		publish(t, sure[0], "up again")
		c1.ExpectText("up again")
		c2.ExpectText("up again")
		c1.ExpectNothing()
		c2.ExpectNothing()
	})
}

// As a part of the hub's policy RequireBus holds for everyone, and for topics that do not mention it.
func TestClusterRequireBusOfHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, hubs := nodes(t, 2, wshub.WithPolicy(wshub.RequireBus()))
		logs := topics[string](t, hubs, "log", wshub.Policy{}, wshub.WithCodec[string](placeCodec{}))
		s1, c1 := client(t, hubs[0])
		s2, c2 := client(t, hubs[1])
		join(t, logs[0], s1)
		join(t, logs[1], s2)
		expect := func(want string) {
			t.Helper()
			c1.ExpectText(want)
			c2.ExpectText(want)
		}
		if err := hubs[0].Everyone().Send(t.Context(), wshub.Text("all")); err != nil {
			t.Error(err)
		}
		expect("all")
		publish(t, logs[0], "a")
		expect("n1 0 a")
		m.Down()
		synctest.Wait()
		if err := hubs[0].Everyone().Send(t.Context(), wshub.Text("all")); !errors.Is(err, wshub.ErrBus) {
			t.Errorf("everyone: %v", err)
		}
		if err := logs[0].Publish(t.Context(), "b"); !errors.Is(err, wshub.ErrBus) {
			t.Errorf("a topic: %v", err)
		}
		m.Up()
		synctest.Wait()
		publish(t, logs[0], "c")
		expect("n1 2 c") // whether anybody has got 1 is not known
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := logs[0].Publish(ctx, "d"); !errors.Is(err, wshub.ErrBus) || !errors.Is(err, context.Canceled) {
			t.Errorf("without time: %v", err)
		}
		c1.ExpectNothing()
	})
}

// RequireBus means nothing without a bus, and nothing but for whoever publishes.
func TestRequireBusRefused(t *testing.T) {
	_, err := wshub.New(wshub.WithPolicy(wshub.RequireBus()))
	refused(t, err, "WithPolicy", "requirebus", "a hub")
	h := newHub(t)
	_, err = wshub.NewTopic[int](h, "room", wshub.RequireBus())
	refused(t, err, "requirebus", "a topic", "WithBus")
	_, err = wshub.NewFamily[int](h, "rooms", wshub.RequireBus())
	refused(t, err, "requirebus", "a topic")
	_, err = wshub.New(wshub.WithInbound(wshub.RequireBus()))
	refused(t, err, "WithInbound", "requirebus")
	m := cluster.NewMemory()
	defer m.Close()
	h = newHub(t, wshub.WithBus(m.Bus()))
	topic := newTopic[int](t, h, "room", wshub.RequireBus())
	refused(t, topic.With(wshub.RequireBus()).Subscribe(t.Context()).Err(), "requirebus", "a stream")
	refused(t, h.Events(t.Context(), wshub.RequireBus()).Err(), "requirebus", "a stream")
	s := topic.Subscribe(t.Context())
	s.Close()
	if err := s.Err(); err != nil {
		t.Errorf("a stream that inherits it: %v", err)
	}
	refused(t, wshub.Apply(t.Context(), make(chan int), wshub.RequireBus()).Err(), "requirebus", "Apply")
}

func refused(t *testing.T, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, wshub.ErrPolicy) {
		t.Errorf("%v, want ErrPolicy", err)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%v does not name %s", err, p)
		}
	}
}
