package wshub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Whatever happens a hundred times a minute, because of clients or of the program, makes one line of the log at most; the
// next line tells how many there were between; and counters and events have them all.
func TestPitfall12FloodsMakeOneLineAMinute(t *testing.T) {
	const flood = 200
	refuse := func(opts ...wshubtest.DialOption) func(*testing.T, *arena) func() {
		return func(t *testing.T, a *arena) func() {
			return func() {
				if _, _, err := wshubtest.TryDial(t, a.h.Handler(stay), opts...); err == nil {
					t.Error("not refused")
				}
			}
		}
	}
	failing := func(fn wshub.SessionFunc, mw ...wshub.Middleware) func(*testing.T, *arena) func() {
		return func(t *testing.T, a *arena) func() {
			return func() { wshubtest.Dial(t, a.h.Handler(fn, mw...)).ExpectClose(1011) }
		}
	}
	messages := func(each wshub.SessionFunc, text string) func(*testing.T, *arena) func() {
		return func(t *testing.T, a *arena) func() {
			c := wshubtest.Dial(t, a.h.Handler(each))
			return func() { c.SendText(text); synctest.Wait() }
		}
	}
	mux := new(wshub.Mux)
	wshub.Handle(mux, "fail", func(context.Context, *wshub.Session, struct{}) error { return errors.New("broken") })
	logged := new(wshub.Mux)
	logged.Use(wshub.LogEach(nil))
	wshub.Handle(logged, "fail", func(context.Context, *wshub.Session, struct{}) error { return errors.New("broken") })
	for _, test := range []struct {
		name  string
		opts  []wshub.Option
		begin func(*testing.T, *arena) (happen func())
		lines bool // there are any
		count func(*arena) uint64
	}{
		{name: "origin", begin: refuse(wshubtest.WithOrigin("https://evil.example")), count: (*arena).refused},
		{name: "limit", opts: []wshub.Option{wshub.Authenticate(func(*http.Request) (wshub.Identity, error) { return wshub.Identity{}, wshub.ErrLimit })},
			begin: refuse(), count: (*arena).refused},
		{name: "handshake", begin: refuse(wshubtest.WithHeader("Sec-WebSocket-Version", "12")), lines: true, count: (*arena).refused},
		{name: "panic in Authenticate", opts: []wshub.Option{wshub.Authenticate(func(*http.Request) (wshub.Identity, error) { panic("broken") })},
			begin: refuse(), lines: true, count: (*arena).refused},
		{name: "failing SessionFunc", begin: failing(func(context.Context, *wshub.Session) error { return errors.New("broken") }), lines: true, count: (*arena).errors},
		{name: "panicking SessionFunc", begin: failing(func(context.Context, *wshub.Session) error { panic("broken") }), lines: true, count: (*arena).errors},
		{name: "panicking observer", opts: []wshub.Option{wshub.WithObserver(wshub.Observer{Connected: func(wshub.Event) { panic("broken") }})}, lines: true,
			begin: func(t *testing.T, a *arena) func() {
				return func() { wshubtest.Dial(t, a.h.Handler(stay)).Close(1000, ""); synctest.Wait() }
			}, count: func(a *arena) uint64 { return a.h.Stats().Accepted }},
		{name: "panicking key", lines: true, begin: func(t *testing.T, a *arena) func() {
			topic := newTopic(t, a.h, "keyed", wshub.Coalesce(), wshub.KeyBy(func(int) int { panic("broken") }))
			topic.Subscribe(t.Context())
			return func() {
				if err := topic.Publish(context.Background(), 1); errors.Is(err, wshub.ErrPanic) {
					a.own++
				}
			}
		}, count: func(a *arena) uint64 { return a.own }},
		{name: "panicking filter", lines: true, begin: func(t *testing.T, a *arena) func() {
			topic := newTopic[int](t, a.h, "filtered", wshub.Policy{})
			return func() {
				stream := topic.Where(func(int) bool { panic("broken") }).Subscribe(t.Context())
				publish(t, topic, 1)
				synctest.Wait()
				if !errors.Is(stream.Err(), wshub.ErrPanic) {
					t.Error(stream.Err())
				}
			}
		}, count: (*arena).errors},
		{name: "failing handler", begin: messages(wshub.Each(mux.Message), `{"event":"fail"}`), lines: true, count: (*arena).errors},
		{name: "failing handler, in the log's middleware", begin: messages(wshub.Each(logged.Message), `{"event":"fail"}`), lines: true, count: (*arena).errors},
		{name: "bad message", begin: messages(wshub.Each(mux.Message), `{`), count: (*arena).errors},
		{name: "unknown event", begin: messages(wshub.Each(mux.Message), `{"event":"none"}`), count: (*arena).errors},
		{name: "dropped message", opts: []wshub.Option{wshub.WithInbound(wshub.DropNewest(1))},
			begin: func(t *testing.T, a *arena) func() {
				send := messages(waits, "x")(t, a)
				send() // the one that waits
				return send
			}, count: func(a *arena) uint64 { return a.sum(a.h.Stats().InboundDropped, a.dropped) }},
		{name: "dropped value", begin: func(t *testing.T, a *arena) func() {
			topic := newTopic[int](t, a.h, "dropped", wshub.DropNewest(1))
			topic.Subscribe(t.Context()) // nobody reads
			publish(t, topic, 0)
			return func() { publish(t, topic, 1); synctest.Wait() }
		}, count: func(a *arena) uint64 { return a.sum(a.h.Stats().Topics.Dropped, a.dropped) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newArena(t, test.opts)
				happen := test.begin(t, a)
				for range flood {
					happen()
				}
				synctest.Wait()
				time.Sleep(time.Minute)
				happen()
				synctest.Wait()
				if got := test.count(a); got != flood+1 {
					t.Errorf("%d are counted, want %d", got, flood+1)
				}
				var lines []string
				for line := range strings.Lines(a.log.String()) {
					if !strings.Contains(line, "level=DEBUG msg=message") {
						lines = append(lines, line)
					}
				}
				switch {
				case !test.lines && len(lines) > 0, test.lines && len(lines) < 2, len(lines) > 4:
					t.Fatalf("%d lines: %.500q", len(lines), lines)
				}
				for i, line := range lines {
					if told := strings.Contains(line, fmt.Sprint("suppressed=", flood-1)); told != (i >= len(lines)/2) {
						t.Errorf("line %d: %.300q", i, line)
					}
				}
			})
		})
	}
}

