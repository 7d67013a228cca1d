package wshub

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"
)

// Recover makes an error that matches [ErrPanic] of a panic, so that the middleware outside of it, given earlier, sees
// how the SessionFunc ended. The panic is logged with its stack to the hub's logger, and the session closes with 1011,
// as they are without Recover; [runtime.Goexit] passes.
func Recover() Middleware {
	return func(next SessionFunc) SessionFunc {
		return func(ctx context.Context, s *Session) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = s.panicked("session func", p, debug.Stack())
				}
			}()
			return next(ctx, s)
		}
	}
}

// RecoverEach is [Recover] for a MessageFunc.
func RecoverEach() MessageMiddleware {
	return func(next MessageFunc) MessageFunc {
		return func(ctx context.Context, s *Session, m Message) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = s.panicked("message func", p, debug.Stack())
				}
			}()
			return next(ctx, s, m)
		}
	}
}

// Log writes two lines a session to l, or to the hub's logger when l is nil: at level debug when the SessionFunc
// begins, and at level info when it has ended, with how long it took, the code that the session closes with, and the
// error.
func Log(l *slog.Logger) Middleware {
	return func(next SessionFunc) SessionFunc {
		return func(ctx context.Context, s *Session) error {
			l := s.logger(l)
			l.LogAttrs(ctx, slog.LevelDebug, "session begins", slog.String("session", s.id), slog.String("user", s.User()),
				slog.String("addr", s.RemoteAddr().String()))
			return around(func() error { return next(ctx, s) }, func(took time.Duration, err error) {
				attrs := []slog.Attr{slog.String("session", s.id), slog.String("user", s.User()), slog.Duration("took", took),
					slog.Int("code", int(s.closeCode(err)))}
				l.LogAttrs(ctx, slog.LevelInfo, "session ends", withError(attrs, err)...)
			})
		}
	}
}

// LogEach writes a line a message to l, or to the hub's logger when l is nil: at level debug, with the message's kind
// and size, how long it took, the error, and the event when a [Mux] has a handler for it, which is known only in
// [Mux.Use]. Messages that fail have a line at level warn besides, once a minute an event. What a message says is never
// logged, nor the error of decoding it, which may quote it.
func LogEach(l *slog.Logger) MessageMiddleware {
	var limits logLimiter
	return func(next MessageFunc) MessageFunc {
		return func(ctx context.Context, s *Session, m Message) error {
			l := s.logger(l)
			kind, size := m.Kind, len(m.Data) // the data is next's
			return around(func() error { return next(ctx, s, m) }, func(took time.Duration, err error) {
				debug := l.Enabled(ctx, slog.LevelDebug)
				if !debug && err == nil {
					return
				}
				attrs := []slog.Attr{slog.String("session", s.id), slog.String("kind", kind.String()), slog.Int("bytes", size),
					slog.Duration("took", took)}
				event := eventName(ctx)
				if event != "" {
					attrs = append(attrs, slog.String("event", event))
				}
				attrs = withError(attrs, err)
				if debug {
					l.LogAttrs(ctx, slog.LevelDebug, "message", attrs...)
				}
				if err == nil {
					return
				}
				if ok, left := limits.allow(event, time.Now()); ok {
					if left > 0 {
						attrs = append(attrs, slog.Uint64("suppressed", left))
					}
					l.LogAttrs(ctx, slog.LevelWarn, "message failed", attrs...)
				}
			})
		}
	}
}

// Metrics tells the hub's events and observers of each SessionFunc that has ended: an [EventServed] with how long it
// took and its error.
func Metrics() Middleware {
	return func(next SessionFunc) SessionFunc {
		return func(ctx context.Context, s *Session) error {
			return around(func() error { return next(ctx, s) }, func(took time.Duration, err error) {
				s.emit(Event{Kind: EventServed, Took: took, Cause: err})
			})
		}
	}
}

// MetricsEach tells the hub's events and observers of each message that was handled: an [EventHandled] with how long it
// took and its error. In [Mux.Use] its Name is the event when the Mux has a handler for it, and so one of a closed set.
func MetricsEach() MessageMiddleware {
	return func(next MessageFunc) MessageFunc {
		return func(ctx context.Context, s *Session, m Message) error {
			return around(func() error { return next(ctx, s, m) }, func(took time.Duration, err error) {
				s.emit(Event{Kind: EventHandled, Name: eventName(ctx), Took: took, Cause: err})
			})
		}
	}
}

// around returns what f does, after telling done, which is told also when f panics or ends its goroutine; that goes on.
func around(f func() error, done func(took time.Duration, err error)) (err error) {
	start, finished := time.Now(), false
	defer func() {
		if finished {
			return
		}
		p := recover()
		if p == nil {
			done(time.Since(start), errGoexit)
			return
		}
		done(time.Since(start), panicError(p))
		panic(p) // before this returns: the stack still has what panicked
	}()
	err = f()
	finished = true
	done(time.Since(start), err)
	return err
}

// logger returns l, or the hub's when it is nil.
func (s *Session) logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return s.hub.opts.logger
	}
	return l
}

// closeCode returns the code that a session closes with whose SessionFunc returns err.
func (s *Session) closeCode(err error) StatusCode {
	if s.ended() {
		return s.why().code
	}
	code, _, _ := statusFor(err)
	return code
}

// withError adds err unless it is nil. That of a message that does not decode may quote it.
func withError(attrs []slog.Attr, err error) []slog.Attr {
	switch {
	case err == nil:
		return attrs
	case errors.Is(err, ErrDecode):
		err = ErrDecode
	}
	return append(attrs, slog.Any("err", err))
}

// eventName returns the event of the handler that a Mux has chosen, or "".
func eventName(ctx context.Context) string {
	if c := routedFrom(ctx); c != nil {
		return c.name
	}
	return ""
}
