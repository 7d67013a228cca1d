package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Each takes one message at a time, in order, through its middleware from the outside in, and ends at the first error.
func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		var seen []string
		note := func(name string) wshub.MessageMiddleware {
			return func(next wshub.MessageFunc) wshub.MessageFunc {
				return func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
					seen = append(seen, name+m.Text())
					return next(ctx, s, m)
				}
			}
		}
		stop := errors.New("stop")
		var result error
		c := wshubtest.Dial(t, h.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
			seen = append(seen, "("+m.Text())
			synctest.Wait() // another message would be handled by now
			seen = append(seen, ")")
			if m.Text() == "3" {
				return &wshub.CloseError{Code: 4000, Err: stop}
			}
			return nil
		}, note("outer"), note("inner")), func(next wshub.SessionFunc) wshub.SessionFunc {
			return func(ctx context.Context, s *wshub.Session) error {
				result = next(ctx, s)
				return result
			}
		}))
		for i := range 5 {
			c.SendText(fmt.Sprint(i))
		}
		c.ExpectClose(4000)
		want := "outer0 inner0 (0 ) outer1 inner1 (1 ) outer2 inner2 (2 ) outer3 inner3 (3 )"
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("seen %q, want %q", got, want)
		}
		if !errors.Is(result, stop) {
			t.Errorf("result %v", result)
		}
		c = wshubtest.Dial(t, h.Handler(wshub.Each(func(context.Context, *wshub.Session, wshub.Message) error { return nil })))
		c.SendText("x")
		if got := c.Close(4001, ""); got != 4001 {
			t.Errorf("closed with %d", got)
		}
	})
}
