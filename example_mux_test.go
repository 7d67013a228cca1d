package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/wshub-go/wshub"
)

type Sum struct{ A, B int }

func ExampleMux() {
	hub, end := newExampleHub()
	defer end()

	var mux wshub.Mux
	wshub.Reply(&mux, "add", func(ctx context.Context, s *wshub.Session, q Sum) (int, error) {
		return q.A + q.B, nil
	})
	handler := hub.Handler(wshub.Each(mux.Message))

	say(handler,
		`{"event":"add","id":1,"data":{"a":2,"b":3}}`,
		`{"event":"add","id":2,"data":"two and three"}`,
		`{"event":"divide","id":3,"data":{"a":2,"b":0}}`)
	// Output:
	// {"event":"add","id":1,"data":5}
	// {"event":"error","id":2,"data":{"code":"bad_message","message":"invalid message data"}}
	// {"event":"error","id":3,"data":{"code":"unknown_event","message":"unknown event"}}
}

func ExampleHandle() {
	hub, end := newExampleHub()
	defer end()
	rooms, _ := wshub.NewFamily(hub, "room", wshub.Policy{}, wshub.AsEvent[Chat]("chat"))

	var mux wshub.Mux
	wshub.Handle(&mux, "join", func(ctx context.Context, s *wshub.Session, name string) error {
		room, err := rooms.Topic(name)
		if err != nil {
			return err // answered as bad_message
		}
		return room.Join(ctx, s)
	})
	wshub.Handle(&mux, "chat", func(ctx context.Context, s *wshub.Session, c Chat) error {
		room, err := rooms.Topic(c.Room)
		if err != nil {
			return err
		}
		if !room.Has(s) {
			return wshub.ErrForbidden
		}
		return room.Publish(ctx, c)
	})
	say(hub.Handler(wshub.Each(mux.Message)), `{"event":"chat","data":{"room":"go","text":"hi"}}`)
	// Output: {"event":"error","data":{"code":"forbidden","message":"forbidden"}}
}

func ExampleReply() {
	hub, end := newExampleHub()
	defer end()

	var mux wshub.Mux
	wshub.Reply(&mux, "count", func(ctx context.Context, s *wshub.Session, names []string) (map[string]int, error) {
		return map[string]int{"names": len(names)}, nil
	})
	say(hub.Handler(wshub.Each(mux.Message)), `{"event":"count","id":"a7","data":["ann","bob"]}`)
	// Output: {"event":"count","id":"a7","data":{"names":2}}
}

// A fallback speaks to clients that do not speak the Mux's protocol.
func ExampleMux_Fallback() {
	hub, end := newExampleHub()
	defer end()

	var mux wshub.Mux
	mux.Fallback(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
		if m.Text() == "ping" {
			return s.Send(ctx, wshub.Text("pong"))
		}
		return wshub.ErrUnknownEvent
	})
	say(hub.Handler(wshub.Each(mux.Message)), `ping`, `{"event":"x"}`)
	// Output:
	// pong
	// {"event":"error","data":{"code":"unknown_event","message":"unknown event"}}
}

// A gate before some of the handlers.
func ExampleEnvelopeFrom() {
	hub, end := newExampleHub()
	defer end()

	var mux wshub.Mux
	mux.Use(func(next wshub.MessageFunc) wshub.MessageFunc {
		return func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
			if e, _ := wshub.EnvelopeFrom(ctx); e.Event != "login" && s.User() == "" {
				return wshub.ErrUnauthorized
			}
			return next(ctx, s, m)
		}
	})
	wshub.Reply(&mux, "whoami", func(_ context.Context, s *wshub.Session, _ any) (string, error) { return s.User(), nil })
	wshub.Reply(&mux, "login", func(_ context.Context, s *wshub.Session, token string) (bool, error) {
		return true, s.SetUser("ann") // once the token was checked
	})
	say(hub.Handler(wshub.Each(mux.Message)), `{"event":"whoami"}`, `{"event":"login","data":"..."}`, `{"event":"whoami"}`)
	// Output:
	// {"event":"error","data":{"code":"unauthorized","message":"not authorized"}}
	// {"event":"login","data":true}
	// {"event":"whoami","data":"ann"}
}

func ExamplePublic() {
	hub, end := newExampleHub()
	defer end()

	var mux wshub.Mux
	wshub.Handle(&mux, "bid", func(_ context.Context, _ *wshub.Session, cents int) error {
		switch {
		case cents < 100:
			return wshub.Public(errors.New("the least bid is 1.00"))
		case cents > 1000:
			return &wshub.PublicError{Code: "sold", Err: errors.New("somebody was faster")}
		}
		return errors.New("pq: connection refused") // logged, and none of the client's business
	})
	say(hub.Handler(wshub.Each(mux.Message)), `{"event":"bid","data":5}`, `{"event":"bid","data":5000}`, `{"event":"bid","data":500}`)
	// Output:
	// {"event":"error","data":{"code":"failed","message":"the least bid is 1.00"}}
	// {"event":"error","data":{"code":"sold","message":"somebody was faster"}}
	// {"event":"error","data":{"code":"internal","message":"internal error"}}
}

