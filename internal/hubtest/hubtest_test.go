package hubtest

import (
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub/cluster"
)

type memory struct{ *cluster.Memory }

func (m memory) Kill()  { m.Down() }
func (m memory) Start() { m.Up() }

// The broker in memory, in fake time.
func TestKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := cluster.NewMemory()
		defer m.Close()
		Killed(t, memory{m}, func() cluster.Bus { return m.Bus() })
	})
}

func TestExact(t *testing.T) {
	for _, test := range []struct {
		name       string
		seen, gaps []span
		upTo       uint64
		want       bool
	}{
		{"nothing of nothing", nil, nil, 0, true},
		{"all", []span{{1, 10}}, nil, 10, true},
		{"a gap", []span{{1, 3}, {6, 10}}, []span{{4, 5}}, 10, true},
		{"two gaps, told later", []span{{3, 3}, {6, 8}}, []span{{4, 5}, {1, 2}, {9, 10}}, 10, true},
		{"nothing has come", nil, []span{{1, 10}}, 10, true},
		{"nothing is told", []span{{1, 3}, {6, 10}}, nil, 10, false},
		{"too little is told", []span{{1, 3}, {6, 10}}, []span{{4, 4}}, 10, false},
		{"too much is told", []span{{1, 3}, {6, 10}}, []span{{4, 6}}, 10, false},
		{"told twice", []span{{1, 3}, {6, 10}}, []span{{4, 5}, {4, 5}}, 10, false},
		{"the first is missing", []span{{2, 10}}, nil, 10, false},
		{"the last is missing", []span{{1, 9}}, nil, 10, false},
		{"more than there was", []span{{1, 11}}, nil, 10, false},
	} {
		if got := exact(test.seen, test.gaps, test.upTo); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
