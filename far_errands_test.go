package wshub

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// Errands are run in their order, none beside another, and what there is no room for is left out and counted.
func TestErrands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := farHub(t, WithLimits(Limits{Pending: 4, PendingBytes: 100}), WithPolicy(DropOldest(4)))
		var ran []string
		gate := make(chan struct{})
		h.errand(0, func() { <-gate })
		synctest.Wait()
		for i := range 6 {
			h.errand(10, func() { ran = append(ran, fmt.Sprint("small ", i)) })
		}
		gate <- struct{}{}
		synctest.Wait()
		h.errand(0, func() { <-gate })
		synctest.Wait()
		for i := range 3 {
			h.errand(60, func() { ran = append(ran, fmt.Sprint("large ", i)) })
		}
		gate <- struct{}{}
		synctest.Wait()
		h.errand(1000, func() { ran = append(ran, "one that is larger than all") })
		synctest.Wait()
		want := []string{"small 0", "small 1", "small 2", "small 3", "large 0", "one that is larger than all"}
		if !slices.Equal(ran, want) {
			t.Errorf("ran %q, want %q", ran, want)
		}
		if n := h.Stats().Bus.Undelivered; n != 4 {
			t.Errorf("%d were left out", n)
		}
	})
}
