package wshub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

type line struct {
	Room string `json:"room"`
	Text string `json:"text"`
}

// dialMux returns the client of a session that the Mux serves.
func dialMux(t *testing.T, m *wshub.Mux, opts ...wshub.Option) *wshubtest.Client {
	t.Helper()
	h := newHub(t, append([]wshub.Option{wshub.WithLogger(nil)}, opts...)...)
	return wshubtest.Dial(t, h.Handler(wshub.Each(m.Message)))
}

// answers is a table of what a client sends and what it gets.
type answers []struct{ name, send, want string }

func (a answers) run(t *testing.T, m *wshub.Mux) {
	for _, tt := range a {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := dialMux(t, m)
				c.SendText(tt.send)
				if tt.want == "" {
					c.ExpectNothing()
				} else {
					c.ExpectText(tt.want)
				}
				c.SendText(`{"event":"ping"}`) // the session lives
				c.ExpectText(`{"event":"ping","data":"pong"}`)
			})
		})
	}
}

func ping(context.Context, *wshub.Session, any) (string, error) { return "pong", nil }

func TestMux(t *testing.T) {
	var m wshub.Mux
	wshub.Reply(&m, "ping", ping)
	wshub.Reply(&m, "echo", func(_ context.Context, _ *wshub.Session, v line) (line, error) { return v, nil })
	wshub.Reply(&m, "raw", func(_ context.Context, _ *wshub.Session, v json.RawMessage) (json.RawMessage, error) { return v, nil })
	wshub.Reply(&m, "number", func(_ context.Context, _ *wshub.Session, n *int) (bool, error) { return n != nil, nil })
	wshub.Reply(&m, "message", func(context.Context, *wshub.Session, any) (wshub.Message, error) {
		return wshub.Text(`{"as": "it is"}`), nil
	})
	wshub.Reply(&m, "envelope", func(ctx context.Context, _ *wshub.Session, _ any) (string, error) {
		e, ok := wshub.EnvelopeFrom(ctx)
		return fmt.Sprint(e.Event, " ", e.Topic, " ", string(e.ID), " ", ok), nil
	})
	wshub.Reply(&m, `a"b<é`, ping)
	wshub.Handle(&m, "mute", func(context.Context, *wshub.Session, line) error { return nil })
	answers{
		{"data", `{"event":"echo","data":{"room":"go","text":"hi","more":1}}`, `{"event":"echo","data":{"room":"go","text":"hi"}}`},
		{"id", `{"id":7,"event":"echo","data":{}}`, `{"event":"echo","id":7,"data":{"room":"","text":""}}`},
		{"id of text", `{"event":"ping","id":"a\"}{"}`, `{"event":"ping","id":"a\"}{","data":"pong"}`},
		{"id as written", `{"event":"ping","id":-1.50e3 }`, `{"event":"ping","id":-1.50e3,"data":"pong"}`},
		{"no id", `{"event":"ping","id":null}`, `{"event":"ping","data":"pong"}`},
		{"no data", `{"event":"echo"}`, `{"event":"echo","data":{"room":"","text":""}}`},
		{"no data is null", `{"event":"raw"}`, `{"event":"raw","data":null}`},
		{"null", `{"event":"number","data":null}`, `{"event":"number","data":false}`},
		{"zero", `{"event":"number","data":0}`, `{"event":"number","data":true}`},
		{"white space", "\n{ \"event\" :\t\"echo\" , \"data\" : { \"room\" : \"x\" } }\r\n", `{"event":"echo","data":{"room":"x","text":""}}`},
		{"order and strangers", `{"x":[{"event":"no"},"}"],"data":[1,{"a":"]"}],"y":"\\\"","event":"raw"}`, `{"event":"raw","data":[1,{"a":"]"}]}`},
		{"message", `{"event":"message"}`, `{"event":"message","data":{"as": "it is"}}`},
		{"envelope", `{"event":"envelope","topic":"room/\u0067o","id":3}`, `{"event":"envelope","id":3,"data":"envelope room/go 3 true"}`},
		{"event with escapes", `{"\u0065vent":"a\"b\u003c\u00e9"}`, `{"event":"a\"b\u003cé","data":"pong"}`},
		{"capitals", `{"Event":"ping","ID":1}`, `{"event":"ping","id":1,"data":"pong"}`},
		{"no reply", `{"event":"mute","id":1}`, ""},
	}.run(t, &m)
}

