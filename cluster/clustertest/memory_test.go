package clustertest_test

import (
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/cluster/clustertest"
)

func TestMemory(t *testing.T) {
	for _, test := range []struct {
		name    string
		options []cluster.MemoryOption
		faults  cluster.Faults
	}{
		{"exact", nil, cluster.Faults{}},
		{"echo", []cluster.MemoryOption{cluster.WithEcho()}, cluster.Faults{}},
		// Messages take their time, and those of different subjects and publishers overtake each other.
		{"delayed", nil, cluster.Faults{MaxDelay: time.Millisecond}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := cluster.NewMemory(append(test.options, cluster.WithQueue(400), cluster.WithMaxPayload(300<<10))...)
			defer m.Close()
			m.SetFaults(test.faults)
			clustertest.Run(t, clustertest.Config{
				New:        func(testing.TB) cluster.Bus { return m.Bus() },
				Break:      func(testing.TB) { m.Down() },
				Restore:    func(testing.TB) { m.Up() },
				MaxPayload: 300 << 10,
				Queue:      400,
			})
		})
	}
}
