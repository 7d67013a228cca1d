package wshub_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/coder/websocket"

	"github.com/wshub-go/wshub"
)

func ExampleWithObserver() {
	ctx := context.Background()
	hub, _ := wshub.New(wshub.WithObserver(wshub.Observer{
		Connected:    func(e wshub.Event) { fmt.Println("somebody came") },
		Disconnected: func(e wshub.Event) { fmt.Println("somebody went:", e.Code, e.Took > 0) },
	}))
	server := httptest.NewServer(hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		return nil
	}))
	defer server.Close()
	conn, _, _ := websocket.Dial(ctx, server.URL, nil)
	conn.Read(ctx) // until the session is closed
	hub.Shutdown(ctx)
	// Output:
	// somebody came
	// somebody went: 1000 normal closure true
}

func ExampleNewDebugObserver() {
	ctx := context.Background()
	debug := wshub.NewDebugObserver(os.Stdout)
	hub, _ := wshub.New(
		wshub.WithObserver(debug.Observer()),
		wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
			return wshub.Identity{User: "ann"}, nil
		}),
	)
	room, _ := wshub.NewTopic[string](hub, "room", wshub.Policy{})
	server := httptest.NewServer(hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		return room.Join(ctx, s)
	}))
	defer server.Close()
	conn, _, _ := websocket.Dial(ctx, server.URL, nil)
	conn.Read(ctx) // until the session is closed
	hub.Shutdown(ctx)
	debug.WriteTo(os.Stdout)
	// Output:
	// connected session=1 user="ann"
	// joined session=1 user="ann" topic="room"
	// left session=1 user="ann" topic="room"
	// disconnected session=1 user="ann" code=1000
	// connected       1
	// joined          1
	// left            1
	// disconnected    1
	//   1000          1
}
