package redisbus

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/wshub-go/wshub/cluster"
)

// A reader as fast as can be and one that stops now and then get everything, in order.
func TestInbox(t *testing.T) {
	done := make(chan struct{})
	q := newInbox(1000, 1<<20, done)
	room := make(chan struct{}, 900) // for what is not read yet
	go func() {
		for i := range 100_000 {
			room <- struct{}{}
			if !q.push(message("s", strconv.Itoa(i))) {
				t.Errorf("no room for %d", i)
			}
		}
	}()
	for i := range 100_000 {
		for i%10_000 == 0 && len(room) < cap(room) && i+cap(room) < 100_000 {
			runtime.Gosched() // until as much waits as may
		}
		if m := <-q.out; string(m.Data) != strconv.Itoa(i) {
			t.Fatalf("received %s, want %d", m.Data, i)
		}
		<-room
	}
	q.moving.Wait()
	if q.size != 0 || q.waiting != nil {
		t.Errorf("%d bytes are left", q.size)
	}
	// One that is closed while the mover waits for a reader.
	for range direct + 10 {
		q.push(cluster.Message{Subject: "s"})
	}
	close(done)
	q.close()
}
