package clustertest

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// A bus that is closed leaves no goroutine.
func (s *suite) leak(t testing.TB) {
	s.leaves(t, func() func() { return func() {} })
}

// Nor does one that is closed while the broker is away.
func (s *suite) leakDown(t testing.TB) {
	s.leaves(t, func() func() { return s.broken(t) })
}

// leaves uses buses, closes them after calling before, and wants their goroutines to be gone after what before returned.
func (s *suite) leaves(t testing.TB, before func() (after func())) {
	use := func(n int) {
		p := s.peers(t, n)
		for i, b := range p {
			b.alive(p[(i+1)%n])
		}
		after := before()
		for _, b := range p {
			if s.Break != nil {
				b.Publish(t.Context(), message(s.subject("x"), "?")) // may fail: it is the test of what it leaves
			}
			b.shut()
		}
		after()
	}
	use(2) // what lives as long as the process has begun
	old := goroutines()
	use(8)
	deadline := time.NewTimer(s.Timeout)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var left []string
		for id, stack := range goroutines() {
			if _, was := old[id]; !was && (s.Ignore == nil || !s.Ignore(stack)) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C: // goroutines on their way out need a moment, and tell nobody
		case <-deadline.C:
			t.Fatalf("%d goroutines are left by 8 buses that are closed:\n\n%s", len(left), strings.Join(left, "\n\n"))
		}
	}
}

// goroutines returns the stacks of all goroutines but this one, by their numbers.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := map[string]string{}
	stacks := strings.Split(strings.TrimSpace(string(buf)), "\n\n")
	for _, stack := range stacks[1:] {
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		all[id] = stack
	}
	return all
}
