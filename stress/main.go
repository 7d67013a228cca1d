// Command stress has many clients come and go in every way for some time, over real sockets, and then looks whether the hub
// is as it was before the first:
//
//	go -C stress run . -duration 2m -sessions 10000
//
// Guests connect, join rooms, receive, leave, and go: politely, by a reset, in the midst of the handshake or of a frame, or
// without reading what they are sent, while values are published to them, they are kicked, their identities are renewed or
// expire, and others watch who is there. At the end there must be no session, topic or member left, the goroutines and the
// heap must be back where they were, all accounts must add up, and no guest may have seen what must not happen: a value
// twice, late, missing or out of order, or one of a room that it has left. What is wrong is printed, and the exit code is 1.
//
// When the process may not have enough file descriptors for both ends of all connections, or with -apart, the guests are
// in a second process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

// config is what the flags say.
type config struct {
	Duration time.Duration // how long guests come
	Sessions int           // guests at a time
	Life     time.Duration // how long one stays, on average
	Rate     int           // values offered a second, about
	Apart    bool          // guests in a process of their own
}

func main() {
	if addr := os.Getenv(guestsEnv); addr != "" {
		guestsMain(addr)
		return
	}
	var c config
	flag.DurationVar(&c.Duration, "duration", 2*time.Minute, "how long guests come")
	flag.IntVar(&c.Sessions, "sessions", 10_000, "the `number` of guests at a time")
	flag.DurationVar(&c.Life, "life", 20*time.Second, "how long a guest stays, on average")
	flag.IntVar(&c.Rate, "rate", 20_000, "the `number` of values offered a second, about")
	flag.BoolVar(&c.Apart, "apart", false, "guests in a process of their own, even if the file descriptors suffice for one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

// run has guests come and go for the time given, or until ctx ends, prints figures to w and returns all that is wrong.
func run(ctx context.Context, c config, w io.Writer) error {
	if c.Duration <= 0 || c.Sessions <= 0 || c.Life <= 0 || c.Rate <= 0 {
		return errors.New("stress: -duration, -sessions, -life and -rate must be more than 0")
	}
	apart, err := processes(c, descriptors())
	if err != nil {
		return err
	}
	v, err := newVenue(c)
	if err != nil {
		return err
	}
	defer v.close()
	warm(4 * c.Sessions) // a guest's own, two of its session, and one of those that come for a moment
	before := look()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.Duration)
	defer cancel()
	v.start(ctx)
	progress := every(ctx, 10*time.Second, func() {
		fmt.Fprintf(w, "%4.0fs: %d sessions, %d accepted, %+v\n",
			time.Since(began).Seconds(), v.hub.Len(), v.hub.Stats().Accepted, v.hub.Stats().Topics)
	})
	var told *report
	if apart {
		fmt.Fprintln(w, "the guests are in a process of their own")
		told, err = guestsApart(ctx, c, v.addr())
	} else {
		told = guests(ctx, c, v.addr())
	}
	cancel()
	<-progress
	v.wait()
	fmt.Fprintf(w, "guests after %v: %v\n", time.Since(began).Round(time.Second), told)
	return errors.Join(err, told.err(), v.check(before, told.Most, w))
}

// every calls f again and again until ctx ends, and then closes what it returns.
func every(ctx context.Context, d time.Duration, f func()) <-chan struct{} {
	over := make(chan struct{})
	go func() { // ends with ctx
		defer close(over)
		t := time.NewTicker(d)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				f()
			case <-ctx.Done():
				return
			}
		}
	}()
	return over
}
