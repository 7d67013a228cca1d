package fanout

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPatience has a topic of many strides whose members take long to write to: it gets one worker at once, one more for
// each [patience], and the last only after [lastPatience].
func TestPatience(t *testing.T) {
	const workers, members, each = 3, 20 * stride * chunkSize, 10 * time.Microsecond
	bubble(t, Config{Workers: workers}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		start := time.Now()
		var mu sync.Mutex
		var writing int                   // guarded by mu, like at
		var at [workers + 1]time.Duration // when so many wrote at once for the first time
		for range members {
			c := newClient(e)
			c.join(t, topic, lossless)
			c.conn.hook = func() {
				mu.Lock()
				writing++
				if at[writing] == 0 {
					at[writing] = time.Since(start)
				}
				mu.Unlock()
				time.Sleep(each)
				mu.Lock()
				writing--
				mu.Unlock()
			}
		}
		start = time.Now()
		time.Sleep(each)
		publish(t, topic, "x")
		synctest.Wait()
		time.Sleep(time.Second)

		// A worker looks whether to hire when it takes its next stride.
		const strideTakes = stride * chunkSize * each
		second, third := at[2]-at[1], at[3]-at[2]
		if second <= patience || second > patience+2*strideTakes {
			t.Errorf("a second worker wrote %v after the first, want it soon after %v", second, patience)
		}
		if third <= lastPatience || third > lastPatience+2*strideTakes {
			t.Errorf("the last worker wrote %v after the one before, want it soon after %v", third, lastPatience)
		}
		resting(t, topic)
	})
}
