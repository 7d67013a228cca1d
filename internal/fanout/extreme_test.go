package fanout

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// A burst without bounds is no bound, also where as a float64 it is more than an int holds.
func TestBurstWithoutBounds(t *testing.T) {
	for name, r := range map[string]*Rule{
		"values": {Overflow: DropOldest, N: 10, Limit: 1, Burst: math.MaxInt},
		"bytes":  {Overflow: DropOldest, N: 10, ByteLimit: 1, ByteBurst: math.MaxInt},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				c := newClient(e)
				c.join(t, topic, r)
				for _, text := range []string{"a", "b", "c"} {
					publish(t, topic, text)
				}
				synctest.Wait()
				wants(t, "client", c.conn.received(), "a b c")
				resting(t, topic)
			})
		})
	}
}

// A time before those that a clock counts is over.
func TestTimeLongGone(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		fired := 0
		for _, year := range []int{-5000, 1, 1000, 1400, 1677, 1970} {
			e.At(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), func() { fired++ })
			synctest.Wait()
		}
		if fired != 6 {
			t.Errorf("%d of 6 timers have fired", fired)
		}
	})
}

// A tick is at most an interval away, also for a clock that was set back behind the topic's first moment.
func TestTickAfterClockSetBack(t *testing.T) {
	topic := &Topic{grid: 1000}
	for now, want := range map[int64]int64{1000: 1010, 1003: 1010, 1009: 1010, 1010: 1020, 999: 1000, 990: 1000, 987: 990} {
		if got := topic.boundary(now, 10); got != want {
			t.Errorf("the tick after %d is %d, want %d", now, got, want)
		}
	}
}
