package mesh

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// TestGapAfterPartition: nodes that were cut off from each other until they took each other for gone are told what they have
// missed, also on a topic on which nothing is published any more.
func TestGapAfterPartition(t *testing.T) {
	for _, tt := range []struct {
		name      string
		cut, heal func(m *cluster.Memory, a *cluster.MemoryBus)
	}{
		{"silent", func(m *cluster.Memory, a *cluster.MemoryBus) { m.Partition([]string{a.Name()}) }, func(m *cluster.Memory, _ *cluster.MemoryBus) { m.Partition() }},
		{"down", func(m *cluster.Memory, _ *cluster.MemoryBus) { m.Down() }, func(m *cluster.Memory, _ *cluster.MemoryBus) { m.Up() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t)
				bus := m.Bus()
				a, b := newPlane(t, bus), newPlane(t, m.Bus(), func(c *Config) { c.Node = "there" })
				room, quiet := &planeTopic{}, &planeTopic{}
				talk, last := a.Topic("room", 1, &planeTopic{}), a.Topic("quiet", 2, &planeTopic{})
				b.Topic("room", 1, room).Want()
				b.Topic("quiet", 2, quiet).Want()
				time.Sleep(time.Minute)
				talk.Publish(text("1"))
				last.Publish(text("1"))
				time.Sleep(10 * time.Second)

				tt.cut(m, bus)
				synctest.Wait()
				time.Sleep(5 * time.Second)
				talk.Publish(text("2"))
				last.Publish(text("2"))
				last.Publish(text("3"))
				time.Sleep(25 * time.Second)
				if len(b.Peers()) != 0 {
					t.Error("the node that was cut off is still there")
				}
				tt.heal(m, bus)
				synctest.Wait()
				talk.Publish(text("3"))
				synctest.Wait()
				if got := b.host.takeGaps(); got != "room:2-2" {
					t.Errorf("gaps %q", got)
				}
				time.Sleep(15 * time.Second)
				if got := b.host.takeGaps(); got != "quiet:2-3" {
					t.Errorf("gaps at the end %q", got)
				}
				if got := room.numbers() + "|" + quiet.numbers(); got != "1 3|1" {
					t.Errorf("values %q", got)
				}
				time.Sleep(time.Minute)
				if got := b.host.takeGaps() + a.host.takeGaps(); got != "" {
					t.Errorf("told again: %q", got)
				}
			})
		})
	}
}
