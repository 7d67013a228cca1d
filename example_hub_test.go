package wshub_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/wshub-go/wshub"
)

// Tick and Chat are two domain events.
type Tick struct {
	Symbol string
	Price  float64
}

func (t Tick) Key() string { return t.Symbol }

type Chat struct{ Room, Text string }

// The program of the package comment.
func ExampleHub() {
	serve := func(hub *wshub.Hub) error {
		ticks, err := wshub.NewTopic(hub, "ticks", wshub.Coalesce(), wshub.KeyBy(Tick.Key))
		if err != nil {
			return err
		}
		rooms, err := wshub.NewFamily[Chat](hub, "room", wshub.Policy{})
		if err != nil {
			return err
		}
		http.Handle("/ws", hub.Handler(func(ctx context.Context, s *wshub.Session) error {
			// this session: at most 20 flushes a second, each the latest of what changed
			if err := ticks.With(wshub.FlushEvery(50*time.Millisecond)).Join(ctx, s); err != nil {
				return err
			}
			for msg := range s.Messages() { // a plain <-chan Message
				var c Chat
				if err := msg.Decode(&c); err != nil {
					return err // closes 1007
				}
				room, err := rooms.Topic(c.Room)
				if err != nil {
					return err // closes 1008
				}
				if err := room.Except(s).Publish(ctx, c); err != nil {
					return err
				}
			}
			return nil // closes 1000
		}))
		return ticks.Publish(context.Background(), Tick{"ACME", 12.5})
	}
	hub, err := wshub.New(wshub.WithOrigins("https://app.example.com"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Shutdown(context.Background())
	fmt.Println(serve(hub), hub.Len())
	// Output: <nil> 0
}

func ExampleNew() {
	_, err := wshub.New(wshub.WithPolicy(wshub.Rate(20, 1)))
	fmt.Println(err)
	// Output: wshub: WithPolicy: wshub: invalid policy: rate(20,1) with inherited evict(1024,250ms) on a hub: a client would be closed for our own delay; add coalesce, dropoldest(n) or dropnewest(n)
}
