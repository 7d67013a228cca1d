package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/wshub-go/wshub"
)

func ExampleTopic_Join() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	news, _ := wshub.NewTopic[string](hub, "news", wshub.Policy{})
	ann := connect(hub, "ann")

	news.Publish(ctx, "yesterday's")
	fmt.Println(news.Join(ctx, ann.session))
	news.Publish(ctx, "today's")
	fmt.Println(ann.next())
	fmt.Println(errors.Is(news.Join(ctx, ann.session), wshub.ErrAlreadyMember))
	// Output:
	// <nil>
	// today's
	// true
}

// Encoded once for all members; streams inside the process get the value itself.
func ExampleTopic_Publish() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	ticks, _ := wshub.NewTopic[Tick](hub, "ticks", wshub.Policy{})
	ann := connect(hub, "ann")
	ticks.Join(ctx, ann.session)
	stream := ticks.Subscribe(ctx)
	defer stream.Close()

	fmt.Println(ticks.Publish(ctx, Tick{"ACME", 12.5}))
	fmt.Println(ann.next())
	fmt.Println((<-stream.C()).Price)
	// Output:
	// <nil>
	// {"Symbol":"ACME","Price":12.5}
	// 12.5
}

func ExampleTopic_Leave() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	news, _ := wshub.NewTopic[string](hub, "news", wshub.Policy{})
	ann := connect(hub, "ann")

	news.Join(ctx, ann.session)
	fmt.Println(news.Leave(ann.session), news.Has(ann.session))
	news.Publish(ctx, "for those who are left")
	ann.session.Send(ctx, wshub.Text("that was all"))
	fmt.Println(ann.next())
	// Output:
	// <nil> false
	// that was all
}

// A chat: what ann says the others get.
func ExampleTopic_Except() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	room, _ := wshub.NewTopic[string](hub, "room", wshub.Policy{})
	ann, bob := connect(hub, "ann"), connect(hub, "bob")
	room.Join(ctx, ann.session)
	room.Join(ctx, bob.session)

	room.Except(ann.session).Publish(ctx, "ann: hi")
	room.Publish(ctx, "bob: bye")
	fmt.Println(ann.next())
	fmt.Println(bob.next())
	// Output:
	// bob: bye
	// ann: hi
}

// A whisper: only some members of the room get it, in its place among all that is said.
func ExampleTopic_Only() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	room, _ := wshub.NewTopic[string](hub, "room", wshub.Policy{})
	ann, bob := connect(hub, "ann"), connect(hub, "bob")
	room.Join(ctx, ann.session)
	room.Join(ctx, bob.session)

	room.Only(bob.session).Publish(ctx, "psst")
	room.Publish(ctx, "all hear this")
	fmt.Println("ann:", ann.next())
	fmt.Println("bob:", bob.next())
	// Output:
	// ann: all hear this
	// bob: psst
}

// Len is this node's, Count the whole cluster's.
func ExampleTopic_Count() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	room, _ := wshub.NewTopic[string](hub, "room", wshub.Policy{})
	for _, user := range []string{"ann", "bob"} {
		room.Join(ctx, connect(hub, user).session)
	}
	n, err := room.Count(ctx)
	fmt.Println(room.Len(), n, err)
	// Output: 2 2 <nil>
}

func ExampleTopic_Members() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	room, _ := wshub.NewTopic[string](hub, "room", wshub.Policy{})
	for _, user := range []string{"ann", "bob"} {
		room.Join(ctx, connect(hub, user).session)
	}
	users := wshub.Map(room.Members(), (*wshub.Session).User)
	fmt.Println(slices.Sorted(users))
	// Output: [ann bob]
}

// Rooms exist while somebody is in them.
func ExampleHub_Topic() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	rooms, _ := wshub.NewFamily[string](hub, "room", wshub.Policy{})
	lobby, _ := rooms.Topic("lobby")
	ann := connect(hub, "ann")

	_, ok := hub.Topic("room/lobby")
	fmt.Println(ok)
	lobby.Join(ctx, ann.session)
	info, ok := hub.Topic("room/lobby")
	fmt.Println(ok, info.Family, info.Type, info.Members)
	// Output:
	// false
	// true room string 1
}

