package wshub

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestLogLimiter(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	steps := []struct {
		after      time.Duration
		cause      string
		ok         bool
		suppressed uint64
	}{
		{0, "slow", true, 0},
		{0, "slow", false, 0},
		{0, "origin", true, 0},
		{time.Second, "slow", false, 0},
		{time.Minute - 1, "slow", false, 0},
		{time.Minute, "slow", true, 3},
		{time.Minute, "slow", false, 0},
		{time.Minute, "origin", true, 0},
		{2*time.Minute - 1, "slow", false, 0},
		{time.Hour, "slow", true, 2},
		{time.Hour, "slow", false, 0}, // an hour of silence saves up no lines
		{time.Hour + time.Minute, "slow", true, 1},
		{time.Hour + 2*time.Minute, "slow", true, 0},
	}
	var l logLimiter
	for i, s := range steps {
		ok, suppressed := l.allow(s.cause, start.Add(s.after))
		if ok != s.ok || suppressed != s.suppressed {
			t.Errorf("step %d: allow(%q) at %s = %t, %d; want %t, %d", i, s.cause, s.after, ok, suppressed, s.ok, s.suppressed)
		}
	}
}

func TestLogLimiterEveryMinuteForADay(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var l logLimiter
	for i := range 24 * 60 {
		if ok, _ := l.allow("slow", now); !ok {
			t.Fatalf("minute %d is not logged", i)
		}
		now = now.Add(time.Minute)
	}
}

func TestLogLimiterBounded(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var l logLimiter
	const causes = 10 * maxLogCauses
	lines := 0
	for i := range causes {
		if ok, _ := l.allow(fmt.Sprint("cause ", i), now); ok {
			lines++
		}
	}
	if lines != maxLogCauses+1 || len(l.causes) != maxLogCauses {
		t.Errorf("%d causes make %d lines and %d entries", causes, lines, len(l.causes))
	}
	ok, suppressed := l.allow("one more", now.Add(time.Minute))
	if want := uint64(causes - maxLogCauses - 1); !ok || suppressed != want {
		t.Errorf("allow = %t, %d; want true, %d", ok, suppressed, want)
	}
}

func TestLogLimiterExact(t *testing.T) {
	const workers, calls = 8, 2000
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var l logLimiter
	var told [workers]uint64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range calls {
				if ok, suppressed := l.allow("slow", now.Add(time.Duration(i)*time.Second)); ok {
					told[w] += 1 + suppressed
				}
			}
		})
	}
	wg.Wait()
	ok, suppressed := l.allow("slow", now.Add(24*time.Hour))
	if !ok {
		t.Fatal("a day later nothing is logged")
	}
	total := suppressed
	for _, n := range told {
		total += n
	}
	if total != workers*calls {
		t.Errorf("lines account for %d of %d", total, workers*calls)
	}
}