func TestMuxErrors(t *testing.T) {
	var m wshub.Mux
	wshub.Reply(&m, "ping", ping)
	wshub.Handle(&m, "line", func(context.Context, *wshub.Session, line) error { return nil })
	for event, err := range map[string]error{
		"secret":    errors.New("password is hunter2"),
		"public":    fmt.Errorf("db: %w", wshub.Public(errors.New("room <go> is gone"))),
		"coded":     fmt.Errorf("app: %w", &wshub.PublicError{Code: "too_old", Err: errors.New("reload")}),
		"known":     wshub.Public(fmt.Errorf("no room of that name: %w", wshub.ErrNotFound)),
		"forbidden": fmt.Errorf("app: %w", wshub.ErrForbidden),
		"missing":   fmt.Errorf("app: %w", wshub.ErrNotFound),
		"login":     fmt.Errorf("app: %w", wshub.ErrUnauthorized),
		"rejected":  &wshub.RejectError{Status: 403, Reason: "members only"},
		"overload":  &wshub.RejectError{Status: 503, Reason: "come back later"},
		"limit":     fmt.Errorf("join: %w", wshub.ErrTopicFull),
		"name":      fmt.Errorf("topic: %w", wshub.ErrName),
		"decode":    fmt.Errorf("inner: %w", wshub.ErrDecode),
		"gone":      fmt.Errorf("send: %w", wshub.ErrNoSession),
		"going":     fmt.Errorf("send: %w", wshub.ErrSessionClosed), // to another one
		"unknown":   wshub.ErrUnknownEvent,
		"twice":     fmt.Errorf("join: %w", wshub.ErrAlreadyMember),
		"left":      fmt.Errorf("leave: %w", wshub.ErrNotMember),
		"empty":     &wshub.PublicError{},
		"zero":      fmt.Errorf("zero topic: %w", wshub.ErrClosed),
	} {
		wshub.Handle(&m, event, func(context.Context, *wshub.Session, any) error { return err })
	}
	wshub.Reply(&m, "chan", func(context.Context, *wshub.Session, any) (chan int, error) { return make(chan int), nil })
	wshub.Reply(&m, "binary", func(context.Context, *wshub.Session, any) (wshub.Message, error) { return wshub.Binary(nil), nil })
	wshub.Reply(&m, "not JSON", func(context.Context, *wshub.Session, any) (wshub.Message, error) { return wshub.Text("{"), nil })
	answer := func(code, text string) string {
		return `{"event":"error","id":1,"data":{"code":"` + code + `","message":"` + text + `"}}`
	}
	for event, want := range map[string]string{
		"secret":    answer("internal", "internal error"),
		"public":    answer("failed", `room \u003cgo\u003e is gone`),
		"coded":     answer("too_old", "reload"),
		"known":     answer("not_found", "no room of that name: wshub: not found"),
		"forbidden": answer("forbidden", "forbidden"),
		"missing":   answer("not_found", "not found"),
		"login":     answer("unauthorized", "not authorized"),
		"rejected":  answer("forbidden", "members only"),
		"overload":  answer("failed", "come back later"),
		"limit":     answer("limit", "topic is full"),
		"name":      answer("bad_message", "invalid name"),
		"decode":    answer("bad_message", "invalid message data"),
		"gone":      answer("not_found", "not found"),
		"going":     answer("not_found", "not found"),
		"unknown":   answer("unknown_event", "unknown event"),
		"twice":     answer("already_member", "already a member"),
		"left":      answer("not_member", "not a member"),
		"empty":     answer("failed", ""),
		"zero":      answer("internal", "internal error"),
		"chan":      answer("internal", "internal error"),
		"binary":    answer("internal", "internal error"),
		"not JSON":  answer("internal", "internal error"),
		"nobody's":  answer("unknown_event", "unknown event"),
		"error":     answer("unknown_event", "unknown event"),
	} {
		answers{{event, `{"event":"` + event + `","id":1}`, want}}.run(t, &m)
	}
	bad := `{"event":"error","data":{"code":"bad_message","message":"invalid message data"}}`
	answers{
		{"data of another type", `{"event":"line","data":[1]}`, bad},
		{"data of another type in it", `{"event":"line","id":1,"data":{"room":1}}`, answer("bad_message", "invalid message data")},
		{"no JSON", `{"event":"line","data":{}`, bad},
		{"no object", `["event","line"]`, bad},
		{"a string", `"event"`, bad},
		{"nothing", ``, bad},
		{"two values", `{"event":"line"}{"event":"line"}`, bad},
		{"no event", `{"data":{}}`, bad},
		{"empty event", `{"event":""}`, bad},
		{"event of another type", `{"event":["line"]}`, bad},
		{"two events, one in capitals", `{"Event":"line","event":"ping"}`, bad},
		{"two ids, one in capitals", `{"event":"ping","id":1,"ID":2}`, bad},
		{"topic of another type", `{"event":"ping","topic":{},"id":1}`, answer("bad_message", "invalid message data")},
		{"id of another type", `{"event":"ping","id":[]}`, bad},
		{"id of another literal", `{"event":"ping","id":true}`, bad},
		{"huge id", `{"event":"ping","id":"` + strings.Repeat("x", 127) + `"}`, bad},
		{"two events", `{"event":"line","event":"ping"}`, bad},
		{"two data", `{"event":"ping","id":1,"data":1,"data":2}`, bad},
		{"two ids, one in disguise", `{"event":"ping","id":1,"\u0069d":2}`, bad},
		{"very long id", `{"event":"ping","id":"` + strings.Repeat("x", 1<<16) + `"}`, bad},
		{"deep nesting", `{"event":"ping","data":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, bad},
	}.run(t, &m)
	long := `"` + strings.Repeat("x", 126) + `"`
	deep := strings.Repeat(`[{"x":`, 1000) + "1" + strings.Repeat("}]", 1000)
	answers{{"nesting", `{"event":"ping","y":` + deep + `,"data":` + deep + `}`, `{"event":"ping","data":"pong"}`}}.run(t, &m)
	answers{{"longest id", `{"event":"ping","id":` + long + `}`, `{"event":"ping","id":` + long + `,"data":"pong"}`}}.run(t, &m)
}

// These end the session, each in its own way, and are not answered.
func TestMuxCloses(t *testing.T) {
	for name, tt := range map[string]struct {
		handler func(context.Context, *wshub.Session) error
		code    int
	}{
		"close error": {func(context.Context, *wshub.Session) error {
			return fmt.Errorf("app: %w", wshub.Public(&wshub.CloseError{Code: 4001}))
		}, 4001},
		"panic": {func(context.Context, *wshub.Session) error { panic("no") }, 1011},
		"session closed": {func(ctx context.Context, s *wshub.Session) error {
			s.Close(4002, "")
			return s.Send(ctx, wshub.Text("late"))
		}, 4002},
		"context": {func(ctx context.Context, s *wshub.Session) error {
			s.Close(4003, "")
			<-ctx.Done()
			return ctx.Err()
		}, 4003},
		"recovered panic": {func(ctx context.Context, s *wshub.Session) error {
			recovered := wshub.RecoverEach()(func(context.Context, *wshub.Session, wshub.Message) error { panic("no") })
			return recovered(ctx, s, wshub.Message{})
		}, 1011},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var m wshub.Mux
				wshub.Handle(&m, "go", func(ctx context.Context, s *wshub.Session, _ any) error { return tt.handler(ctx, s) })
				c := dialMux(t, &m)
				c.SendText(`{"event":"go"}`)
				c.ExpectClose(tt.code)
				if got := c.Received().Text; got != 0 {
					t.Errorf("%d answers", got)
				}
			})
		})
	}
}

// A context that is over, by what middleware around the Mux has made of it, is an error of the session; one that middleware
// inside has ended is the message's.
func TestMuxContextEnds(t *testing.T) {
	limit := func(next wshub.MessageFunc) wshub.MessageFunc {
		return func(ctx context.Context, s *wshub.Session, msg wshub.Message) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return next(ctx, s, msg)
		}
	}
	slow := func(ctx context.Context, _ *wshub.Session, _ any) error {
		<-ctx.Done()
		return ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		var m wshub.Mux
		wshub.Handle(&m, "slow", slow)
		h := newHub(t, wshub.WithLogger(nil))
		c := wshubtest.Dial(t, h.Handler(wshub.Each(m.Message, limit)))
		c.SendText(`{"event":"slow"}`)
		c.ExpectClose(1011)
		if got := c.Received().Text; got != 0 {
			t.Errorf("%d answers", got)
		}
	})
	var m wshub.Mux
	m.Use(limit)
	wshub.Handle(&m, "slow", slow)
	wshub.Reply(&m, "ping", ping)
	answers{{"inside", `{"event":"slow"}`, `{"event":"error","data":{"code":"internal","message":"internal error"}}`}}.run(t, &m)
}

// A shutdown lets the messages that have come be handled and answered, also after one that fails.
func TestMuxAnswersDuringShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[string](t, h, "x", wshub.Policy{})
		hold := make(chan struct{})
		var m wshub.Mux
		wshub.Reply(&m, "ping", ping)
		wshub.Handle(&m, "hold", func(context.Context, *wshub.Session, any) error { <-hold; return nil })
		wshub.Handle(&m, "publish", func(ctx context.Context, _ *wshub.Session, _ any) error { return topic.Publish(ctx, "x") })
		c := wshubtest.Dial(t, h.Handler(wshub.Each(m.Message)))
		for _, event := range []string{"hold", "nobody's", "ping", "publish", "ping"} {
			c.SendText(`{"event":"` + event + `"}`)
		}
		time.Sleep(time.Second) // the handler is busy for long, so somebody else reads
		done := make(chan error)
		go func() { done <- h.Shutdown(context.Background()) }()
		synctest.Wait()
		close(hold)
		c.ExpectText(`{"event":"error","data":{"code":"unknown_event","message":"unknown event"}}`)
		c.ExpectText(`{"event":"ping","data":"pong"}`)
		c.ExpectClose(1001) // the hub's end is no error of the message, and the last ping is not handled
		if got := c.Received().Text; got != 2 {
			t.Errorf("%d answers", got)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestMuxFallback(t *testing.T) {
	var m wshub.Mux
	wshub.Reply(&m, "ping", ping)
	m.Fallback(func(context.Context, *wshub.Session, wshub.Message) error { panic("replaced") })
	m.Fallback(func(ctx context.Context, s *wshub.Session, msg wshub.Message) error {
		e, ok := wshub.EnvelopeFrom(ctx)
		if e.Event == "other" {
			return wshub.ErrNotFound
		}
		return s.Send(ctx, wshub.Text(fmt.Sprintf("%v %d %q %t", msg.Kind, len(msg.Data), e.Event, ok)))
	})
	answers{
		{"unknown event", `{"event":"x"}`, `text 13 "x" true`},
		{"no envelope", `hello`, `text 5 "" false`},
		{"its error", `{"event":"other","id":2}`, `{"event":"error","id":2,"data":{"code":"not_found","message":"not found"}}`},
		{"bad envelope", `{"event":"x","id":{}}`, `{"event":"error","data":{"code":"bad_message","message":"invalid message data"}}`},
	}.run(t, &m)
	synctest.Test(t, func(t *testing.T) {
		c := dialMux(t, &m)
		c.SendBinary([]byte(`{"event":"ping"}`))
		c.ExpectText(`binary 16 "" false`)
	})
	synctest.Test(t, func(t *testing.T) {
		c := dialMux(t, new(wshub.Mux))
		c.SendBinary([]byte(`{"event":"ping"}`))
		c.ExpectText(`{"event":"error","data":{"code":"bad_message","message":"invalid message data"}}`)
	})
}

func TestMuxRegistration(t *testing.T) {
	var m wshub.Mux
	wshub.Reply(&m, "taken", ping)
	nop := func(context.Context, *wshub.Session, any) error { return nil }
	for name, f := range map[string]func(){
		"nil handler":   func() { wshub.Handle[any](&m, "x", nil) },
		"nil reply":     func() { wshub.Reply[any, any](&m, "x", nil) },
		"nil fallback":  func() { m.Fallback(nil) },
		"nil each":      func() { wshub.Each(nil) },
		"taken":         func() { wshub.Handle(&m, "taken", nop) },
		"no event":      func() { wshub.Handle(&m, "", nop) },
		"reserved":      func() { wshub.Reply(&m, "error", ping) },
		"event not UTF": func() { wshub.Handle(&m, "\xff", nop) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	wshub.Handle(&m, "x", nop) // none of them is registered, and the Mux still works
	answers{{"taken", `{"event":"taken"}`, `{"event":"taken","data":"pong"}`}}.run(t, func() *wshub.Mux {
		wshub.Reply(&m, "ping", ping)
		return &m
	}())
}

// Handlers, a fallback and middleware may come while messages are handled.
func TestMuxRegistersWhileServing(t *testing.T) {
	var m wshub.Mux
	h := newHub(t, wshub.WithLogger(nil))
	c := wshubtest.Dial(t, h.Handler(wshub.Each(m.Message)))
	const n = 200
	var wg sync.WaitGroup
	for half := range 2 {
		wg.Go(func() {
			for i := range n {
				wshub.Reply(&m, fmt.Sprint(half*n+i), ping)
				m.Fallback(func(context.Context, *wshub.Session, wshub.Message) error { return wshub.ErrUnknownEvent })
				m.Use(func(next wshub.MessageFunc) wshub.MessageFunc { return next })
			}
		})
	}
	for i := range 2 * n {
		c.SendText(fmt.Sprintf(`{"event":"%d"}`, i))
		c.Next()
	}
	wg.Wait()
	for i := range 2 * n {
		c.SendText(fmt.Sprintf(`{"event":"%d"}`, i))
		c.ExpectText(fmt.Sprintf(`{"event":"%d","data":"pong"}`, i))
	}
}

// Middleware of Use is around all handlers and the fallback, sees the envelope and the errors, and may change both error
// and context.
func TestMuxUse(t *testing.T) {
	type key struct{}
	var m wshub.Mux
	var seen []string
	note := func(name string) wshub.MessageMiddleware {
		return func(next wshub.MessageFunc) wshub.MessageFunc {
			return func(ctx context.Context, s *wshub.Session, msg wshub.Message) error {
				e, _ := wshub.EnvelopeFrom(ctx)
				seen = append(seen, name+" "+e.Event)
				err := next(context.WithValue(ctx, key{}, name), s, msg)
				if err != nil {
					seen = append(seen, name+" "+err.Error())
				}
				return err
			}
		}
	}
	m.Use(note("outer"))
	wshub.Reply(&m, "before", func(ctx context.Context, _ *wshub.Session, n int) (string, error) {
		return fmt.Sprint(ctx.Value(key{}), n), nil
	})
	m.Fallback(func(context.Context, *wshub.Session, wshub.Message) error { return errors.New("fell") })
	m.Use(note("inner"), func(next wshub.MessageFunc) wshub.MessageFunc {
		return func(ctx context.Context, s *wshub.Session, msg wshub.Message) error {
			if e, _ := wshub.EnvelopeFrom(ctx); e.Event == "lost" {
				return next(context.Background(), s, msg)
			}
			return next(ctx, s, msg)
		}
	})
	wshub.Reply(&m, "lost", ping)
	synctest.Test(t, func(t *testing.T) {
		c := dialMux(t, &m)
		c.SendText(`{"event":"before","data":3}`)
		c.ExpectText(`{"event":"before","data":"inner3"}`)
		internal := `{"event":"error","data":{"code":"internal","message":"internal error"}}`
		c.SendText(`{"event":"other"}`)
		c.ExpectText(internal)
		c.SendText(`{"event":"lost"}`)
		c.ExpectText(internal)
		want := "outer before|inner before|outer other|inner other|inner fell|outer fell|outer lost|inner lost|"
		if got := strings.Join(seen, "|"); !strings.HasPrefix(got, want) {
			t.Errorf("seen %q", got)
		}
	})
}
