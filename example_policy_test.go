package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wshub-go/wshub"
)

// A subscription replaces what it sets and inherits the rest.
func ExamplePolicy_With() {
	topic := wshub.Compose(wshub.Coalesce(), wshub.FlushEvery(100*time.Millisecond))
	mobile := topic.With(wshub.FlushEvery(time.Second))
	fmt.Println(topic)
	fmt.Println(mobile)
	fmt.Println(topic.With(wshub.Policy{}) == topic)
	// Output:
	// coalesce flushevery(100ms)
	// coalesce flushevery(1s)
	// true
}

// The latest price of each symbol, at most 20 values a second for each client,
// and never more than 64 KiB waiting for one.
func ExampleCompose() {
	prices := wshub.Compose(
		wshub.Coalesce(),
		wshub.Rate(20, 1),
		wshub.MaxBytes(64<<10),
	)
	fmt.Println(prices)
	// Output: maxbytes(65536) coalesce rate(20,1)
}

// Policies can come from a flag or a configuration file.
func ExampleParsePolicy() {
	p, err := wshub.ParsePolicy("dropoldest(100) flushevery(50ms)")
	fmt.Println(p, err)
	fmt.Println(p == wshub.Compose(wshub.FlushEvery(50*time.Millisecond), wshub.DropOldest(100)))

	_, err = wshub.ParsePolicy("evict(100)")
	fmt.Println(errors.Is(err, wshub.ErrPolicy), err)
	// Output:
	// dropoldest(100) flushevery(50ms) <nil>
	// true
	// true wshub: invalid policy: parse "evict(100)": want evict(n,grace), not evict(100)
}

func ExampleMessage() {
	type move struct {
		X, Y int
	}
	m, err := wshub.JSON(move{X: 3, Y: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Kind, m.Text())
	fmt.Println(wshub.Text("hello").Kind, wshub.Binary([]byte{1, 2}).Kind)
	// Output:
	// text {"X":3,"Y":4}
	// text binary
}

// An error of Decode that a SessionFunc returns closes its session with 1007.
func ExampleMessage_Decode() {
	var c struct{ Room, Text string }
	err := wshub.Text(`{"room":"go","text":"hi","sentBy":"a newer client"}`).Decode(&c)
	fmt.Println(c.Room, c.Text, err)

	err = wshub.Text(`{"room":"go"} and more`).Decode(&c)
	fmt.Println(errors.Is(err, wshub.ErrDecode), err)
	// Output:
	// go hi <nil>
	// true wshub: cannot decode message: invalid character 'a' after top-level value
}

// A subscriber that is too slow loses its subscription, and knows.
func ExampleEvict() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	orders, _ := wshub.NewTopic[int](hub, "orders", wshub.Evict(100, 0))
	s := orders.Subscribe(ctx)
	for i := range 200 { // which nobody reads
		orders.Publish(ctx, i)
	}
	for range s.C() {
	}
	fmt.Println(s.Err(), errors.Is(s.Err(), wshub.ErrSlow))
	// Output: stream of "orders": wshub: subscriber is too slow true
}

// The newest hundred points of a chart; a gap before them does no harm.
func ExampleDropOldest() {
	points := make(chan int)
	chart := wshub.Apply(context.Background(), points, wshub.DropOldest(100))
	for i := range 1000 {
		points <- i
	}
	close(points)
	got := slices.Collect(wshub.From(context.Background(), chart.C()))
	newest := got[len(got)-100:]
	fmt.Println(newest[0], newest[99])
	// Output: 900 999
}

// The first three to press the button; while nobody has looked, all others are too late.
func ExampleDropNewest() {
	presses := make(chan int)
	first := wshub.Apply(context.Background(), presses, wshub.DropNewest(3))
	for i := range 1000 {
		presses <- i
	}
	close(presses)
	fmt.Println(<-first.C(), <-first.C(), <-first.C())
	first.Close()
	// Output: 0 1 2
}

// Nothing is lost, and so whoever publishes waits; a context bounds that.
func ExampleBlock() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	hub, end := newExampleHub()
	defer end()
	jobs, _ := wshub.NewTopic[int](hub, "jobs", wshub.Block(10, time.Hour))
	s := jobs.Subscribe(context.Background())
	defer s.Close()

	var err error
	n := 0
	for ; err == nil; n++ { // which nobody reads
		err = jobs.Publish(ctx, n)
	}
	fmt.Println(n < 20, errors.Is(err, wshub.ErrPendingFull))
	// Output: true true
}

// The latest price of each symbol, whatever came in between.
func ExampleCoalesce() {
	ticks := make(chan Tick)
	prices := wshub.Apply(context.Background(), ticks, wshub.Coalesce(), wshub.KeyBy(Tick.Key))
	for i := range 1000 {
		ticks <- Tick{"ACME", float64(i)}
		ticks <- Tick{"INIT", float64(-i)}
	}
	close(ticks)
	latest := map[string]float64{}
	received := 0
	for t := range prices.C() {
		latest[t.Symbol] = t.Price
		received++
	}
	fmt.Println(latest, received < 100)
	// Output: map[ACME:999 INIT:-999] true
}

