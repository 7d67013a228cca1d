package leak

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestOthers(t *testing.T) {
	if left := leftovers(); len(left) > 0 {
		t.Fatalf("before anything was started: %q", left)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go stray(stop, stopped)
	if left := leftovers(); len(left) != 1 || !strings.Contains(left[0], "leak.stray") {
		t.Errorf("one stray goroutine: %q", left)
	}
	close(stop)
	<-stopped
	for deadline := time.Now().Add(5 * time.Second); len(leftovers()) > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("it is gone: %q", leftovers())
		}
	}
}

func stray(stop, stopped chan struct{}) {
	<-stop
	close(stopped)
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
