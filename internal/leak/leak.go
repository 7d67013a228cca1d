// Package leak fails a test binary that leaves goroutines behind. Tests import it, the library never does.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Main runs the tests of m and exits the process: with the tests' status, or with 1 when a goroutine of theirs is still
// there five seconds after the last test. Use it as TestMain's only statement.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := wait(5 * time.Second); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "leak: %d goroutines are left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// wait polls until no goroutine is left or the time is over, and returns the stacks of those left.
func wait(limit time.Duration) []string {
	deadline := time.Now().Add(limit)
	for {
		left := others(stacks())
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		// Goroutines on their way out need a moment; there is nothing to wait on but time.
		time.Sleep(10 * time.Millisecond)
	}
}

// Goroutines are those of the process at some moment, but for the one that asked: their stacks by their numbers.
type Goroutines map[string]string

// All returns the goroutines that there are now. It stops the world, and so does not count one that has ended but whose
// thread has not put it away yet, as runtime.NumGoroutine does: that takes no time of a synctest bubble.
func All() Goroutines {
	all := Goroutines{}
	for _, stack := range stacks()[1:] {
		if ignored(stack) {
			continue
		}
		number, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		all[number] = stack
	}
	return all
}

// Since returns the stacks of the goroutines that were not there before.
func Since(before Goroutines) (stacks []string) {
	for number, stack := range All() {
		if _, was := before[number]; !was {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

func stacks() []string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			return strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n")
		}
		buf = make([]byte, 2*len(buf))
	}
}

// others drops the goroutine that asks (the first) and those of the test runner and the runtime.
func others(stacks []string) []string {
	var left []string
	for i, s := range stacks {
		if i == 0 || ignored(s) {
			continue
		}
		left = append(left, s)
	}
	return left
}

func ignored(stack string) bool {
	for _, mark := range []string{
		"os/signal.signal_recv",
		"os/signal.loop",
		"testing.(*M).startAlarm",
		"testing.runFuzzing",
		"runtime.ReadTrace",
		"runtime/pprof.profileWriter",
		"internal/fuzz.",
		"runtime.runFinalizers", // only shown while they run somebody's function
		"runtime.runCleanups",
	} {
		if strings.Contains(stack, mark) {
			return true
		}
	}
	return false
}
