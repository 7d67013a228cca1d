package wshub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/wshubtest"
)

// recorded returns a log at level debug without times, and what it holds so far.
func recorded() (*record, *slog.Logger) {
	r := new(record)
	return r, slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "session" || a.Key == "stack" {
			return slog.Attr{}
		}
		return a
	}}))
}

// taken returns the events that a stream has now.
func taken(events *Stream[Event], kinds ...EventKind) (all []Event) {
	for {
		synctest.Wait()
		select {
		case e := <-events.C():
			for _, k := range kinds {
				if e.Kind == k {
					all = append(all, e)
				}
			}
		default:
			return all
		}
	}
}

func expectLog(t *testing.T, r *record, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := r.String(); got != strings.Join(append(want, ""), "\n") {
		t.Errorf("log:\n%swant:\n%s", got, strings.Join(append(want, ""), "\n"))
	}
}

func TestRecover(t *testing.T) {
	boom := errors.New("boom")
	for name, where := range map[string]string{"session": "session func", "each": "message func"} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r, l := recorded()
				h := newHub(t, WithLogger(l))
				var seen error
				handler := h.Handler(func(context.Context, *Session) error { panic(boom) },
					func(next SessionFunc) SessionFunc {
						return func(ctx context.Context, s *Session) error { seen = next(ctx, s); return seen }
					}, Recover())
				if name == "each" {
					handler = h.Handler(Each(func(context.Context, *Session, Message) error { panic(boom) },
						func(next MessageFunc) MessageFunc {
							return func(ctx context.Context, s *Session, m Message) error { seen = next(ctx, s, m); return seen }
						}, RecoverEach()))
				}
				events := h.Events(t.Context(), Policy{})
				c := wshubtest.Dial(t, handler)
				c.TrySend("x") // the session may be over by now
				c.ExpectClose(1011)
				if !errors.Is(seen, ErrPanic) || !errors.Is(seen, boom) {
					t.Errorf("outside: %v", seen)
				}
				if got := taken(events, EventError); len(got) != 1 || !errors.Is(got[0].Cause, boom) {
					t.Errorf("events %v", got)
				}
				expectLog(t, r, `level=ERROR msg=panic where="`+where+`" panic=boom`)
			})
		})
	}
}

// What middleware makes of a panic is the result; Goexit is none, and passes.
func TestRecoverLetsGoexitPass(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(func(context.Context, *Session) error { panic("x") },
			func(next SessionFunc) SessionFunc {
				return func(ctx context.Context, s *Session) error {
					if next(ctx, s) == nil {
						t.Error("no error")
					}
					return &CloseError{Code: 4000}
				}
			}, Recover()))
		c.ExpectClose(4000)
		after := false
		events := h.Events(t.Context(), Policy{})
		c = wshubtest.Dial(t, h.Handler(func(context.Context, *Session) error { runtime.Goexit(); return nil },
			func(next SessionFunc) SessionFunc {
				return func(ctx context.Context, s *Session) error {
					err := next(ctx, s)
					after = true
					return err
				}
			}, Metrics(), Recover()))
		c.ExpectClose(1011)
		if after {
			t.Error("Goexit was turned into a return")
		}
		if got := taken(events, EventServed); len(got) != 1 || got[0].Cause != errGoexit {
			t.Errorf("events %v", got)
		}
	})
}

