package proto

import (
	"testing"
	"time"
)

func TestNowIsMonotonicClock(t *testing.T) {
	var off time.Duration
	for range 100 { // one pair may have waited for a processor in between
		before, got, after := monotonic(), Now(), monotonic()
		off = time.Duration(max(before-got, got-after))
		if off < 10*time.Microsecond {
			return
		}
	}
	t.Errorf("%v away from the kernel's clock", off)
}