// A recorder wants all ticks of a topic that gives its other subscribers only the latest.
func ExampleKeepAll() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	ticks, _ := wshub.NewTopic(hub, "ticks", wshub.Coalesce(), wshub.KeyBy(Tick.Key))
	recorder := ticks.With(wshub.KeepAll()).Subscribe(ctx)
	defer recorder.Close()
	for i := range 1000 {
		ticks.Publish(ctx, Tick{"ACME", float64(i)})
	}
	for i := range 1000 {
		if t := <-recorder.C(); t.Price != float64(i) {
			fmt.Println("missed", i)
			return
		}
	}
	fmt.Println("all of them")
	// Output: all of them
}

// What waits for a slow reader has a bound in bytes too: of these pages six fit.
func ExampleMaxBytes() {
	pages := make(chan string)
	p := wshub.Compose(wshub.DropOldest(1000), wshub.MaxBytes(64<<10))
	recent := wshub.Apply(context.Background(), pages, p)
	for i := range 1000 {
		pages <- fmt.Sprintf("page %d %10000s", i, "")
	}
	close(pages)
	got := slices.Collect(wshub.From(context.Background(), recent.C()))
	fmt.Println(len(got) < 100, strings.TrimSpace(got[len(got)-1]))
	// Output: true page 999
}

// At most one value each 10 ms, and after a pause two at once.
func ExampleRate() {
	numbers := make(chan int)
	paced := wshub.Apply(context.Background(), numbers, wshub.Compose(wshub.Rate(100, 2), wshub.DropOldest(100)))
	start := time.Now()
	for i := range 6 {
		numbers <- i
	}
	close(numbers)
	got := slices.Collect(wshub.From(context.Background(), paced.C()))
	fmt.Println(got, time.Since(start) >= 39*time.Millisecond)
	// Output: [0 1 2 3 4 5] true
}

// At most 100 kB a second, whatever the messages.
func ExampleRateBytes() {
	chunks := make(chan []byte)
	p := wshub.Compose(wshub.RateBytes(100_000, 1000), wshub.DropOldest(100))
	paced := wshub.Apply(context.Background(), chunks, p)
	start := time.Now()
	for range 5 {
		chunks <- make([]byte, 1000)
	}
	close(chunks)
	got := slices.Collect(wshub.From(context.Background(), paced.C()))
	fmt.Println(len(got), time.Since(start) >= 39*time.Millisecond)
	// Output: 5 true
}

// A display that is drawn anew ten times a second wants no more than that.
func ExampleFlushEvery() {
	temperatures := make(chan int)
	shown := wshub.Apply(context.Background(), temperatures, wshub.Compose(wshub.Coalesce(), wshub.FlushEvery(100*time.Millisecond)))
	for i := range 1000 {
		temperatures <- i
	}
	close(temperatures)
	got := slices.Collect(wshub.From(context.Background(), shown.C()))
	fmt.Println(len(got) < 100, got[len(got)-1])
	// Output: true 999
}

// Values that are pending together come as one message, for clients that split it at the line ends.
func ExamplePackText() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	lines, _ := wshub.NewTopic[string](hub, "lines", wshub.Compose(wshub.History(100, 0), wshub.PackText("\n")))
	for _, line := range []string{"one", "two", "three"} {
		lines.Publish(ctx, line)
	}
	ann := connect(hub, "ann")
	lines.With(wshub.Replay(100)).Join(ctx, ann.session)
	fmt.Printf("%q\n", ann.next())
	// Output: "one\ntwo\nthree"
}

// What a topic keeps for those who come late, also while it is empty: here the last two, and none for longer than an
// hour.
func ExampleHistory() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	room, _ := wshub.NewTopic[string](hub, "room", wshub.History(2, time.Hour))
	for _, text := range []string{"hi", "anybody here?", "bye then"} {
		room.Publish(ctx, text)
	}
	fmt.Printf("%q\n", slices.Collect(room.Snapshot()))
	// Output: ["anybody here?" "bye then"]
}

// How much of a topic's history a new member is sent, and what follows it without a gap.
func ExampleReplay() {
	ctx := context.Background()
	hub, end := newExampleHub()
	defer end()
	room, _ := wshub.NewTopic[string](hub, "room", wshub.History(100, 0))
	room.Publish(ctx, "first")
	room.Publish(ctx, "second")
	ann := connect(hub, "ann")

	room.With(wshub.Replay(1)).Join(ctx, ann.session)
	room.Publish(ctx, "third")
	fmt.Println(ann.next())
	fmt.Println(ann.next())
	// Output:
	// second
	// third
}
