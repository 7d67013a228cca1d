// Command pipeline turns what clients send into what clients see, with functions over sequences and channels:
//
//	messages → Decode → Filter → Batch → stored, published as readings
//	readings → Map → Throttle → means, four a second
//	readings → Where hot, Where cold → Merge → ForEach → alarms
//	alarms → Debounce → printed, when it is calm again
//
// A client at /ws sends {"sensor":"roof","celsius":21.5} and gets the means and alarms. The program has sensors of its own,
// so it needs no clients, and ends by itself after -for.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wshub-go/wshub"
)

// Reading is what a sensor says.
type Reading struct {
	Sensor  string  `json:"sensor"`
	Celsius float64 `json:"celsius"`
}

// Mean is that of all readings so far.
type Mean struct {
	Of      int     `json:"of"`
	Celsius float64 `json:"celsius"`
}

type plant struct {
	hub      *wshub.Hub
	readings wshub.Topic[Reading]
	means    wshub.Topic[Mean]
	alarms   wshub.Topic[Reading]

	stored, bad, odd, averaged, alarmed atomic.Int64
}

func newPlant() (*plant, error) {
	hub, err := wshub.New()
	if err != nil {
		return nil, err
	}
	p := &plant{hub: hub}
	var errs [3]error
	// Nobody but the program subscribes to the readings, and it keeps up or the publishers wait: nothing is lost on the way.
	p.readings, errs[0] = wshub.NewTopic[Reading](hub, "readings", wshub.Block(1000, time.Minute))
	p.means, errs[1] = wshub.NewTopic(hub, "means", wshub.Coalesce(), wshub.AsEvent[Mean]("mean"))
	p.alarms, errs[2] = wshub.NewTopic(hub, "alarms", wshub.Policy{}, wshub.AsEvent[Reading]("alarm"))
	return p, errors.Join(errs[:]...)
}

// ingest takes readings in until there are no more messages: of a client, or of the program's own sensors. Only Chan starts
// a goroutine, since Batch waits for values and for time at once; the others run in this one.
func (p *plant) ingest(ctx context.Context, messages <-chan wshub.Message) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends Chan if the loop is left early
	decoded := wshub.Decode[Reading](wshub.From(ctx, messages), func(wshub.Message, error) bool {
		p.bad.Add(1)
		return true // go on with the next
	})
	plausible := wshub.Filter(decoded, func(r Reading) bool {
		ok := r.Sensor != "" && math.Abs(r.Celsius) < 80
		if !ok {
			p.odd.Add(1)
		}
		return ok
	})
	for batch := range wshub.Batch(ctx, wshub.Chan(ctx, plausible), 20, 100*time.Millisecond) {
		p.stored.Add(int64(len(batch))) // one write to a database for all of them
		for _, r := range batch {
			if err := p.readings.Publish(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// run runs what follows from the readings until ctx ends or the hub is closed. ready is closed once no reading is missed
// any more.
func (p *plant) run(ctx context.Context, out *log.Logger, ready chan<- struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := p.readings.Stream(ctx)
	hot := p.readings.Where(func(r Reading) bool { return r.Celsius > 30 }).Stream(ctx)
	cold := p.readings.Where(func(r Reading) bool { return r.Celsius < 0 }).Stream(ctx)
	raised := p.alarms.Stream(ctx)
	close(ready)

	var wg sync.WaitGroup
	var errs [2]error
	wg.Go(func() {
		var m Mean
		means := wshub.Map(wshub.From(ctx, all), func(r Reading) Mean {
			m.Of++
			m.Celsius += (r.Celsius - m.Celsius) / float64(m.Of)
			return m
		})
		for m := range wshub.Throttle(ctx, wshub.Chan(ctx, means), 250*time.Millisecond) {
			p.averaged.Add(1)
			out.Printf("mean of %d: %.2f °C", m.Of, m.Celsius)
			if errs[0] = p.means.Publish(ctx, m); errs[0] != nil {
				return
			}
		}
	})
	wg.Go(func() {
		alarms := wshub.From(ctx, wshub.Merge(ctx, hot, cold))
		errs[1] = wshub.ForEach(ctx, alarms, 4, func(ctx context.Context, r Reading) error { // four at a time
			p.alarmed.Add(1)
			return p.alarms.Publish(ctx, r)
		})
	})
	wg.Go(func() {
		for r := range wshub.Debounce(ctx, raised, 500*time.Millisecond) {
			out.Printf("calm again; the last alarm was %s with %.1f °C", r.Sensor, r.Celsius)
		}
	})
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil && !errors.Is(err, wshub.ErrClosed) && ctx.Err() == nil {
		return err
	}
	return nil
}

// serve is one client.
func (p *plant) serve(ctx context.Context, s *wshub.Session) error {
	if err := errors.Join(p.means.Join(ctx, s), p.alarms.Join(ctx, s)); err != nil {
		return err
	}
	// Not with ctx, which ends as soon as the last message was taken, and Batch with it: Messages closes in any case.
	return p.ingest(context.WithoutCancel(ctx), s.Messages())
}

func main() {
	addr := flag.String("addr", ":8080", "the `address` to listen on")
	length := flag.Duration("for", 3*time.Second, "how long to run, 0: until a signal")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *length > 0 {
		ctx, stop = context.WithTimeout(ctx, *length)
		defer stop()
	}
	if err := start(ctx, *addr, log.New(os.Stdout, "", 0)); err != nil {
		log.Fatal(err)
	}
}

// start serves until ctx ends: first the sensors, then the sessions, and with the hub the streams.
func start(ctx context.Context, addr string, out *log.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p, err := newPlant()
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	out.Printf("http://127.0.0.1:%d/", ln.Addr().(*net.TCPAddr).Port)
	srv := &http.Server{Handler: p.hub.Handler(p.serve), ReadHeaderTimeout: 5 * time.Second}
	var wg sync.WaitGroup
	ready, errs := make(chan struct{}), make([]error, 5)
	wg.Go(func() { // ends with srv.Close
		defer stop()
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			errs[0] = err
		}
	})
	wg.Go(func() { errs[1] = p.run(context.Background(), out, ready) }) // ends with the hub
	<-ready
	errs[2] = p.ingest(context.Background(), sense(ctx)) // ends when ctx closes the channel, after the last batch
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	errs[3], errs[4] = p.hub.Shutdown(grace), srv.Close()
	wg.Wait()
	out.Printf("%d readings stored, %d not decoded, %d implausible; %d means, %d alarms",
		p.stored.Load(), p.bad.Load(), p.odd.Load(), p.averaged.Load(), p.alarmed.Load())
	return errors.Join(errs...)
}
