package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wshub-go/wshub"
)

func ExampleNewAttr() {
	hub, end := newExampleHub()
	defer end()
	nick := wshub.NewAttr[string]("nick") // a package variable in a program
	ann := connect(hub, "ann")

	nick.Set(ann.session, "Annie")
	name, ok := nick.Get(ann.session)
	fmt.Println(name, ok)
	nick.Delete(ann.session)
	name, ok = nick.Get(ann.session)
	fmt.Printf("%q %v\n", name, ok)
	// Output:
	// Annie true
	// "" false
}

// What was sent before goes out first.
func ExampleSession_Close() {
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")

	ann.session.Send(context.Background(), wshub.Text("game over"))
	fmt.Println(ann.session.Close(4000, "you have lost"))
	fmt.Println(ann.next())
	fmt.Println(ann.next())
	fmt.Println(ann.session.Close(1006, "") != nil) // a code that must not be sent
	// Output:
	// <nil>
	// game over
	// closed with 4000 you have lost
	// true
}

// A SessionFunc's error says how its session closes.
func ExampleCloseError() {
	hub, end := newExampleHub()
	defer end()

	handler := hub.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
		if m.Text() == "quit" {
			return nil
		}
		return &wshub.CloseError{Code: 4002, Reason: "what?", Err: errors.New("for the log: " + m.Text())}
	}))
	say(handler, "xyzzy")
	// Output: closed with 4002
}

// Whether a session is over, since when, and why.
func ExampleSession_Ended() {
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")

	_, over := ann.session.Ended()
	fmt.Println(over, ann.session.Err())

	ann.client.Close(4321, "lunch")
	<-ann.session.Done()
	at, over := ann.session.Ended()
	fmt.Println(over, at.After(ann.session.ConnectedAt()), ann.session.Err())
	// Output:
	// false <nil>
	// true true wshub: closed with 4321 "lunch"
}

// A handler that only sends, and wants nothing of its client, waits for its context.
func ExampleSession_CloseRead() {
	hub, end := newExampleHub()
	defer end()

	say(hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		s.CloseRead()
		<-ctx.Done()
		fmt.Println(context.Cause(ctx))
		return nil
	}), "may I say something?")
	// Unordered output:
	// wshub: unexpected message
	// closed with 1008
}

func ExampleSession_LeaveAll() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	rooms, _ := wshub.NewFamily[string](hub, "room", wshub.Policy{})
	ann := connect(hub, "ann")
	for _, name := range []string{"go", "chess"} {
		room, _ := rooms.Topic(name)
		room.Join(ctx, ann.session)
	}
	ann.session.LeaveAll()
	fmt.Println(slices.Collect(ann.session.Topics()))
	// Output: []
}

func ExampleSession_Topics() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	rooms, _ := wshub.NewFamily[string](hub, "room", wshub.Policy{})
	ann := connect(hub, "ann")
	for _, name := range []string{"go", "chess"} {
		room, _ := rooms.Topic(name)
		room.Join(ctx, ann.session)
	}
	fmt.Println(slices.Sorted(ann.session.Topics()))
	// Output: [room/chess room/go]
}

// A client sends its new token before the old one expires.
func ExampleSession_Renew() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")

	err := ann.session.Renew(ctx, wshub.Identity{User: "ann", Expires: time.Now().Add(time.Hour), Claims: "admin"})
	fmt.Println(err, ann.session.Identity().Claims)
	err = ann.session.Renew(ctx, wshub.Identity{User: "ann", Expires: time.Now().Add(-time.Hour)})
	fmt.Println(errors.Is(err, wshub.ErrUnauthorized), ann.session.Identity().Claims)
	// Output:
	// <nil> admin
	// true admin
}

// The sessions of this node, and those of one user.
func ExampleHub_Sessions() {
	hub, end := newExampleHub()
	defer end()
	connect(hub, "ann")
	connect(hub, "bob")

	var users []string
	for s := range hub.Sessions() {
		users = append(users, s.User())
	}
	slices.Sort(users)
	fmt.Println(users, hub.Len(), len(slices.Collect(hub.UserSessions("ann"))))
	// Output: [ann bob] 2 1
}

// What runs before and after every session.
func ExampleMiddleware() {
	hub, end := newExampleHub()
	defer end()

	welcome := func(next wshub.SessionFunc) wshub.SessionFunc {
		return func(ctx context.Context, s *wshub.Session) error {
			fmt.Println("hello")
			defer fmt.Println("goodbye")
			return next(ctx, s)
		}
	}
	members := func(next wshub.SessionFunc) wshub.SessionFunc {
		return func(ctx context.Context, s *wshub.Session) error {
			if s.User() == "" {
				return wshub.ErrForbidden // closes 1008
			}
			return next(ctx, s)
		}
	}
	say(hub.Handler(stay, welcome, members), "let me in")
	// Output:
	// hello
	// goodbye
	// closed with 1008
}
