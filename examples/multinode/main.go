// Command multinode runs one hub on three nodes, each a process of its own, and serves a page that shows what that means:
// which node a tab is on, who is there on all of them, messages that cross. A button kills a node: its people go from the
// list of the others, and come back on another node. Another button stops the bus between them.
//
// The process that is started is the front: it serves the page, hands each WebSocket to one of the nodes, and has an
// embedded NATS server. The nodes are the same program with -node. With -bus they use a real NATS or Redis server;
// fronts with different -nodes that share one, and the key in MULTINODE_KEY, have one cluster.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The environment tells a node what the list of processes must not show.
const (
	busEnv = "MULTINODE_BUS" // the URL of the bus, which may have a password
	keyEnv = "MULTINODE_KEY" // what the nodes sign with
)

type config struct {
	addr     string
	bus      string // its URL; "" is an embedded NATS server
	key      string // "": nothing is signed
	ids      []string
	restart  time.Duration // after which a node that has ended is started again; 0: only when it is asked for
	interval time.Duration // between two heartbeats of a node
	grace    time.Duration // before those whose session has ended are said to have left
}

func main() {
	c := config{key: os.Getenv(keyEnv)}
	flag.StringVar(&c.addr, "addr", "127.0.0.1:8080", "the `address` to listen on")
	flag.StringVar(&c.bus, "bus", "", "the `URL` of the bus, nats://host:port or redis://host:port (default an embedded NATS server)")
	ids := flag.String("nodes", "a,b,c", "the `ids` of the nodes")
	flag.DurationVar(&c.restart, "restart", 20*time.Second, "start a node again this long after its end; 0 is never")
	flag.DurationVar(&c.interval, "interval", 500*time.Millisecond, "the time between two heartbeats of a node")
	flag.DurationVar(&c.grace, "grace", 3*time.Second, "for how long people may be away before they are said to have left")
	id := flag.String("node", "", "be the node of this `id`, as the front starts it")
	flag.Parse()
	c.ids = strings.Split(*ids, ",")
	c.bus = cmp.Or(c.bus, os.Getenv(busEnv))

	if *id != "" {
		// Ctrl-C is sent to all processes of a terminal. A node ends when the front closes its standard input, or is gone.
		signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
		log.SetPrefix("node " + *id + ": ")
		if err := runNode(*id, c, os.Stdin, os.Stdout); err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts the bus, the nodes and the front, whose address it prints, and serves until ctx is done.
func run(ctx context.Context, c config, out io.Writer) (err error) {
	f := &front{}
	if c.bus == "" {
		c.key = rand.Text()
		if f.broker, err = newBroker(); err != nil {
			return err
		}
		defer f.broker.stop()
		c.bus = f.broker.url
	} else if f.bus, err = busName(c.bus); err != nil {
		return err
	}
	for _, id := range c.ids {
		f.nodes = append(f.nodes, &process{id: id, asked: make(chan struct{}, 1)})
	}

	ln, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: f.handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }() // ends with srv.Close
	defer srv.Close()

	alive, end := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer func() { // the nodes end first, and with them what the front holds open for their sessions
		end()
		wg.Wait()
	}()
	for _, p := range f.nodes {
		exited, err := p.start(alive, c)
		if err != nil {
			return err
		}
		wg.Go(func() { p.keep(alive, c, exited) }) // ends with alive
	}
	fmt.Fprintf(out, "http://%s/\n", address(ln.Addr()))
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return nil
	}
}

// address returns where a browser on this machine finds the listener.
func address(a net.Addr) string {
	tcp := a.(*net.TCPAddr)
	if tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return tcp.String()
}
