package fanout

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Conclude tells once, when nothing is pending any more, and lets policies go on until then.
func TestConclude(t *testing.T) {
	for _, c := range []struct {
		name   string
		rule   Rule
		stall  bool
		before int           // values published before
		early  time.Duration // not told until then
		tally  Tally
	}{
		{"nothing pending", Rule{Overflow: Evict, N: 9}, false, 0, 0, Tally{}},
		{"caught up", Rule{Overflow: Evict, N: 9}, false, 3, 0, Tally{Offered: 3, Sent: 3}},
		{"stalled", Rule{Overflow: Evict, N: 9, Age: time.Hour}, true, 3, 5 * time.Second, Tally{Offered: 3, Sent: 3}},
		{"stalled, dropping", Rule{Overflow: DropOldest, N: 1}, true, 4, 5 * time.Second, Tally{Offered: 4, Sent: 2, Dropped: 2}},
		{"paced", Rule{Overflow: DropOldest, N: 9, Limit: 1, Burst: 1}, false, 3, 1900 * time.Millisecond, Tally{Offered: 3, Sent: 3}},
		{"ticked", Rule{Coalesce: true, N: 9, Flush: time.Second}, false, 3, 900 * time.Millisecond, Tally{Offered: 3, Sent: 1, Coalesced: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				x := newClient(e)
				m := x.join(t, topic, &c.rule)
				if c.stall {
					x.conn.stall(0)
				}
				for i := range c.before {
					publish(t, topic, fmt.Sprint(i))
				}
				synctest.Wait()
				x.Conclude()
				if c.early > 0 {
					time.Sleep(c.early)
					synctest.Wait()
					if got := x.owner.told(); got.flushed != 0 {
						t.Error("told too early")
					}
				}
				x.conn.resume()
				time.Sleep(time.Second)
				synctest.Wait()
				x.Visit()
				if got := x.owner.told(); got.flushed != 1 || got.slow != 0 {
					t.Errorf("told %+v", got)
				}
				if a := m.Tally(); a != c.tally {
					t.Errorf("account %+v", a)
				}
				x.Detach()
				resting(t, topic)
			})
		})
	}
}