// waits is a SessionFunc that takes no message.
func waits(ctx context.Context, s *wshub.Session) error {
	s.Messages()
	<-ctx.Done()
	return nil
}

// arena is a hub, what it logs, and what an observer has heard.
type arena struct {
	h   *wshub.Hub
	log bytes.Buffer
	own uint64 // counted by the test itself

	mu                       sync.Mutex
	refusals, faults, losses uint64 // guarded by mu
}

func newArena(t *testing.T, opts []wshub.Option) *arena {
	a := new(arena)
	count := func(n *uint64) func(wshub.Event) {
		return func(e wshub.Event) {
			a.mu.Lock()
			defer a.mu.Unlock()
			*n += max(e.N, 1)
		}
	}
	a.h = newHub(t, append(opts, wshub.WithLogger(slog.New(slog.NewTextHandler(&a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		wshub.WithObserver(wshub.Observer{Refused: count(&a.refusals), Error: count(&a.faults), Dropped: count(&a.losses)}))...)
	return a
}

// sum is what was counted and heard, if that is the same.
func (a *arena) sum(counted uint64, heard func() uint64) uint64 {
	if n := heard(); n != counted {
		return 0
	}
	return counted
}

func (a *arena) heard(n *uint64) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return *n
}

func (a *arena) errors() uint64  { return a.heard(&a.faults) }
func (a *arena) dropped() uint64 { return a.heard(&a.losses) }
func (a *arena) refused() uint64 {
	return a.sum(a.h.Stats().Refused, func() uint64 { return a.heard(&a.refusals) })
}
