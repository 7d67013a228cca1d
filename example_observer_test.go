package wshub_test

import (
	"context"
	"fmt"
	"os"

	"github.com/wshub-go/wshub"
)

func ExampleWithObserver() {
	hub, end := newExampleHub(wshub.WithObserver(wshub.Observer{
		Connected:    func(e wshub.Event) { fmt.Println("somebody came") },
		Disconnected: func(e wshub.Event) { fmt.Println("somebody went:", e.Code, e.Took > 0) },
	}))
	defer end()
	connect(hub, "").client.Close(1000, "")
	hub.Shutdown(context.Background()) // once observers know all
	// Output:
	// somebody came
	// somebody went: 1000 normal closure true
}

func ExampleNewDebugObserver() {
	ctx := context.Background()
	debug := wshub.NewDebugObserver(os.Stdout)
	hub, end := newExampleHub(wshub.WithObserver(debug.Observer()))
	defer end()
	room, _ := wshub.NewTopic[string](hub, "room", wshub.Policy{})
	ann := connect(hub, "ann")
	room.Join(ctx, ann.session)
	ann.client.Close(1000, "")
	hub.Shutdown(ctx)
	debug.WriteTo(os.Stdout)
	// Output:
	// connected session=1
	// joined session=1 user="ann" topic="room"
	// left session=1 user="ann" topic="room"
	// disconnected session=1 user="ann" code=1000
	// connected       1
	// joined          1
	// left            1
	// disconnected    1
	//   1000          1
}
