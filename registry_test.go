package wshub

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/wshub-go/wshub/wshubtest"
)

// Topics that vanish while a frame of theirs is begun are forgotten once it has left, also when nobody asks for Stats.
func TestVanishedTopicsAreSettled(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		rooms, err := NewFamily[string](h, "room", Policy{})
		if err != nil {
			t.Fatal(err)
		}
		const n = 300
		for i := range n {
			c := wshubtest.Dial(t, h.Handler(waiting), wshubtest.WithBuffer(1000))
			s := only(t, h)
			room, err := rooms.Topic(fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			if err := room.Join(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			c.Stall()
			if err := room.Publish(t.Context(), string(make([]byte, 2000))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if err := room.Leave(s); err != nil {
				t.Fatal(err)
			}
			c.Abort()
			<-s.Done()
		}
		synctest.Wait() // the goroutine that waited with the last frame takes note
		p := &h.reg.past
		p.mu.Lock()
		left := len(p.pending)
		p.mu.Unlock()
		if left > 2*minSettle {
			t.Errorf("%d of %d vanished topics are held", left, n)
		}
		if got := rooms.Stats(); got != (Tally{Offered: n, Undelivered: n}) {
			t.Errorf("account %+v", got)
		}
	})
}

// Sums over topics that come and go never shrink.
func TestSumsOnlyGrow(t *testing.T) {
	h := newHub(t)
	rooms, err := NewFamily[int](h, "room", Policy{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond) // how long it goes on
	defer cancel()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				room, err := rooms.Topic(fmt.Sprint(g, i%50))
				if err != nil {
					t.Error(err)
					return
				}
				s := room.Subscribe(context.Background())
				if err := room.Publish(context.Background(), i); err != nil {
					t.Error(err)
				}
				s.Close()
			}
		})
	}
	room, _ := rooms.Topic("0 0")
	var family, hub, topic uint64
	for ctx.Err() == nil {
		f, h, o := rooms.Stats(), h.Stats().Topics, room.Stats()
		if f.Offered < family || h.Offered < hub || o.Offered < topic {
			t.Errorf("family %d after %d, hub %d after %d, topic %d after %d", f.Offered, family, h.Offered, hub, o.Offered, topic)
			break
		}
		family, hub, topic = f.Offered, h.Offered, o.Offered
	}
	wg.Wait()
}

// A hub that was shut down and let go of is collected, whatever its topics keep.
func TestClosedHubIsCollected(t *testing.T) {
	for _, p := range []Policy{{}, History(3, 0), History(3, 24*time.Hour)} {
		hub := func() weak.Pointer[Hub] {
			h, err := New()
			if err != nil {
				t.Fatal(err)
			}
			topic, err := NewTopic[int](h, "kept", p)
			if err != nil {
				t.Fatal(err)
			}
			if err := topic.Publish(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if err := h.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			return weak.Make(h)
		}()
		for i := 0; hub.Value() != nil; i++ {
			if i == 100 {
				t.Errorf("with %q it is still there", p)
				break
			}
			runtime.GC()
			time.Sleep(time.Millisecond) // for cleanups, which nobody can wait for
		}
	}
}

// A topic with a history is listed all the time, also while each publish looks whether it may vanish.
func TestTopicWithHistoryStaysListed(t *testing.T) {
	h := newHub(t)
	topic, err := NewTopic[int](h, "kept", History(3, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := topic.Publish(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 60_000 {
			if err := topic.Publish(context.Background(), i); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for {
		if _, ok := h.Topic("kept"); !ok {
			t.Error("not there")
			break
		}
		select {
		case <-done:
			return
		default:
		}
	}
	<-done
}
