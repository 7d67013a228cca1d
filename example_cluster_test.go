package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
)

// Two hubs on one bus are one: here one in memory, in production that of natsbus or redisbus.
func ExampleWithBus() {
	broker := cluster.NewMemory()
	one, err := wshub.New(wshub.WithBus(broker.Bus()), wshub.WithNode("one"))
	if err != nil {
		fmt.Println(err)
		return
	}
	two, err := wshub.New(wshub.WithBus(broker.Bus()), wshub.WithNode("two"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()
	defer one.Close()
	defer two.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	here, _ := wshub.NewTopic[string](one, "news", wshub.Policy{})
	there, _ := wshub.NewTopic[string](two, "news", wshub.Policy{})
	news := there.Stream(ctx)
	if err := here.Publish(ctx, "crossed"); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-news)
	// Output: crossed
}

// With signing a node that does not know the key is not heard.
func ExampleWithSigning() {
	broker := cluster.NewMemory()
	defer broker.Close()
	node := func(key string) (*wshub.Hub, wshub.Topic[string]) {
		h, err := wshub.New(wshub.WithBus(broker.Bus()), wshub.WithSigning([]byte(key)), wshub.WithLogger(nil))
		if err != nil {
			panic(err)
		}
		topic, err := wshub.NewTopic[string](h, "news", wshub.Policy{})
		if err != nil {
			panic(err)
		}
		return h, topic
	}
	one, first := node("a secret of 32 random bytes, say")
	two, second := node("a secret of 32 random bytes, say")
	evil, third := node("some other secret that is guessed")
	defer one.Close()
	defer two.Close()
	defer evil.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	news := second.Stream(ctx)
	third.Publish(ctx, "forged")
	first.Publish(ctx, "signed")
	fmt.Println(<-news)
	// Output: signed
}

func ExampleWithPresence() {
	// Other nodes notice within three seconds that this one is gone, and who is back within ten seconds was never away.
	_, end := newExampleHub(wshub.WithPresence(time.Second, 10*time.Second))
	defer end()

	_, err := wshub.New(wshub.WithPresence(time.Millisecond, 0))
	fmt.Println(err)
	// Output: wshub: WithPresence: interval of 1ms, want 100ms to 1m
}

// An order that other nodes will not hear of is none.
func ExampleRequireBus() {
	broker := cluster.NewMemory()
	defer broker.Close()
	hub, err := wshub.New(wshub.WithBus(broker.Bus()), wshub.WithLogger(nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Close()
	orders, err := wshub.NewTopic[string](hub, "orders", wshub.RequireBus())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	fmt.Println(orders.Publish(ctx, "first"))
	broker.Down()
	fmt.Println(errors.Is(orders.Publish(ctx, "second"), wshub.ErrBus))
	// Output:
	// <nil>
	// true
}

func ExampleHub_Nodes() {
	broker := cluster.NewMemory()
	defer broker.Close()
	hub, err := wshub.New(wshub.WithBus(broker.Bus()), wshub.WithNode("one"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Close()
	for n := range hub.Nodes() {
		fmt.Println(n.ID, n.Sessions, n.Here)
	}
	// Output: one 0 true
}
