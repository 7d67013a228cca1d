package clustertest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wshub-go/wshub/internal/leak"
)

// A bus that is closed leaves no goroutine.
func (s *suite) leak(t testing.TB) { s.leaves(t, nil) }

// Nor does one that is closed while the broker is away, which need not come back for them to end.
func (s *suite) leakDown(t testing.TB) {
	s.leaves(t, func() (restore func()) { return s.broken(t) })
}

// leaves uses buses, closes them, after the broker was taken away if it is, and wants their goroutines to be gone.
func (s *suite) leaves(t testing.TB, away func() (restore func())) {
	use := func(n int) (restore func()) {
		p := s.peers(t, n)
		for i, b := range p {
			b.alive(p[(i+1)%n])
		}
		restore = func() {}
		if away != nil {
			restore = away()
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
		defer cancel()
		for _, b := range p {
			b.Publish(ctx, message(s.subject("x"), "?")) // may fail: what it leaves is the question
			b.shut()
		}
		return restore
	}
	use(2)() // what lives as long as the process has begun
	before := leak.All()
	restore := use(8)
	deadline := time.NewTimer(s.Timeout)
	defer deadline.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		var left []string
		for _, stack := range leak.Since(before) {
			if s.Ignore == nil || !s.Ignore(stack) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			restore()
			return
		}
		select {
		case <-look.C: // goroutines on their way out need a moment, and tell nobody
		case <-deadline.C:
			t.Fatalf("%d goroutines are left by 8 buses that are closed:\n\n%s", len(left), strings.Join(left, "\n\n"))
		}
	}
}
