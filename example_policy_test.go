package wshub_test

import (
	"errors"
	"fmt"
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
