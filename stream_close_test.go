package wshub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/wshub-go/wshub"
)

// Streams that are opened while the hub closes end with it, or are refused: Shutdown waits for every one.
func TestStreamsBesideClose(t *testing.T) {
	for range 200 {
		h := newHub(t)
		topic := newTopic[int](t, h, "t", wshub.Policy{})
		var last *wshub.Stream[int]
		var wg sync.WaitGroup
		begun := make(chan struct{})
		wg.Go(func() {
			for i := 0; ; i++ {
				if i == 3 {
					close(begun)
				}
				s := topic.Subscribe(context.Background())
				if errors.Is(s.Err(), wshub.ErrClosed) {
					return
				}
				if last != nil {
					last.Close()
				}
				last = s
			}
		})
		<-begun
		h.Close()
		wg.Wait()
		select {
		case <-last.C():
		case <-time.After(10 * time.Second):
			t.Fatal("the hub is closed, a stream is not")
		}
		if !errors.Is(last.Err(), wshub.ErrClosed) {
			t.Fatal(last.Err())
		}
	}
}
