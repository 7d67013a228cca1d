package fanout

import (
	"math"
	"testing"
	"testing/synctest"
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
