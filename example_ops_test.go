package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// What happens to sessions, as a stream under a policy of its own.
func ExampleHub_Events() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	events := hub.Events(ctx, wshub.DropOldest(1000))
	room, _ := wshub.NewTopic[string](hub, "room", wshub.Policy{})

	ann := connect(hub, "")
	ann.session.SetUser("ann")
	room.Join(ctx, ann.session)
	room.Leave(ann.session)
	ann.client.Close(1000, "")
	for e := range events.C() {
		fmt.Printf("%v %q %q\n", e.Kind, e.User, e.Topic)
		if e.Kind == wshub.EventDisconnected {
			events.Close()
		}
	}
	// Output:
	// connected "" ""
	// joined "ann" "room"
	// left "ann" "room"
	// disconnected "ann" ""
}

// Counters that only grow, and an exact account of every value.
func ExampleHub_Stats() {
	ctx := context.Background()
	hub, _ := wshub.New()
	ann := connect(hub, "ann")
	hub.User("ann").Send(ctx, wshub.Text("one"))
	hub.Everyone().Send(ctx, wshub.Text("two"))
	ann.next()
	hub.Shutdown(ctx)

	stats := hub.Stats()
	fmt.Println(stats.Accepted, stats.Refused, stats.Evicted)
	fmt.Println(stats.Direct.Sent, stats.Everyone.Sent, stats.Everyone.Dropped)
	// Output:
	// 1 0 0
	// 1 1 0
}

// status asks a handler as Kubernetes does.
func status(h http.Handler) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w.Code
}

func ExampleHub_ReadyHandler() {
	hub, end := newExampleHub(wshub.WithLimits(wshub.Limits{Sessions: 1}))
	defer end()

	fmt.Println(status(hub.ReadyHandler()), hub.Health().Status)
	connect(hub, "ann")
	fmt.Println(status(hub.ReadyHandler()), hub.Health().Status)
	// Output:
	// 200 ready
	// 503 full
}

// A hub that drains is alive, so nobody restarts the process over it.
func ExampleHub_LiveHandler() {
	hub, end := newExampleHub(wshub.WithDrain(0, 0))
	defer end()
	hub.Drain(context.Background())
	fmt.Println(status(hub.LiveHandler()), status(hub.ReadyHandler()))
	hub.Shutdown(context.Background())
	fmt.Println(status(hub.LiveHandler()))
	// Output:
	// 200 503
	// 503
}

func ExampleHub_Health() {
	hub, end := newExampleHub(wshub.WithNode("eu-1"))
	defer end()
	connect(hub, "ann")
	health := hub.Health()
	fmt.Println(health.Node, health.Status, health.Ready, health.Live, health.Sessions)
	// Output: eu-1 ready true true 1
}

// On the way down: load balancers get ten seconds to look elsewhere, clients leave over the next half minute, and what
// is left after a minute in all is closed at once.
func ExampleWithDrain() {
	hub, _ := wshub.New(wshub.WithDrain(10*time.Second, 30*time.Second))
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return errors.Join(hub.Drain(ctx), hub.Shutdown(ctx))
	}
	ann := connect(hub, "ann")
	hub.Close() // for the example, which is in a hurry
	fmt.Println(stop(), ann.next())
	// Output: <nil> closed with 1001 server shutting down
}

// Sessions are asked to go, one after the other; for what else should end there is Draining.
func ExampleHub_Drain() {
	ctx := context.Background() // with a timeout in a program
	hub, end := newExampleHub(wshub.WithDrain(0, 0))
	defer end()
	ann := connect(hub, "ann")

	fmt.Println(hub.Drain(ctx), ann.next())
	<-hub.Draining()
	fmt.Println(knock(hub.Handler(stay)))
	fmt.Println(hub.Shutdown(ctx))
	// Output:
	// <nil> closed with 1001 server draining
	// 503 wshub: hub is draining
	// <nil>
}

// Without haste it is Drain.
func ExampleHub_Shutdown() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	ann := connect(hub, "ann")
	ann.session.Send(ctx, wshub.Text("good night"))

	fmt.Println(hub.Shutdown(ctx))
	fmt.Println(ann.next())
	fmt.Println(ann.next())
	// Output:
	// <nil>
	// good night
	// closed with 1001 server shutting down
}

// What went wrong, for alarms and counters. A function that is nil costs nothing.
func ExampleObserver() {
	var dropped uint64
	hub, end := newExampleHub(
		wshub.WithInbound(wshub.Compose(wshub.Rate(1.0/60, 1), wshub.DropNewest(1))),
		wshub.WithObserver(wshub.Observer{
			Refused: func(e wshub.Event) { fmt.Println("refused with", e.Status) },
			Error:   func(e wshub.Event) { fmt.Println("failed:", e.Cause) },
			Dropped: func(e wshub.Event) { dropped += e.N },
		}))
	defer end()

	knock(hub.Handler(stay), wshubtest.WithOrigin("https://evil.example"))
	failing := hub.Handler(func(context.Context, *wshub.Session) error { return errors.New("no database") })
	wshubtest.Dial(&exampleClients, failing).ExpectClose(1011) // or Shutdown may come before the failure
	ann := connect(hub, "ann")
	for range 3 {
		ann.client.SendText("one a minute is allowed")
	}
	ann.client.Close(1000, "")
	hub.Shutdown(context.Background()) // once observers know all
	fmt.Println("dropped:", dropped)
	// Output:
	// refused with 403
	// failed: no database
	// dropped: 2
}
