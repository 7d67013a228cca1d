package wshub_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/wshubtest"
)

// Who is in a room, with names, and who comes and goes.
func ExampleTopic_Watch() {
	ctx := context.Background()
	hub, _ := wshub.New(
		wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
			return wshub.Identity{User: r.URL.Query().Get("user")}, nil
		}),
		wshub.WithMember(func(s *wshub.Session) any { return map[string]string{"name": "Miss " + s.User()} }),
	)
	defer hub.Shutdown(ctx)
	room, _ := wshub.NewTopic[string](hub, "room", wshub.Policy{})

	watch := room.Watch(ctx)
	fmt.Println((<-watch.C()).Kind)

	handler := hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		if err := room.Join(ctx, s); err != nil {
			return err
		}
		for range s.Messages() {
		}
		return nil
	})
	tb := new(exampleTB)
	defer tb.cleanup()
	client := wshubtest.Dial(tb, handler, wshubtest.WithPath("/?user=Ann"))
	e := <-watch.C()
	fmt.Println(e.Kind, e.Members[0].User, string(e.Members[0].Data))

	present, err := room.Present(ctx)
	fmt.Println(len(present), err)

	client.Close(1000, "")
	fmt.Println((<-watch.C()).Kind)
	// Output:
	// list
	// joined Ann {"name":"Miss Ann"}
	// 1 <nil>
	// left
}

func ExampleWithMember() {
	name := wshub.NewAttr[string]("name")
	hub, err := wshub.New(wshub.WithMember(func(s *wshub.Session) any {
		if n, ok := name.Get(s); ok {
			return map[string]string{"name": n}
		}
		return nil // no data
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Close()
	rooms, _ := wshub.NewFamily[string](hub, "room", wshub.Policy{})
	lobby, _ := rooms.Topic("lobby")
	fmt.Println(lobby.Present(context.Background()))
	// Output: [] <nil>
}

// Two nodes, as a watcher on one of them sees the other.
func ExampleTopic_Present() {
	ctx := context.Background()
	broker := cluster.NewMemory() // in earnest: NATS or Redis, and a process for each hub
	defer broker.Close()
	hubs := make([]*wshub.Hub, 2)
	rooms := make([]wshub.Topic[string], 2)
	for i := range hubs {
		hubs[i], _ = wshub.New(wshub.WithBus(broker.Bus()), wshub.WithNode(fmt.Sprint("node", i+1)))
		defer hubs[i].Close()
		rooms[i], _ = wshub.NewTopic[string](hubs[i], "room", wshub.Policy{})
	}
	tb := new(exampleTB)
	defer tb.cleanup()
	watch := rooms[0].Watch(ctx)
	defer watch.Close()
	<-watch.C() // the list: nobody yet
	wshubtest.Dial(tb, hubs[1].Handler(func(ctx context.Context, s *wshub.Session) error {
		if err := rooms[1].Join(ctx, s); err != nil {
			return err
		}
		for range s.Messages() {
		}
		return nil
	}))
	joined := <-watch.C()
	present, err := rooms[0].Present(ctx)
	fmt.Println(joined.Kind, joined.Members[0].Node, present[0].Node, err)
	// Output: joined node2 node2 <nil>
}
