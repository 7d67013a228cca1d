// Command quickstart serves a page that shows live prices and chat rooms.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/wshub-go/wshub"
)

//go:embed index.html
var page []byte

// Tick is a new price. Its key is the symbol: of two ticks of one symbol, a client that lags needs only the later one.
type Tick struct {
	Symbol string  `json:"symbol"`
	Price  float64 `json:"price"`
}

// Key is what conflation goes by.
func (t Tick) Key() string { return t.Symbol }

// Chat is what somebody said in a room.
type Chat struct {
	Room string `json:"room"`
	Name string `json:"name"`
	Text string `json:"text"`
}

func main() {
	addr := flag.String("addr", ":8080", "the `address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done, and then closes every session with 1001.
func run(ctx context.Context, addr string) error {
	hub, err := wshub.New()
	if err != nil {
		return err
	}
	// With keys and Coalesce the history is the last price of each symbol.
	ticks, err := wshub.NewTopic(hub, "ticks", wshub.Coalesce().With(wshub.History(100, 0)), wshub.KeyBy(Tick.Key))
	if err != nil {
		return err
	}
	rooms, err := wshub.NewFamily[Chat](hub, "room", wshub.History(50, time.Hour))
	if err != nil {
		return err
	}

	http.Handle("/ws", hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		// This session: first all prices, then at most 20 flushes a second, each the latest of what changed.
		if err := ticks.With(wshub.FlushEvery(50*time.Millisecond).With(wshub.Replay(100))).Join(ctx, s); err != nil {
			return err
		}
		for msg := range s.Messages() { // a plain <-chan Message
			var c Chat
			if err := msg.Decode(&c); err != nil {
				return err // closes 1007
			}
			room, err := rooms.Topic(c.Room)
			if err != nil {
				return err
			}
			if !room.Has(s) { // its first message here: it joins, and hears what was said
				if err := room.With(wshub.Replay(50)).Join(ctx, s); err != nil {
					return err
				}
			}
			if c.Text == "" {
				continue
			}
			if err := room.Except(s).Publish(ctx, c); err != nil {
				return err
			}
		}
		return nil // closes 1000
	}))
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { w.Write(page) })

	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("http://127.0.0.1:%d/\n", ln.Addr().(*net.TCPAddr).Port)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }() // ends with srv.Close
	go quote(ctx, ticks)                    // ends with ctx
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(hub.Shutdown(grace), srv.Close())
}

// quote publishes prices that walk at random, ten times a second, until ctx is done.
func quote(ctx context.Context, ticks wshub.Topic[Tick]) {
	market := []Tick{{"ACME", 182.40}, {"BOLT", 27.15}, {"CORE", 1240.00}, {"DUNE", 64.80}, {"ECHO", 8.92}, {"FERN", 415.25}}
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		t := &market[rand.IntN(len(market))]
		t.Price = math.Round(t.Price*(1+rand.NormFloat64()/400)*100) / 100
		if err := ticks.Publish(ctx, *t); err != nil {
			log.Print(err)
		}
	}
}