func ExampleAsEvent() {
	hub, end := newExampleHub()
	defer end()
	rooms, _ := wshub.NewFamily(hub, "room", wshub.Policy{}, wshub.AsEvent[Chat]("chat"))

	say(hub.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
		room, err := rooms.Topic("go")
		if err != nil {
			return err
		}
		if err := room.Join(ctx, s); err != nil {
			return err
		}
		return room.Publish(ctx, Chat{"go", m.Text()})
	})), "hi")
	// Output: {"event":"chat","topic":"room/go","data":{"Room":"go","Text":"hi"}}
}

func ExampleEach() {
	hub, end := newExampleHub()
	defer end()

	echo := func(ctx context.Context, s *wshub.Session, m wshub.Message) error { return s.Send(ctx, m) }
	say(hub.Handler(wshub.Each(echo)), "a", "b")
	// Output:
	// a
	// b
}

// Given before Recover, middleware sees how a SessionFunc ended that panicked.
func ExampleRecover() {
	hub, end := newExampleHub()
	defer end()

	tell := func(next wshub.SessionFunc) wshub.SessionFunc {
		return func(ctx context.Context, s *wshub.Session) error {
			err := next(ctx, s)
			fmt.Println(err, errors.Is(err, wshub.ErrPanic))
			return err
		}
	}
	handler := hub.Handler(func(context.Context, *wshub.Session) error { panic("out of cheese") }, tell, wshub.Recover())
	say(handler, "hello")
	// Output:
	// wshub: panic in a callback: out of cheese true
	// closed with 1011
}

// A handler that panics costs its client an error, and not the session.
func ExampleRecoverEach() {
	hub, end := newExampleHub()
	defer end()

	spare := func(next wshub.MessageFunc) wshub.MessageFunc {
		return func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
			err := next(ctx, s, m)
			if errors.Is(err, wshub.ErrPanic) {
				return &wshub.PublicError{Code: "internal", Err: errors.New("try again")}
			}
			return err
		}
	}
	var mux wshub.Mux
	mux.Use(spare, wshub.RecoverEach())
	wshub.Handle(&mux, "index", func(_ context.Context, _ *wshub.Session, i int) error {
		_ = []int{1, 2, 3}[i]
		return nil
	})
	say(hub.Handler(wshub.Each(mux.Message)), `{"event":"index","data":3}`)
	// Output: {"event":"error","data":{"code":"internal","message":"try again"}}
}

// exampleLogger writes lines without what changes from run to run.
func exampleLogger() *slog.Logger {
	drop := func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey, "session", "took", "addr":
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: drop, Level: slog.LevelDebug}))
}

func ExampleLog() {
	hub, end := newExampleHub()
	defer end()

	full := func(context.Context, *wshub.Session) error { return wshub.ErrTopicFull }
	say(hub.Handler(full, wshub.Log(exampleLogger())), "hello")
	// Output:
	// level=DEBUG msg="session begins" user=""
	// level=INFO msg="session ends" user="" code=1008 err="wshub: limit reached: topic is full"
	// closed with 1008
}

func ExampleLogEach() {
	hub, end := newExampleHub()
	defer end()

	var mux wshub.Mux
	mux.Use(wshub.LogEach(exampleLogger()))
	wshub.Reply(&mux, "add", func(_ context.Context, _ *wshub.Session, q Sum) (int, error) { return q.A + q.B, nil })
	say(hub.Handler(wshub.Each(mux.Message)), `{"event":"add","data":{"a":2,"b":3}}`)
	// Unordered output:
	// {"event":"add","data":5}
	// level=DEBUG msg=message kind=text bytes=36 event=add
}

func ExampleMetrics() {
	hub, end := newExampleHub()
	defer end()
	events := hub.Events(context.Background(), wshub.Policy{})
	defer events.Close()

	say(hub.Handler(func(context.Context, *wshub.Session) error { return wshub.ErrForbidden }, wshub.Metrics()), "hello")
	for e := range events.C() {
		if e.Kind == wshub.EventServed {
			fmt.Println(e.Took < time.Minute, e.Cause)
			break
		}
	}
	// Output:
	// closed with 1008
	// true wshub: forbidden
}

func ExampleMetricsEach() {
	hub, end := newExampleHub()
	defer end()
	events := hub.Events(context.Background(), wshub.Policy{})
	defer events.Close()

	var mux wshub.Mux
	mux.Use(wshub.MetricsEach())
	wshub.Reply(&mux, "add", func(_ context.Context, _ *wshub.Session, q Sum) (int, error) { return q.A + q.B, nil })
	say(hub.Handler(wshub.Each(mux.Message)), `{"event":"add","data":{"a":2,"b":3}}`)
	for e := range events.C() {
		if e.Kind == wshub.EventHandled {
			fmt.Println(e.Name, e.Took < time.Minute, e.Cause)
			break
		}
	}
	// Output:
	// {"event":"add","data":5}
	// add true <nil>
}
