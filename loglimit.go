package wshub

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// logInterval is how often one cause may be logged.
const logInterval = time.Minute

// maxLogCauses bounds what a logLimiter remembers. Causes come from closed
// sets and stay far below it; should a caller make one out of what a client
// sends, the ones too many share a line.
const maxLogCauses = 256

// logLimiter keeps a flood of dropped messages or refused clients from
// becoming a flood of log lines: one line a minute per cause, each with the
// exact number of those before it that were not logged. The zero value is
// ready; its methods may be called at once from several goroutines.
type logLimiter struct {
	mu     sync.Mutex
	causes map[string]*logCause // guarded by mu
	other  logCause             // guarded by mu; of all causes beyond maxLogCauses
}

type logCause struct {
	limiter    *rate.Limiter // nil: not seen yet
	suppressed uint64        // not logged since the last line
}

// allow reports whether what happened at now because of cause is to be logged,
// and if so how often it has happened unlogged since the line before.
func (l *logLimiter) allow(cause string, now time.Time) (ok bool, suppressed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.causeLocked(cause)
	if c.limiter == nil {
		c.limiter = rate.NewLimiter(rate.Every(logInterval), 1)
	}
	if !c.limiter.AllowN(now, 1) {
		c.suppressed++
		return false, 0
	}
	suppressed, c.suppressed = c.suppressed, 0
	return true, suppressed
}

func (l *logLimiter) causeLocked(cause string) *logCause {
	if c := l.causes[cause]; c != nil {
		return c
	}
	if len(l.causes) >= maxLogCauses {
		return &l.other
	}
	if l.causes == nil {
		l.causes = make(map[string]*logCause)
	}
	c := new(logCause)
	l.causes[cause] = c
	return c
}
