package wshub_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// newsNode is one of the nodes of a service in whose rolling restarts nobody misses anything: a client comes back with
// the number that it has seen last. All nodes follow the journal: here a topic of numbers, in earnest a broker's log.
func newsNode(ctx context.Context, journal wshub.Topic[int]) (*wshub.Hub, http.Handler, error) {
	hub, err1 := wshub.New(wshub.WithDrain(100*time.Millisecond, time.Second))
	news, err2 := wshub.NewTopic[int](hub, "news", wshub.History(1000, 0))
	items := journal.With(wshub.Block(1000, time.Minute)).With(wshub.Replay(1000))
	go wshub.ForEach(ctx, wshub.From(ctx, items.Stream(ctx)), 1, news.Publish)
	return hub, hub.HandlerFor(func(r *http.Request) (wshub.SessionFunc, error) {
		after, _ := strconv.Atoi(r.FormValue("after")) // 0: from the beginning
		unseen := news.With(wshub.Replay(1000)).Where(func(n int) bool { return n > after })
		return func(ctx context.Context, s *wshub.Session) error {
			s.CloseRead()
			if err := unseen.Join(ctx, s); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}, nil
	}), errors.Join(err1, err2)
}

func TestProgramRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, _ := wshub.New()
		defer hub.Close()
		journal, _ := wshub.NewTopic[int](hub, "journal", wshub.History(1000, 0))
		old, oldNode, _ := newsNode(t.Context(), journal)
		next, nextNode, err := newsNode(t.Context(), journal)
		if err != nil {
			t.Fatal(err)
		}
		defer next.Close()
		balancer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			map[bool]http.Handler{true: oldNode, false: nextNode}[old.Health().Ready].ServeHTTP(w, r)
		})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				for last := 0; last < 300; time.Sleep(50 * time.Millisecond) { // it takes a while to come back
					c, _, err := wshubtest.TryDial(t, balancer, wshubtest.WithPath("/?after="+strconv.Itoa(last)))
					if err != nil {
						continue
					}
					for m, ok := c.Next(); ok; m, ok = c.Next() {
						if last++; string(m.Data) != strconv.Itoa(last) {
							t.Errorf("got %s, want %d", m, last)
							return
						}
					}
				}
			})
		}
		for n := range 300 {
			if journal.Publish(t.Context(), n+1); n == 100 {
				all.Go(func() { err = errors.Join(old.Drain(t.Context()), old.Shutdown(t.Context())) })
			}
			time.Sleep(10 * time.Millisecond)
		}
		if all.Wait(); err != nil || next.Len() != 10 {
			t.Errorf("drain: %v; %d clients are on the new node", err, next.Len())
		}
	})
}