func TestLog(t *testing.T) {
	for _, tt := range []struct {
		name string
		fn   SessionFunc
		end  string
	}{
		{"nil", func(context.Context, *Session) error { return nil }, "code=1000"},
		{"error", func(context.Context, *Session) error { return fmt.Errorf("join: %w", ErrTopicFull) }, `code=1008 err="join: wshub: limit reached: topic is full"`},
		{"decode", func(context.Context, *Session) error { return fmt.Errorf("%w: secret", ErrDecode) }, `code=1007 err="wshub: cannot decode message"`},
		{"panic", func(context.Context, *Session) error { panic("no") }, `code=1011 err="wshub: panic in a callback: no"`},
		{"closed", func(ctx context.Context, s *Session) error {
			s.Close(4001, "")
			return ErrSessionClosed
		}, `code=4001 err="wshub: session is closed"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r, l := recorded()
				h := newHub(t, Authenticate(userAnn))
				c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
					time.Sleep(time.Second)
					return tt.fn(ctx, s)
				}, Log(l)), wshubtest.WithRemoteAddr("192.0.2.1:99"))
				c.Next()
				expectLog(t, r, `level=DEBUG msg="session begins" user=ann addr=192.0.2.1:99`,
					`level=INFO msg="session ends" user=ann took=1s `+tt.end)
			})
		})
	}
}

// The hub's logger is the default one.
func TestLogToTheHub(t *testing.T) {
	in(t, func(t *testing.T) {
		r, l := recorded()
		h := newHub(t, WithLogger(l))
		c := wshubtest.Dial(t, h.Handler(Each(func(context.Context, *Session, Message) error { return nil }, LogEach(nil)), Log(nil)))
		c.SendText("x")
		c.Close(1000, "")
		synctest.Wait()
		for _, want := range []string{`msg="session begins"`, "msg=message kind=text bytes=1 took=0s\n", `msg="session ends"`} {
			if !strings.Contains(r.String(), want) {
				t.Errorf("no %s in:\n%s", want, r)
			}
		}
	})
}

// Each message has a line; what it says is in none of them; failures are told once a minute an event.
func TestLogEach(t *testing.T) {
	in(t, func(t *testing.T) {
		r, l := recorded()
		h := newHub(t)
		var m Mux
		m.Use(LogEach(l))
		Handle(&m, "good", func(context.Context, *Session, string) error { time.Sleep(time.Millisecond); return nil })
		Handle(&m, "bad", func(context.Context, *Session, int) error { return ErrForbidden })
		m.Fallback(func(context.Context, *Session, Message) error { return ErrUnknownEvent })
		c := wshubtest.Dial(t, h.Handler(Each(m.Message)))
		for _, s := range []string{`{"event":"good","data":"secret"}`, `{"event":"bad","data":123456}`, `{"event":"bad","data":1.5}`, `{"event":"secret"}`} {
			c.SendText(s)
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		lines := []string{
			`level=DEBUG msg=message kind=text bytes=32 took=1ms event=good`,
			`level=DEBUG msg=message kind=text bytes=29 took=0s event=bad err="wshub: forbidden"`,
			`level=WARN msg="message failed" kind=text bytes=29 took=0s event=bad err="wshub: forbidden"`,
			`level=DEBUG msg=message kind=text bytes=26 took=0s event=bad err="wshub: cannot decode message"`,
			`level=DEBUG msg=message kind=text bytes=18 took=0s err="wshub: unknown event"`,
			`level=WARN msg="message failed" kind=text bytes=18 took=0s err="wshub: unknown event"`,
		}
		expectLog(t, r, lines...)
		time.Sleep(time.Minute)
		c.SendText(`{"event":"bad","data":1}`)
		synctest.Wait()
		expectLog(t, r, append(lines, `level=DEBUG msg=message kind=text bytes=24 took=0s event=bad err="wshub: forbidden"`,
			`level=WARN msg="message failed" kind=text bytes=24 took=0s event=bad err="wshub: forbidden" suppressed=1`)...)
	})
}

func TestMetrics(t *testing.T) {
	boom := errors.New("boom")
	in(t, func(t *testing.T) {
		h := newHub(t)
		events := h.Events(t.Context(), Policy{})
		var m Mux
		m.Use(MetricsEach())
		Handle(&m, "good", func(context.Context, *Session, any) error { time.Sleep(time.Second); return nil })
		Handle(&m, "bad", func(context.Context, *Session, int) error { return ErrForbidden })
		Handle(&m, "panic", func(context.Context, *Session, any) error { panic(boom) })
		m.Fallback(func(context.Context, *Session, Message) error { return ErrUnknownEvent })
		c := wshubtest.Dial(t, h.Handler(Each(m.Message), Metrics()))
		for _, event := range []string{"good", "bad", "other", "panic"} {
			c.SendText(`{"event":"` + event + `"}`)
			synctest.Wait()
		}
		c.Next()
		c.Next()
		c.ExpectClose(1011)
		handled := taken(events, EventHandled, EventServed, EventDisconnected)
		for i, want := range []struct {
			kind  EventKind
			name  string
			took  time.Duration
			cause error
		}{
			{EventHandled, "good", time.Second, nil},
			{EventHandled, "bad", 0, ErrForbidden},
			{EventHandled, "", 0, ErrUnknownEvent},
			{EventHandled, "panic", 0, boom},
			{EventServed, "", time.Second, boom},
			{EventDisconnected, "", 0, boom},
		} {
			if i >= len(handled) {
				t.Fatalf("no event %d", i)
			}
			e := handled[i]
			if e.Kind != want.kind || e.Name != want.name || e.Took != want.took && e.Kind != EventDisconnected || !errors.Is(e.Cause, want.cause) || e.Session == "" {
				t.Errorf("event %d: %+v, want %+v", i, e, want)
			}
		}
	})
}

// What a Mux answers with an error is an event under the handler's name, never the client's, and what is the server's
// fault is logged under it, once a minute.
func TestMuxTells(t *testing.T) {
	in(t, func(t *testing.T) {
		r, l := recorded()
		h := newHub(t, WithLogger(l))
		events := h.Events(t.Context(), Policy{})
		var m Mux
		boom := errors.New("boom")
		Handle(&m, "fails", func(context.Context, *Session, any) error { return boom })
		Handle(&m, "typed", func(context.Context, *Session, int) error { return nil })
		c := wshubtest.Dial(t, h.Handler(Each(m.Message)))
		for _, text := range []string{`{"event":"fails","id":1}`, `{"event":"fails","id":2}`, `{"event":"typed","data":"secret"}`, `{"event":"typed","id":[]}`, `{"event":"secret"}`, `secret`} {
			c.SendText(text)
			c.Next()
		}
		got := taken(events, EventError)
		for i, want := range []struct {
			name  string
			cause error
		}{{"fails", boom}, {"fails", boom}, {"typed", ErrDecode}, {"typed", ErrDecode}, {"", ErrUnknownEvent}, {"", ErrDecode}} {
			if i >= len(got) {
				t.Fatalf("no event %d", i)
			}
			if got[i].Name != want.name || !errors.Is(got[i].Cause, want.cause) {
				t.Errorf("event %d: %+v, want %+v", i, got[i], want)
			}
		}
		m.Fallback(func(context.Context, *Session, Message) error { return boom })
		for i := range 3 {
			c.SendText(fmt.Sprintf(`{"event":"secret %d"}`, i))
			c.Next()
		}
		if got := taken(events, EventError); len(got) != 3 || got[2].Name != "" {
			t.Errorf("events of the fallback: %v", got)
		}
		expectLog(t, r, `level=ERROR msg="message failed" event=fails err=boom`, `level=ERROR msg="message failed" event="" err=boom`)
		Handle(&m, "leaves", func(ctx context.Context, s *Session, _ any) error {
			s.Close(4000, "")
			return s.Send(ctx, Text("late"))
		})
		c.SendText(`{"event":"leaves"}`)
		c.ExpectClose(4000)
		if got := taken(events, EventError); len(got) > 0 {
			t.Errorf("the session's own end is an error: %v", got)
		}
	})
}
