package wshub_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
)

// A reader of events that is given up is told of events, which have no topic to name.
func TestSlowReaderOfEventsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		events := h.Events(t.Context(), wshub.Evict(1, 0))
		sessions(t, h, 5)
		synctest.Wait()
		if err := events.Err(); !errors.Is(err, wshub.ErrSlow) || !strings.HasPrefix(err.Error(), "stream of events: ") {
			t.Errorf("Err is %v", err)
		}
	})
}
