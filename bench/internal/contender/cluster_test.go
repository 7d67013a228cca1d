package contender

import (
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/wshub-go/wshub/bench/internal/broker"
	"github.com/wshub-go/wshub/bench/internal/proto"
)

// Three nodes over each broker: what one publishes reaches the client of the next.
func TestCluster(t *testing.T) {
	for _, kind := range []string{"nats", "redis"} {
		for _, c := range All() {
			if !c.Cluster {
				continue
			}
			t.Run(kind+"/"+c.Name, func(t *testing.T) {
				url := startBroker(t, kind)
				var hubs []Hub
				var clients []peer
				for i := range 3 {
					o := Options{Bus: url, Node: fmt.Sprint("node", i)}
					hub, addr := serve(t, c, o)
					hubs = append(hubs, hub)
					clients = append(clients, dial(t, c, o, addr, i, i))
				}
				for i, hub := range hubs {
					await(t, "a client", func() bool { return hub.Clients() == 1 && hub.Joins() == 1 })
					from := hubs[(i+2)%3]
					// The bus may just be connecting: what is published before is lost.
					met := make(chan struct{})
					go func() { clients[i].expect(`"hello"`); close(met) }()
					for done := false; !done; {
						from.Publish(i, []byte(`"hello"`))
						select {
						case <-met:
							done = true
						case <-time.After(50 * time.Millisecond):
						}
					}
				}
			})
		}
	}
}

// startBroker returns the URL of a broker that ends with the test.
func startBroker(t *testing.T, kind string) string {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := broker.Run(kind, inR, outW)
		outW.Close()
		ended <- err
	}()
	t.Cleanup(func() {
		inW.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var r proto.Reply
	var ready proto.Ready
	if err := json.NewDecoder(outR).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(r.Result, &ready); err != nil {
		t.Fatal(err)
	}
	return ready.Addr
}
