package leak

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestOthers(t *testing.T) {
	awaitNone(t, "before anything was started") // the runner's goroutine of a test before this one
	started, stop := make(chan struct{}), make(chan struct{})
	go stray(started, stop)
	<-started
	if left := leftovers(); len(left) != 1 || !strings.Contains(left[0], "leak.stray") {
		t.Errorf("one stray goroutine: %q", left)
	}
	close(stop)
	awaitNone(t, "it is gone")
}

func TestSince(t *testing.T) {
	started, stop := make(chan struct{}), make(chan struct{})
	go stray(started, stop)
	<-started
	before := All()
	again := make(chan struct{})
	go stray(again, stop)
	<-again
	if left := Since(before); len(left) != 1 || !strings.Contains(left[0], "leak.stray") {
		t.Errorf("one stray goroutine more: %q", left)
	}
	close(stop)
	awaitNone(t, "they are gone")
	if left := Since(before); len(left) != 0 {
		t.Errorf("none more: %q", left)
	}
}

// A function that the collector runs is nobody's goroutine.
func TestCleanupIsNoLeak(t *testing.T) {
	before, runs, stop := All(), make(chan struct{}), make(chan struct{})
	runtime.AddCleanup(new([64]byte), func(runs chan struct{}) { close(runs); <-stop }, runs)
	runtime.GC()
	<-runs
	if left := Since(before); len(left) != 0 {
		t.Errorf("%q", left)
	}
	close(stop)
}

func awaitNone(t *testing.T, when string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); len(leftovers()) > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %q", when, leftovers())
		}
	}
}

func stray(started, stop chan struct{}) {
	close(started)
	<-stop
}

// leftovers are the goroutines that TestMain would complain about, without those of the running test.
func leftovers() []string {
	var left []string
	for _, s := range others(stacks()) {
		if !strings.Contains(s, "testing.(*M).Run") {
			left = append(left, s)
		}
	}
	return left
}
