package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/cluster/natsbus"
	"github.com/wshub-go/wshub/cluster/redisbus"
)

// openBus connects a node to the bus.
func openBus(rawURL string) (cluster.Bus, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "nats", "tls":
		return natsbus.Connect(rawURL)
	case "redis", "rediss":
		return redisbus.Connect(rawURL)
	}
	return nil, fmt.Errorf("the bus %s is neither nats:// nor redis://", u.Redacted())
}

// busName returns what the page says of a bus, without its password.
func busName(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return "", errors.New("-bus is not the URL of a bus")
	}
	return u.Scheme + "://" + u.Host, nil
}

// broker is a NATS server in this process, for the nodes alone: it listens on this machine only, and asks for a token.
type broker struct {
	url string

	mu   sync.Mutex
	opts server.Options // with the port of the first start, at which the nodes look for it
	ns   *server.Server // nil while it is stopped; guarded by mu
}

func newBroker() (*broker, error) {
	token := rand.Text()
	b := &broker{opts: server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, Authorization: token, NoLog: true, NoSigs: true}}
	if err := b.start(); err != nil {
		return nil, err
	}
	b.opts.Port = b.ns.Addr().(*net.TCPAddr).Port
	b.url = fmt.Sprintf("nats://%s@127.0.0.1:%d", token, b.opts.Port)
	return b, nil
}

func (b *broker) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ns != nil {
		return nil
	}
	opts := b.opts // the server changes them
	ns, err := server.NewServer(&opts)
	if err != nil {
		return err
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		ns.Shutdown()
		return errors.New("the embedded NATS server does not start")
	}
	b.ns = ns
	return nil
}

func (b *broker) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ns != nil {
		b.ns.Shutdown()
		b.ns.WaitForShutdown()
		b.ns = nil
	}
}

func (b *broker) up() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ns != nil
}
