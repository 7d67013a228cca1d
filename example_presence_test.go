package wshub_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/wshub-go/wshub"
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
