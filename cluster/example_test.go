package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

func ExampleMemory() {
	broker := cluster.NewMemory()
	defer broker.Close()
	a, b := broker.Bus(), broker.Bus() // one for each hub

	ctx := context.Background()
	b.Subscribe(ctx, "news.sport")
	a.Publish(ctx, cluster.Message{Subject: "news.sport", Data: []byte("1:0")}, cluster.Message{Subject: "news.weather"})
	m := <-b.Receive()
	fmt.Printf("%s: %s\n", m.Subject, m.Data)

	broker.Down()
	_, err := a.Publish(ctx, cluster.Message{Subject: "news.sport"})
	fmt.Println(errors.Is(err, cluster.ErrDown))
	// Output:
	// news.sport: 1:0
	// true
}

// A test of what a program does when messages are late or lost, in fake time.
func ExampleMemory_SetFaults() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			broker := cluster.NewMemory(cluster.WithSeed(42))
			defer broker.Close()
			a, b := broker.Connect("a"), broker.Connect("b")
			b.Subscribe(t.Context(), "x")

			broker.SetFaults(cluster.Faults{Drop: 0.1, MinDelay: time.Millisecond, MaxDelay: time.Second})
			for range 100 {
				a.Publish(t.Context(), cluster.Message{Subject: "x"})
			}
			broker.SetFaults(cluster.Faults{})
			time.Sleep(time.Second)
			synctest.Wait()
			if s := broker.Stats(); s.Delivered.Messages+s.Dropped != 100 {
				t.Errorf("%+v", s)
			}
		})
	}
	_ = test
}

func ExampleMemory_Tap() {
	broker := cluster.NewMemory()
	defer broker.Close()
	a, b := broker.Connect("a"), broker.Connect("b")
	ctx := context.Background()
	b.Subscribe(ctx, "x")

	broker.Tap(func(d cluster.Delivery) (pass bool) {
		fmt.Printf("%s to %s: %s\n", d.From, d.To, d.Data)
		return string(d.Data) != "2" // this one is lost
	})
	for _, text := range []string{"1", "2", "3"} {
		a.Publish(ctx, cluster.Message{Subject: "x", Data: []byte(text)})
	}
	fmt.Println(broker.Delivered("b", "x").Messages)
	// Output:
	// a to b: 1
	// a to b: 2
	// a to b: 3
	// 2
}

func ExampleMemory_Partition() {
	broker := cluster.NewMemory()
	defer broker.Close()
	a, b, c := broker.Connect("a"), broker.Connect("b"), broker.Connect("c")
	ctx := context.Background()
	b.Subscribe(ctx, "x")
	c.Subscribe(ctx, "x")

	broker.Partition([]string{"a", "b"}) // and c on the other side
	a.Publish(ctx, cluster.Message{Subject: "x"})
	broker.Partition()
	a.Publish(ctx, cluster.Message{Subject: "x"})
	fmt.Println(broker.Delivered("b", "x").Messages, broker.Delivered("c", "x").Messages)
	// Output: 2 1
}
