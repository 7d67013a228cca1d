package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

func ExampleAudience_Send() {
	hub, end := newExampleHub()
	defer end()
	ann, bob := connect(hub, "ann"), connect(hub, "bob")

	fmt.Println(hub.Everyone().Send(context.Background(), wshub.Text("we close at six")))
	fmt.Println(ann.next())
	fmt.Println(bob.next())
	// Output:
	// <nil>
	// we close at six
	// we close at six
}

func ExampleAudience_Except() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	ann, bob := connect(hub, "ann"), connect(hub, "bob")

	hub.Everyone().Except(ann.session).Send(ctx, wshub.Text("ann is typing"))
	hub.Everyone().Send(ctx, wshub.Text("hi"))
	fmt.Println("ann:", ann.next())
	fmt.Println("bob:", bob.next())
	// Output:
	// ann: hi
	// bob: ann is typing
}

// Kick a user off all devices.
func ExampleAudience_Close() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	phone, desk := connect(hub, "ann"), connect(hub, "ann")

	fmt.Println(hub.User("ann").Close(ctx, 4001, "account was closed"))
	fmt.Println(phone.next())
	fmt.Println(desk.next())
	err := hub.User("bob").Close(ctx, 4001, "")
	fmt.Println(errors.Is(err, wshub.ErrNoSession))
	// Output:
	// <nil>
	// closed with 4001 account was closed
	// closed with 4001 account was closed
	// true
}

// Put a user out of one room.
func ExampleAudience_Leave() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	room, _ := wshub.NewTopic[string](hub, "room", wshub.Policy{})
	ann := connect(hub, "ann")
	room.Join(ctx, ann.session)

	fmt.Println(hub.User("ann").Leave(ctx, "room"), room.Has(ann.session))
	fmt.Println(errors.Is(hub.User("ann").Leave(ctx, "room"), wshub.ErrNotMember))
	// Output:
	// <nil> false
	// true
}

func ExampleAudience_Count() {
	hub, end := newExampleHub()
	defer end()
	connect(hub, "ann")
	connect(hub, "ann")
	connect(hub, "bob")
	fmt.Println(hub.User("ann").Count(context.Background()))
	fmt.Println(hub.Everyone().Count(context.Background()))
	// Output:
	// 2 <nil>
	// 3 <nil>
}

// All devices of a user. Whether there are any the error tells.
func ExampleHub_User() {
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")

	unread := map[string]int{"unread": 3}
	fmt.Println(wshub.SendJSON(context.Background(), hub.User("ann"), unread), ann.next())
	fmt.Println(wshub.SendJSON(context.Background(), hub.User("bob"), unread))
	// Output:
	// <nil> {"unread":3}
	// send to user "bob": wshub: no such session
}

// One session by its id, from wherever the id came.
func ExampleHub_To() {
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")

	id := ann.session.ID() // for example kept with a job that ann has started
	fmt.Println(hub.To(id).Send(context.Background(), wshub.Text("your export is ready")))
	fmt.Println(ann.next())
	// Output:
	// <nil>
	// your export is ready
}

// ctx bounds how long a call waits for a client that takes nothing.
func ExampleSession_Send() {
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann", wshubtest.WithBuffer(1024))
	fmt.Println(ann.session.Send(context.Background(), wshub.Text("hello")), ann.next())

	ann.client.Stall()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var err error
	for err == nil {
		err = ann.session.Send(ctx, wshub.Text(strings.Repeat("much ", 10_000)))
	}
	fmt.Println(errors.Is(err, wshub.ErrPendingFull), errors.Is(err, context.DeadlineExceeded))
	ann.client.Resume()
	// Output:
	// <nil> hello
	// true true
}
