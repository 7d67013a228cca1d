package mesh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

func TestAsk(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		ctx := t.Context()
		all := startAll(t, net, 3)
		a, b, c := all[0], all[1], all[2]
		strange := strings.Repeat("\x00 émoji 🙂.*>", 1000)
		a.users["ann"], b.users["ann"], c.users["ann"] = 1, 2, 3
		b.users[strange] = 5
		b.toggle("room", "n1.1")
		ask := func(user string, sum int) {
			t.Helper()
			n, err := a.CountUser(ctx, user)
			if n != sum || err != nil {
				t.Errorf("%d, %v, want %d", n, err, sum)
			}
		}
		ask("ann", 5)
		ask("bob", 0)
		ask(strange, 5)
		for id, is := range map[string]bool{"n1.there": true, "n1.not": false, "n9.there": false, "": false, "n2.there": true} {
			if got, err := a.AskSession(ctx, id); got != is || err != nil {
				t.Errorf("%q: %t, %v", id, got, err)
			}
		}
		list, err := a.Present(ctx, "room")
		if err != nil || fmt.Sprintf("%s", list) != `[{n1 [{n1.1 un1.1 {"a":1}}]} {n2 []}]` {
			t.Errorf("%s, %v", list, err)
		}
		want(t, "open", a.look().asks, 0)

		// Alone there is nobody to wait for.
		alone := start(t, net, "alone")
		synctest.Wait()
		if n, err := alone.CountUser(ctx, "ann"); n != 6 && n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// A list of any length comes in parts below 32 KiB.
func TestPresentInParts(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 2)
		var largest atomic.Int64
		net.Tap(func(d cluster.Delivery) bool {
			largest.Store(max(largest.Load(), int64(len(d.Data))))
			return true
		})
		for i := range 5000 {
			all[1].toggle("room", fmt.Sprint("n1.", i))
		}
		list, err := all[0].Present(t.Context(), "room")
		if err != nil || len(list) != 1 || len(list[0].Members) != 5000 {
			t.Fatalf("%v", err)
		}
		if largest.Load() >= 32<<10 {
			t.Errorf("a message of %d bytes", largest.Load())
		}
		net.Tap(nil)
		// Lost parts are asked for again.
		var n atomic.Int64
		net.Tap(func(d cluster.Delivery) bool { return kindOf(d) != kindAnswer || n.Add(1) > 20 || n.Load()%3 > 0 })
		list, err = all[0].Present(t.Context(), "room")
		if err != nil || len(list) != 1 || len(list[0].Members) != 5000 {
			t.Fatalf("%d, %v", len(list), err)
		}
		seen := map[string]bool{}
		for _, m := range list[0].Members {
			if seen[m.Session] {
				t.Fatalf("%s is twice in the list", m.Session)
			}
			seen[m.Session] = true
		}
	})
}

// An ask ends with its context, when those that do not answer are gone, when the node is closed, and when what was lost was
// sent again.
func TestAskEnds(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 3)
		a := all[0]
		all[1].users["ann"], all[2].users["ann"] = 2, 3
		net.Tap(func(d cluster.Delivery) bool { return d.From != "n2" || kindOf(d) != kindAnswer })
		began := time.Now()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("enough"))
		defer cancel()
		n, err := a.CountUser(ctx, "ann")
		if n != 2 || err == nil || err.Error() != "enough" || time.Since(began) != 3*time.Second {
			t.Errorf("%d, %v after %v", n, err, time.Since(began))
		}
		want(t, "open", a.look().asks, 0)

		time.AfterFunc(2500*time.Millisecond, func() { net.Tap(nil) })
		began = time.Now()
		if n, err := a.CountUser(t.Context(), "ann"); n != 5 || err != nil || time.Since(began) > 4*time.Second {
			t.Errorf("%d, %v after %v", n, err, time.Since(began))
		}

		all[2].bus.Kill()
		began = time.Now()
		if n, err := a.CountUser(t.Context(), "ann"); n != 2 || err != nil || time.Since(began) > 3*testInterval {
			t.Errorf("%d, %v after %v", n, err, time.Since(began))
		}

		all[1].bus.Kill()
		done := make(chan error)
		go func() {
			_, err := a.Present(t.Context(), "room")
			done <- err
		}()
		synctest.Wait()
		a.end()
		if err := <-done; !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		if _, err := a.CountUser(t.Context(), "ann"); !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		want(t, "open", a.look().asks, 0)
	})
}

// A bus that repeats, reorders and loses messages does not change what answers add up to.
func TestAskOverBadBus(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 4)
		for i, f := range all {
			f.users["ann"] = i
			for j := range 2000 {
				f.toggle("room", fmt.Sprintf("n%d.%d", i, j))
			}
		}
		net.SetFaults(cluster.Faults{Drop: 0.1, Duplicate: 0.3, Reorder: 0.1, MaxDelay: 20 * time.Millisecond})
		for range 20 {
			if n, err := all[0].CountUser(t.Context(), "ann"); n != 6 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		for range 5 {
			list, err := all[0].Present(t.Context(), "room")
			if err != nil || len(list) != 3 {
				t.Fatalf("%d nodes, %v", len(list), err)
			}
			for _, l := range list {
				want(t, l.Node, len(l.Members), 2000)
			}
		}
	})
}
