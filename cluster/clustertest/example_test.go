package clustertest_test

import (
	"testing"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/cluster/clustertest"
)

// The test of a bus of one's own; here Memory takes its place, and that of its broker.
func Example() {
	TestBus := func(t *testing.T) {
		broker := cluster.NewMemory(cluster.WithQueue(1000), cluster.WithMaxPayload(1<<20))
		t.Cleanup(broker.Close)
		clustertest.Run(t, clustertest.Config{
			New:        func(t testing.TB) cluster.Bus { return broker.Bus() },
			Break:      func(t testing.TB) { broker.Down() },
			Restore:    func(t testing.TB) { broker.Up() },
			MaxPayload: 1 << 20,
			Queue:      1000,
		})
	}
	_ = TestBus
}
