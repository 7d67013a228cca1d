package redisbus_test

import (
	"context"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/cluster/redisbus"
)

func Example() {
	server, err := miniredis.Run() // a Redis for tests
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	bus, err := redisbus.Connect("redis://"+server.Addr(), redisbus.Prefix("shop"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	// What a hub does with it, see wshub.WithBus.
	ctx := context.Background()
	if err := bus.Subscribe(ctx, "wshub.all"); err != nil {
		log.Fatal(err)
	}
	if _, err := bus.Publish(ctx, cluster.Message{Subject: "wshub.all", Data: []byte("hello")}); err != nil {
		log.Fatal(err)
	}
	m := <-bus.Receive()
	fmt.Printf("%s: %s\n", m.Subject, m.Data)
	// Output: wshub.all: hello
}
