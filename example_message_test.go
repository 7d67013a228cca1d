package wshub_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/wshub-go/wshub"
)

func ExampleText() {
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")

	ann.session.Send(context.Background(), wshub.Text("grüß dich"))
	fmt.Println(ann.next())
	err := ann.session.Send(context.Background(), wshub.Text("gr\xfc\xdf dich")) // Latin-1
	fmt.Println(errors.Is(err, wshub.ErrUTF8))
	// Output:
	// grüß dich
	// true
}

// A buffer may be used again once the call that sends it has returned.
func ExampleBinary() {
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")

	buf := []byte{1, 2, 3}
	ann.session.Send(context.Background(), wshub.Binary(buf))
	clear(buf)
	fmt.Println(ann.next())
	// Output: 01 02 03
}

// Encoded once, whoever gets it.
func ExampleJSON() {
	hub, end := newExampleHub()
	defer end()
	ann, bob := connect(hub, "ann"), connect(hub, "bob")

	m, err := wshub.JSON(map[string]any{"level": 3, "title": "the <moor>"})
	if err != nil {
		fmt.Println(err)
		return
	}
	hub.Everyone().Send(context.Background(), m)
	bob.session.Send(context.Background(), m)
	fmt.Println(ann.next())
	first, second := bob.next(), bob.next()
	fmt.Println(first == second)
	// Output:
	// {"level":3,"title":"the \u003cmoor\u003e"}
	// true
}

// A row of a database that is JSON already goes out as it is.
func ExampleRawJSON() {
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")

	row := []byte(`{"id": 7, "price": 1.10}`)
	ann.session.Send(context.Background(), wshub.RawJSON(row))
	fmt.Println(ann.next())
	// Output: {"id": 7, "price": 1.10}
}

func ExampleSendJSON() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")

	wshub.SendJSON(ctx, ann.session, Tick{"ACME", 12.5})         // one session
	wshub.SendJSON(ctx, hub.User("ann"), []string{"you", "all"}) // or an audience
	fmt.Println(ann.next())
	fmt.Println(ann.next())
	fmt.Println(wshub.SendJSON(ctx, ann.session, func() {}))
	// Output:
	// {"Symbol":"ACME","Price":12.5}
	// ["you","all"]
	// wshub: encode message: json: unsupported type: func()
}

func ExampleSendEvent() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")

	wshub.SendEvent(ctx, ann.session, "notice", "the kettle is on")
	wshub.SendEvent(ctx, hub.Everyone(), "unread", map[string]int{"chat": 3})
	fmt.Println(ann.next())
	fmt.Println(ann.next())
	fmt.Println(wshub.SendEvent(ctx, ann.session, "error", nil))
	// Output:
	// {"event":"notice","data":"the kettle is on"}
	// {"event":"unread","data":{"chat":3}}
	// wshub: send event: the event "error" is the hub's
}
