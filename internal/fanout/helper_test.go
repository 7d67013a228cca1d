package fanout

import (
	"context"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// await returns when the engine has come to rest. It is for tests in real time; a value that was stranded does not keep
// the engine busy, so callers check what arrived afterwards.
func await(t testing.TB, e *Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := e.Wait(ctx); err != nil {
		t.Fatalf("the engine does not come to rest: %v", err)
	}
}

func rateLimit(perSecond float64) rate.Limit { return rate.Limit(perSecond) }
