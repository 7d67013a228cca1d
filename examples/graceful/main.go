// Command graceful restarts a server under load, and shows that its clients miss nothing.
//
// It serves numbers at a steady pace to clients of its own. On SIGTERM, which with -demo it sends to itself, it drains:
// the clients are asked to go one after the other and get 1001. Then a new hub takes over the address, as the next
// process would; the clients come back, each with the last number it has seen. After a second more of numbers
// the program says what the clients have seen. It exits with 1 unless every one of them had every number, once and in order.
//
// What the parts promise: a session is sent everything or closed (the default policy), a close of ours comes after what was
// pending, History and Replay know what came since. What lives longer than a hub is the program's: here a slice.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/wshub-go/wshub"
)

// history is how many numbers a client may have missed when it comes back.
const history = 10_000

// Tick is a number.
type Tick struct {
	Seq  uint64 `json:"seq"`
	Last bool   `json:"last,omitempty"` // no other follows
}

type config struct {
	addr    string
	clients int
	every   time.Duration // between two numbers
	settle  time.Duration // of the drain
	spread  time.Duration // of the drain
	more    time.Duration // how long numbers go on after the restart
}

func main() {
	c := config{settle: 100 * time.Millisecond, spread: 400 * time.Millisecond, more: time.Second}
	flag.StringVar(&c.addr, "addr", ":8080", "the `address` to listen on")
	flag.IntVar(&c.clients, "clients", 50, "how many clients there are")
	flag.DurationVar(&c.every, "every", 2*time.Millisecond, "the time between two numbers")
	demo := flag.Bool("demo", false, "send itself SIGTERM after a second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *demo {
		time.AfterFunc(time.Second, func() {
			if self, err := os.FindProcess(os.Getpid()); err != nil || self.Signal(syscall.SIGTERM) != nil {
				stop() // on systems without the signal
			}
		})
	}
	if err := run(ctx, c); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done, restarts, and tells whether a client has missed anything.
func run(ctx context.Context, c config) error {
	f := &feed{next: make(chan handover), stop: make(chan struct{}), done: make(chan struct{})}
	go f.run(c.every) // ends with stop
	n, err := start(c, c.addr, f)
	if err != nil {
		close(f.stop)
		return err
	}
	port := n.addr.(*net.TCPAddr).Port
	fmt.Printf("http://127.0.0.1:%d/\n", port)

	limit, cancel := context.WithCancel(context.Background())
	defer cancel()
	clients := make([]client, c.clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { clients[i].run(limit, port) }) // ends with the last number, or limit
	}

	var failed error
	select {
	case failed = <-n.served: // the listener broke
	case <-ctx.Done():
	}
	begun := time.Now()
	stopped := n.end()
	n, err = start(c, n.addr.String(), f)
	if err != nil {
		cancel()
		close(f.stop)
		wg.Wait()
		return errors.Join(failed, stopped, err)
	}
	fmt.Printf("restarted in %v\n", time.Since(begun).Round(time.Millisecond))
	time.Sleep(c.more) // under load

	close(f.stop)
	<-f.done
	late := time.AfterFunc(30*time.Second, cancel)
	wg.Wait()
	late.Stop()
	return errors.Join(failed, stopped, n.end(), report(clients, f.last))
}

// report prints what the clients have seen, and returns an error when one has missed anything.
func report(clients []client, last uint64) error {
	var errs []error
	restarts, closes := 0, map[wshub.StatusCode]int{}
	for i := range clients {
		c := &clients[i]
		restarts += c.dials - 1
		for code, n := range c.closes {
			closes[code] += n
		}
		if c.err != nil || c.seen != last {
			errs = append(errs, fmt.Errorf("client %d: seen %d of %d: %v", i, c.seen, last, c.err))
		}
	}
	fmt.Printf("%d clients came back %d times, closed with %v; each was to see %d numbers, %d did not\n",
		len(clients), restarts, closes, last, len(errs))
	return errors.Join(errs...)
}

// node is a server from its start to its end.
type node struct {
	hub    *wshub.Hub
	srv    *http.Server
	addr   net.Addr
	served chan error
}

// start serves the feed on addr. Whoever joins is sent what it has missed, and then what comes: no gap, no repeat.
func start(c config, addr string, f *feed) (*node, error) {
	hub, err := wshub.New(wshub.WithDrain(c.settle, c.spread))
	if err != nil {
		return nil, err
	}
	ticks, err := wshub.NewTopic[Tick](hub, "ticks", wshub.History(history, 0))
	if err != nil {
		return nil, err
	}
	f.handOver(ticks) // before the first client can join
	mux := http.NewServeMux()
	mux.Handle("/livez", hub.LiveHandler())
	mux.Handle("/readyz", hub.ReadyHandler()) // 503 from the beginning of the drain on
	mux.Handle("/ws", hub.HandlerFor(func(r *http.Request) (wshub.SessionFunc, error) {
		after, err := strconv.ParseUint(r.FormValue("after"), 10, 64)
		if err != nil {
			return nil, &wshub.RejectError{Status: http.StatusBadRequest, Reason: "after is not a number"}
		}
		return func(ctx context.Context, s *wshub.Session) error {
			s.CloseRead()
			missed := func(t Tick) bool { return t.Seq > after }
			if err := ticks.Where(missed).With(wshub.Replay(history)).Join(ctx, s); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}, nil
	}))
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, errors.Join(err, hub.Close())
	}
	n := &node{hub, &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, ln.Addr(), make(chan error, 1)}
	go func() { n.served <- n.srv.Serve(ln) }() // ends with srv.Close
	return n, nil
}

// end lets the sessions go one after the other, then closes what is left, and the listener.
func (n *node) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	return errors.Join(n.hub.Drain(ctx), n.hub.Shutdown(ctx), n.srv.Close())
}

// feed is what outlives the hubs: it makes the numbers, keeps them, and publishes them to the hub there is.
type feed struct {
	next chan handover
	stop chan struct{} // closed by run, for the last number
	done chan struct{} // closed after it
	last uint64        // set before done is closed
}

type handover struct {
	to   wshub.Topic[Tick]
	done chan struct{}
}

// handOver publishes to another topic from now on, which begins with all that its history takes.
func (f *feed) handOver(to wshub.Topic[Tick]) {
	h := handover{to, make(chan struct{})}
	f.next <- h
	<-h.done
}

func (f *feed) run(every time.Duration) {
	defer close(f.done)
	pace := time.NewTicker(every)
	defer pace.Stop()
	var kept []Tick             // in a real program: a database, a log, the source itself
	var topic wshub.Topic[Tick] // the zero Topic is closed
	publish := func(t Tick) {
		if err := topic.Publish(context.Background(), t); err != nil && !errors.Is(err, wshub.ErrClosed) {
			log.Print(err) // between two hubs numbers are only kept
		}
	}
	for last := false; !last; {
		select {
		case h := <-f.next:
			topic = h.to
			for _, t := range kept[max(0, len(kept)-history):] {
				publish(t)
			}
			close(h.done)
			continue
		case <-pace.C:
		case <-f.stop:
			last = true
		}
		f.last++
		if len(kept) == 2*history {
			kept = slices.Clone(kept[history:])
		}
		kept = append(kept, Tick{f.last, last})
		publish(kept[len(kept)-1])
	}
}