// All topics of the hub that live, whatever their types.
func ExampleHub_Topics() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	ticks, _ := wshub.NewTopic[Tick](hub, "ticks", wshub.Policy{})
	rooms, _ := wshub.NewFamily[Chat](hub, "room", wshub.Policy{})
	lobby, _ := rooms.Topic("lobby")
	ann := connect(hub, "ann")
	ticks.Join(ctx, ann.session)
	lobby.Join(ctx, ann.session)

	names := wshub.Map(hub.Topics(), func(t wshub.TopicInfo) string { return t.Name })
	fmt.Println(slices.Sorted(names))
	// Output: [room/lobby ticks]
}

// One word to every room that somebody is in.
func ExampleFamily_All() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	rooms, _ := wshub.NewFamily[string](hub, "room", wshub.Policy{})
	lobby, _ := rooms.Topic("lobby")
	ann := connect(hub, "ann")
	lobby.Join(ctx, ann.session)

	for room := range rooms.All() {
		room.Publish(ctx, "closing "+room.Name())
	}
	fmt.Println(ann.next())
	// Output: closing room/lobby
}

// The key says which values replace each other.
func ExampleKeyBy() {
	hub, end := newExampleHub()
	defer end()
	p := wshub.Compose(wshub.Coalesce(), wshub.History(10, 0))
	ticks, _ := wshub.NewTopic(hub, "ticks", p, wshub.KeyBy(func(t Tick) string { return t.Symbol }))
	for _, t := range []Tick{{"ACME", 1}, {"INIT", 7}, {"ACME", 2}} {
		ticks.Publish(context.Background(), t)
	}
	fmt.Println(slices.Collect(ticks.Snapshot()))
	// Output: [{INIT 7} {ACME 2}]
}

// priceCodec sends ticks as "ACME 12.5" rather than as JSON.
type priceCodec struct{}

func (priceCodec) Append(dst []byte, t Tick) ([]byte, wshub.Kind, error) {
	dst = append(dst, t.Symbol...)
	dst = append(dst, ' ')
	return strconv.AppendFloat(dst, t.Price, 'f', -1, 64), wshub.KindText, nil
}

func ExampleWithCodec() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	ticks, _ := wshub.NewTopic(hub, "ticks", wshub.Policy{}, wshub.WithCodec[Tick](priceCodec{}))
	ann := connect(hub, "ann")
	ticks.Join(ctx, ann.session)

	ticks.Publish(ctx, Tick{"ACME", 12.5})
	fmt.Println(ann.next())
	// Output: ACME 12.5
}

// placed sends a value with its place, which a client that comes back can tell.
type placed struct{ priceCodec }

func (c placed) AppendDelivery(dst []byte, d wshub.Delivery, t Tick) ([]byte, wshub.Kind, error) {
	dst = strconv.AppendUint(dst, d.Offset, 10)
	return c.Append(append(dst, ' '), t)
}

func ExampleDeliveryCodec() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	ticks, _ := wshub.NewTopic(hub, "ticks", wshub.History(100, 0), wshub.WithCodec[Tick](placed{}))
	ticks.Publish(ctx, Tick{"ACME", 12.5})
	ticks.Publish(ctx, Tick{"ACME", 13})

	ann := connect(hub, "ann")
	ticks.With(wshub.Replay(100)).Join(ctx, ann.session)
	fmt.Println(ann.next())
	fmt.Println(ann.next())
	// Output:
	// 0 ACME 12.5
	// 1 ACME 13
}

// A client that looks elsewhere gets less for a while, and loses nothing of what it is owed.
func ExampleView_Update() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	scores, _ := wshub.NewTopic[string](hub, "scores", wshub.Policy{})
	ann := connect(hub, "ann")
	scores.Join(ctx, ann.session)

	scores.Publish(ctx, "1:0")
	fmt.Println(ann.next())
	scores.Where(func(s string) bool { return s == "final 2:0" }).Update(ctx, ann.session)
	scores.Publish(ctx, "2:0")
	scores.Publish(ctx, "final 2:0")
	fmt.Println(ann.next())
	// Output:
	// 1:0
	// final 2:0
}
