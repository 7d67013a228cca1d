package fanout

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimers(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		start := time.Now()
		var fired []time.Duration
		note := func() { fired = append(fired, time.Since(start)) }
		e.At(start.Add(3*time.Second), note)
		cancel := e.At(start.Add(2*time.Second), note)
		e.At(start.Add(time.Second), func() { note(); e.At(start.Add(1500*time.Millisecond), note) })
		e.At(start.Add(-time.Second), note)
		cancel()
		cancel()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if want := []time.Duration{0, time.Second, 1500 * time.Millisecond, 3 * time.Second}; !slices.Equal(fired, want) {
			t.Errorf("fired at %v, want %v", fired, want)
		}
	})
}

// A timer is started as often as one likes, also by its own function, and fires once for the last time it was given, without an
// allocation for it.
func TestTimerIsStartedAgain(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		start := time.Now()
		var fired []time.Duration
		var timer *Timer
		timer = e.NewTimer(func() {
			if fired = append(fired, time.Since(start)); len(fired) == 1 {
				timer.Start(time.Now().Add(time.Second))
			}
		})
		if n := testing.AllocsPerRun(100, func() { timer.Start(start.Add(time.Minute)) }); n > 0 && !raceEnabled {
			t.Errorf("%v allocations to start it", n)
		}
		timer.Start(start.Add(2 * time.Second))
		time.Sleep(5 * time.Second)
		timer.Start(start.Add(6 * time.Second))
		timer.Stop()
		timer.Stop()
		time.Sleep(2 * time.Minute)
		if want := []time.Duration{2 * time.Second, 3 * time.Second}; !slices.Equal(fired, want) {
			t.Errorf("fired at %v, want %v", fired, want)
		}
	})
}
