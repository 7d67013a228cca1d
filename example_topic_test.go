package wshub_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/wshub-go/wshub"
)

// A whole server: whoever connects to /ws gets prices, at most ten times a second the latest of each symbol that has
// changed, however slow the connection.
func Example_ticker() {
	hub, err := wshub.New()
	if err != nil {
		log.Fatal(err)
	}
	ticks, err := wshub.NewTopic(hub, "ticks", wshub.Coalesce(), wshub.KeyBy(Tick.Key))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		if err := ticks.With(wshub.FlushEvery(100*time.Millisecond)).Join(ctx, s); err != nil {
			return err
		}
		for range s.Messages() { // until the client goes; it has nothing to say
		}
		return nil
	}))
	go func() {
		for t := range time.Tick(time.Millisecond) {
			ticks.Publish(context.Background(), Tick{"ACME", 100 + float64(t.UnixMilli()%1000)/100})
		}
	}()
	server := http.Server{Addr: "localhost:8080", ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func ExampleNewTopic() {
	hub, _ := wshub.New()
	defer hub.Close()
	ticks, err := wshub.NewTopic(hub, "ticks", wshub.Coalesce(), wshub.KeyBy(Tick.Key))
	fmt.Println(ticks.Name(), err)
	_, err = wshub.NewTopic[string](hub, "ticks", wshub.Policy{})
	fmt.Println(err)
	// Output:
	// ticks <nil>
	// wshub: topic is defined differently: topic "ticks" is of type wshub_test.Tick with policy "coalesce", not of type string with policy ""
}

func ExampleTopic_Stream() {
	hub, _ := wshub.New()
	defer hub.Close()
	ticks, _ := wshub.NewTopic[Tick](hub, "ticks", wshub.Policy{})

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream := ticks.Stream(ctx) // a <-chan Tick
	for i := range 3 {
		ticks.Publish(ctx, Tick{"ACME", float64(i)})
	}
	for t := range stream {
		fmt.Println(t.Symbol, t.Price)
		if t.Price == 2 {
			cancel() // closes the channel
		}
	}
	// Output:
	// ACME 0
	// ACME 1
	// ACME 2
}

func ExampleTopic_Where() {
	hub, _ := wshub.New()
	defer hub.Close()
	ticks, _ := wshub.NewTopic[Tick](hub, "ticks", wshub.Policy{})

	s := ticks.Where(func(t Tick) bool { return t.Price > 1 }).Subscribe(context.Background())
	defer s.Close()
	for i := range 4 {
		ticks.Publish(context.Background(), Tick{"ACME", float64(i)})
	}
	fmt.Println((<-s.C()).Price, (<-s.C()).Price)
	// Output: 2 3
}

// Every value that was offered is accounted for, whatever the policy made of it.
func ExampleStream_Stats() {
	hub, _ := wshub.New()
	defer hub.Close()
	numbers, _ := wshub.NewTopic[int](hub, "numbers", wshub.DropOldest(2))

	s := numbers.Subscribe(context.Background())
	for i := range 10 {
		numbers.Publish(context.Background(), i)
	}
	s.Close()
	a := s.Stats()
	fmt.Println(a.Offered == 10, a.Offered == a.Sent+a.Dropped+a.Undelivered+a.Pending)
	// Output: true true
}

func ExampleNewFamily() {
	hub, _ := wshub.New()
	defer hub.Close()
	rooms, _ := wshub.NewFamily[string](hub, "room", wshub.History(50, time.Hour))

	lobby, _ := rooms.Topic("lobby")
	lobby.Publish(context.Background(), "first")
	lobby.Publish(context.Background(), "second")

	late := lobby.With(wshub.Replay(50)).Subscribe(context.Background())
	defer late.Close()
	fmt.Println(lobby.Name(), <-late.C(), <-late.C())
	// Output: room/lobby first second
}

// The chat that every library begins with: what one says, all hear.
func Example_chat() {
	hub, end := newExampleHub()
	defer end()
	chat, err := wshub.NewTopic[string](hub, "chat", wshub.Policy{})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		if err := chat.Join(ctx, s); err != nil {
			return err
		}
		for m := range s.Messages() {
			if err := chat.Publish(ctx, m.Text()); err != nil {
				return err
			}
		}
		return nil
	})
	say(handler, "hello", "anybody?")
	// Output:
	// hello
	// anybody?
}
