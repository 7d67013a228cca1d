package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/wshub-go/wshub"
)

// sense makes messages as sensors send them until ctx ends, and closes the channel then.
func sense(ctx context.Context) <-chan wshub.Message {
	out := make(chan wshub.Message)
	go func() { // ends with ctx
		defer close(out)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			m := wshub.Text("out of order") // what no pipeline should trip over
			if n%50 != 0 {
				m, _ = wshub.JSON(Reading{[]string{"roof", "cellar", "oven"}[n%3], 15 + 8*rand.NormFloat64()})
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case <-ctx.Done():
				return
			case out <- m:
			}
		}
	}()
	return out
}
