package wshub_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wshub-go/wshub"
)

// Functions compose; nothing runs but the loop.
func ExampleMap() {
	words := slices.Values([]string{"live", "data"})
	for w := range wshub.Map(words, strings.ToUpper) {
		fmt.Println(w)
	}
	// Output:
	// LIVE
	// DATA
}

func ExampleFilter() {
	numbers := slices.Values([]int{1, 2, 3, 4})
	fmt.Println(slices.Collect(wshub.Filter(numbers, func(n int) bool { return n%2 == 0 })))
	// Output: [2 4]
}

// In a SessionFunc the messages are wshub.From(ctx, s.Messages()).
func ExampleDecode() {
	messages := slices.Values([]wshub.Message{
		wshub.Text(`{"Symbol":"ACME","Price":1}`), wshub.Text(`oops`), wshub.Text(`{"Symbol":"ACME","Price":2}`),
	})
	for t := range wshub.Decode[Tick](messages, func(m wshub.Message, err error) bool {
		fmt.Println("skipped", m.Text())
		return true
	}) {
		fmt.Println(t.Symbol, t.Price)
	}
	// Output:
	// ACME 1
	// skipped oops
	// ACME 2
}

func ExampleFrom() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	ch := make(chan int, 2)
	ch <- 1
	ch <- 2
	for n := range wshub.From(ctx, ch) { // which nobody closes
		fmt.Println(n)
	}
	fmt.Println(ctx.Err())
	// Output:
	// 1
	// 2
	// context deadline exceeded
}

// Rows for a database: a hundred at a time, and none waits longer than a second.
func ExampleBatch() {
	rows := make(chan string, 3)
	rows <- "a"
	rows <- "b"
	rows <- "c"
	close(rows)
	for batch := range wshub.Batch(context.Background(), rows, 2, time.Second) {
		fmt.Println(batch)
	}
	// Output:
	// [a b]
	// [c]
}

// A search box: search when the user pauses.
func ExampleDebounce() {
	typed := make(chan string, 3)
	typed <- "w"
	typed <- "ws"
	typed <- "wsh"
	close(typed)
	for text := range wshub.Debounce(context.Background(), typed, 200*time.Millisecond) {
		fmt.Println("search", text)
	}
	// Output: search wsh
}

// A progress bar: the first value at once, the last for sure, and in between not more than one each 20 ms.
func ExampleThrottle() {
	progress := make(chan int, 100)
	for percent := range 100 {
		progress <- percent + 1
	}
	close(progress)
	for percent := range wshub.Throttle(context.Background(), progress, 20*time.Millisecond) {
		fmt.Println(percent)
	}
	// Output:
	// 1
	// 100
}

func ExampleLatest() {
	temperature := make(chan float64, 8)
	temperature <- 20.5
	temperature <- 20.7
	temperature <- 20.6
	for t := range wshub.Latest(context.Background(), temperature) {
		fmt.Println(t)
		break
	}
	// Output: 20.6
}

// A goroutine starts where a channel is wanted, and ends with ctx or its input.
func ExampleChan() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	squares := wshub.Chan(ctx, wshub.Map(slices.Values([]int{1, 2, 3}), func(n int) int { return n * n }))
	fmt.Println(<-squares, <-squares, <-squares)
	// Output: 1 4 9
}

func ExampleMerge() {
	hub, _ := wshub.New()
	defer hub.Close()
	goals, _ := wshub.NewTopic[string](hub, "goals", wshub.Policy{})
	fouls, _ := wshub.NewTopic[string](hub, "fouls", wshub.Policy{})

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	all := wshub.Merge(ctx, goals.Stream(ctx), fouls.Stream(ctx))
	goals.Publish(ctx, "1:0")
	fmt.Println(<-all)
	fouls.Publish(ctx, "number 7")
	fmt.Println(<-all)
	// Output:
	// 1:0
	// number 7
}

func ExampleForEach() {
	lengths := make([]int, 3)
	words := []string{"one", "three", "fifteen"}
	err := wshub.ForEach(context.Background(), slices.Values([]int{0, 1, 2}), 2, func(ctx context.Context, i int) error {
		lengths[i] = len(words[i])
		return nil
	})
	fmt.Println(lengths, err)
	// Output: [3 5 7] <nil>
}

// Any policy over any channel: here the last two values are kept while nobody has time, and one more is on offer.
func ExampleApply() {
	readings := make(chan int)
	recent := wshub.Apply(context.Background(), readings, wshub.DropOldest(2))
	for i := range 10 {
		readings <- i // never waits for the reader
	}
	close(readings)
	last := 0
	for r := range recent.C() {
		last = r
	}
	a := recent.Stats()
	fmt.Println(last, a.Offered, a.Sent+a.Dropped, recent.Err())
	// Output: 9 10 10 <nil>
}

// The state of a keyed topic for those who only want to look.
func ExampleTopic_Snapshot() {
	hub, _ := wshub.New()
	defer hub.Close()
	p := wshub.Compose(wshub.Coalesce(), wshub.History(1000, 0))
	ticks, _ := wshub.NewTopic(hub, "ticks", p, wshub.KeyBy(Tick.Key))
	for _, t := range []Tick{{"ACME", 1}, {"INIT", 2}, {"ACME", 3}} {
		ticks.Publish(context.Background(), t)
	}
	for t := range ticks.Snapshot() {
		fmt.Println(t.Symbol, t.Price)
	}
	// Output:
	// INIT 2
	// ACME 3
}
