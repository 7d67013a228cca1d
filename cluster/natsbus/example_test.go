package natsbus_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/cluster/natsbus"
)

func ExampleConnect() {
	// A server in this process; yours runs somewhere else.
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true})
	if err != nil {
		log.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()

	one, err := natsbus.Connect(s.ClientURL(), natsbus.Prefix("chat"))
	if err != nil {
		log.Fatal(err)
	}
	defer one.Close()
	two, err := natsbus.Connect(s.ClientURL(), natsbus.Prefix("chat"))
	if err != nil {
		log.Fatal(err)
	}
	defer two.Close()

	ctx := context.Background()
	fmt.Println((<-two.Status()).State)
	if err := two.Subscribe(ctx, "room.lobby"); err != nil {
		log.Fatal(err)
	}
	if _, err := one.Publish(ctx, cluster.Message{Subject: "room.lobby", Data: []byte("hello")}); err != nil {
		log.Fatal(err)
	}
	m := <-two.Receive()
	fmt.Printf("%s: %s\n", m.Subject, m.Data)

	_, err = one.Publish(ctx, cluster.Message{Subject: "room.*", Data: []byte("hello, all")})
	fmt.Println(err)
	// Output:
	// up
	// room.lobby: hello
	// natsbus: publish: cluster: bad subject: "room.*"
}
