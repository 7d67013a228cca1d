package wshub_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
)

// Sessions of two nodes change all at once while watchers on both come and go, and others ask: what each was told adds up,
// and in the end is the truth.
func TestPresenceClusterRace(t *testing.T) {
	for _, data := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			memory := newMemory(t)
			var nodes []*attendee
			for _, name := range []string{"a", "b"} {
				var opts []wshub.Option
				if data {
					opts = append(opts, withData(name))
				}
				nodes = append(nodes, newAttendee(t, memory, name, 0, opts...))
			}
			time.Sleep(settled)
			for range 3 {
				racePresence(t, nodes)
			}
		})
	}
}

func racePresence(t *testing.T, nodes []*attendee) {
	var done atomic.Bool
	var changing, watching sync.WaitGroup
	var mu sync.Mutex
	var models []*model // guarded by mu
	for _, n := range nodes {
		ss, cc := sessions(t, n.Hub, 4)
		for i, s := range ss {
			changing.Go(func() {
				for !done.Load() {
					if rand.IntN(2) == 0 {
						_ = n.room.Join(context.Background(), s) // it may be in it, or have ended
					} else {
						_ = n.room.Leave(s)
					}
					if i == 0 && rand.IntN(500) == 0 {
						cc[i].Abort()
					}
					runtime.Gosched()
				}
			})
		}
		watching.Go(func() {
			for i := range 60 {
				m := watch(t, n.room.Watch(context.Background()))
				<-m.begun
				list, err := n.room.Present(context.Background())
				if got := ids(list); err != nil || len(slices.Compact(got)) != len(list) {
					t.Errorf("somebody is there twice: %v, %v", list, err)
				}
				if i%20 == 19 {
					mu.Lock()
					models = append(models, m)
					mu.Unlock()
				} else {
					m.stream.Close()
				}
			}
		})
	}
	watching.Wait()
	done.Store(true)
	changing.Wait()
	time.Sleep(settled)
	var there []*wshub.Session
	for _, n := range nodes {
		there = slices.AppendSeq(there, n.room.Members())
	}
	for _, m := range models {
		if got, want := m.known(), idsOf(there...); !slices.Equal(got, want) || m.stream.Err() != nil {
			t.Errorf("watched %q, %v, want %q", got, m.stream.Err(), want)
		}
	}
	for _, n := range nodes {
		n.check(t, there...)
	}
	for _, m := range models {
		m.stream.Close()
	}
	for _, n := range nodes {
		n.check(t, there...) // asked this time
	}
	for _, n := range nodes {
		for s := range n.room.Members() {
			if err := n.room.Leave(s); err != nil {
				t.Error(err)
			}
		}
	}
}
