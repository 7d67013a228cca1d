package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// One message to n connections of 50, each of which listens to 2,000 subjects; per message.
func BenchmarkMemory(b *testing.B) {
	for _, listeners := range []int{0, 1, 10, 49} {
		for name, faults := range map[string]cluster.Faults{"exact": {}, "delay": {MinDelay: time.Microsecond, MaxDelay: time.Millisecond}} {
			b.Run(fmt.Sprintf("%s/listeners=%d", name, listeners), func(b *testing.B) {
				m := newMemory(b, cluster.WithQueue(1))
				all := make([]*cluster.MemoryBus, 50)
				var subjects []string
				for i := range 2000 {
					subjects = append(subjects, fmt.Sprint("wshub.t.", i))
				}
				for i := range all {
					all[i] = m.Bus()
					subscribe(b, all[i], subjects...)
					if i > 0 && i <= listeners {
						subscribe(b, all[i], "x")
					}
				}
				m.SetFaults(faults)
				msg := cluster.Message{Subject: "x", Data: make([]byte, 128)}
				ctx := b.Context()
				b.ReportAllocs()
				for b.Loop() {
					all[0].Publish(ctx, msg)
				}
				b.StopTimer()
				m.SetFaults(cluster.Faults{})
			})
		}
	}
}
