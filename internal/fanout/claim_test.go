package fanout

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestClaimKeepsEntries stalls a member over many passes: what it has not been sent stays in the log, and no longer.
func TestClaimKeepsEntries(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		a, b := newClient(e), newClient(e)
		a.join(t, topic, lossless)
		b.join(t, topic, lossless)
		var want []string
		b.conn.stall(1)
		for i := range 50 {
			text := fmt.Sprint(i)
			want = append(want, text)
			publish(t, topic, text)
			synctest.Wait()
			if n, _ := topic.log.Retained(); n != i { // all but the frame begun
				t.Fatalf("%d entries retained, %d claimed", n, i)
			}
		}
		b.conn.resume()
		synctest.Wait()
		wants(t, "a", a.conn.received(), strings.Join(want, " "))
		wants(t, "b", b.conn.received(), strings.Join(want, " "))
		resting(t, topic)
	})
}

// TestPitfall57ClaimOfOwnedMember has a pass meet a member that is owned and stays so until the pass has ended and the next
// values came: its entries are still there.
func TestPitfall57ClaimOfOwnedMember(t *testing.T) {
	e := New(Config{})
	topic := newTopic(e)
	a, b := newClient(e), newClient(e)
	a.join(t, topic, lossless)
	m := b.join(t, topic, lossless)
	b.lock()
	publish(t, topic, "1", "2")
	await(t, e)
	publish(t, topic, "3")
	await(t, e)
	if n, _ := topic.log.Retained(); n != 3 {
		t.Errorf("%d entries retained", n)
	}
	b.release(nil)
	await(t, e)
	wants(t, "a", a.conn.received(), "1 2 3")
	wants(t, "b", b.conn.received(), "1 2 3")
	resting(t, topic)

	// The claim is there before the mark: else an owner that sees the mark could catch up and leave, and the claim that
	// comes then would stay.
	b.lock()
	topic.lagMu.Lock()
	publish(t, topic, "4")
	stuck(t, "addLag")
	if w := b.word.Load(); w != owned {
		t.Errorf("the mark was set before the claim: word %b", w)
	}
	topic.lagMu.Unlock()
	b.release(nil)
	await(t, e)
	if m.cursor.Load() != 4 {
		t.Error("value 4 was stranded")
	}
	resting(t, topic)
}

// stuck returns when a goroutine is in the named function, waiting for a mutex.
func stuck(t *testing.T, function string) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "."+function+"(") && strings.Contains(g, "sync.(*Mutex).Lock") {
				return
			}
		}
	}
	t.Fatalf("no goroutine waits in %s", function)
}

// TestJoinBesidePasses joins with a replay, and has passes go by before the member is in its place: what comes after the
// replay is still in the log, although history has let go of it.
func TestJoinBesidePasses(t *testing.T) {
	e := New(Config{})
	topic := e.NewTopic(TopicConfig{History: 2})
	publish(t, topic, "1", "2", "3")
	await(t, e)
	c := newClient(e)
	var wg sync.WaitGroup
	topic.mu.Lock()
	wg.Go(func() {
		if _, err := topic.Join(c.Subscriber, lossless, nil, 2); err != nil {
			t.Error(err)
		}
	})
	awaitClaim(topic)
	publish(t, topic, "4", "5", "6", "7", "8")
	await(t, e)
	topic.mu.Unlock()
	wg.Wait()
	await(t, e)
	wants(t, "client", c.conn.received(), "2 3 4 5 6 7 8")
	resting(t, topic)
}

// A write that fails leaves nothing of the subscriber in the scratch of the worker.
func TestScratchOfAFailedWrite(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c := newClient(e)
		c.join(t, topic, &Rule{Overflow: Evict, N: 100, Age: time.Hour, Pack: true})
		c.lock()
		publish(t, topic, "1", "2", "3")
		c.conn.fail(os.ErrClosed)
		v := new(visitor)
		v.look(c.Subscriber, nil, false)
		for _, src := range v.sources[:cap(v.sources)] {
			if src.m != nil {
				t.Error("a member is left")
			}
			for _, x := range src.entries[:cap(src.entries)] {
				if x != nil {
					t.Fatal("an entry is left")
				}
			}
		}
		for _, p := range v.picks[:cap(v.picks)] {
			if p.entry != nil {
				t.Fatal("a pick is left")
			}
		}
		c.release(nil)
		c.Detach()
	})
}
