package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// goroutines returns how many goroutines serve sessions.
func goroutines() (n int) {
	buf := make([]byte, 1<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "wshub.(*Session).run(") || strings.Contains(g, "wshub.(*Session).read(") {
			n++
		}
	}
	return n
}

func pass(next wshub.SessionFunc) wshub.SessionFunc {
	return func(ctx context.Context, s *wshub.Session) error { return next(ctx, s) }
}

// A session that Each serves has one goroutine, also in middleware, before and after it has handled messages; another
// has two, and so has one whose messages a policy queues.
func TestEachIsOneGoroutine(t *testing.T) {
	echo := wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error { return s.Send(ctx, m) })
	ranging := func(ctx context.Context, s *wshub.Session) error {
		for m := range s.Messages() {
			if err := s.Send(ctx, m); err != nil {
				return err
			}
		}
		return nil
	}
	for _, tc := range []struct {
		name string
		fn   wshub.SessionFunc
		opts []wshub.Option
		want int
	}{
		{"each", echo, nil, 1},
		{"each, rate", echo, []wshub.Option{wshub.WithInbound(wshub.Rate(100, 100))}, 1},
		{"each, dropping", echo, []wshub.Option{wshub.WithInbound(wshub.DropOldest(4))}, 2},
		{"each, coalescing", echo, []wshub.Option{wshub.WithInbound(wshub.Coalesce())}, 2},
		{"each, patience", echo, []wshub.Option{wshub.WithInbound(wshub.Block(4, time.Second))}, 2},
		{"ranging", ranging, nil, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, append(tc.opts, wshub.WithKeepAlive(0, 0))...)
				c := wshubtest.Dial(t, h.Handler(tc.fn, pass, wshub.Recover()))
				synctest.Wait()
				before := goroutines()
				for i := range 10 {
					c.SendText(fmt.Sprint(i))
					c.ExpectText(fmt.Sprint(i))
					time.Sleep(time.Minute)
				}
				if after := goroutines(); before != tc.want || after != tc.want {
					t.Errorf("%d goroutines, and %d after messages; want %d", before, after, tc.want)
				}
			})
		})
	}
}

// Whoever reads, each message is handled once and in order, however long each takes.
func TestEachRelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		var got []string
		done := make(chan struct{})
		c := wshubtest.Dial(t, h.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
			if got = append(got, m.Text()); len(got)%5 == 0 {
				time.Sleep(time.Duration(len(got)) * 3 * time.Millisecond)
			}
			if len(got) == 100 {
				close(done)
			}
			return nil
		})))
		var want []string
		for i := range 100 {
			want = append(want, fmt.Sprint(i))
			c.SendText(want[i])
			time.Sleep(time.Duration(i%7) * time.Millisecond)
		}
		<-done
		if !slices.Equal(got, want) {
			t.Errorf("handled %q", got)
		}
	})
}

// A client that pings, or goes, while a message is handled is noticed; the function's context outlives it by 5 s.
func TestEachBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		ended := make(chan time.Time, 1)
		c := wshubtest.Dial(t, h.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
			<-ctx.Done()
			ended <- time.Now()
			return ctx.Err()
		})))
		c.SendText("wait")
		time.Sleep(time.Second)
		c.Ping("there?")
		c.ExpectPong("there?")
		gone := time.Now()
		c.Abort()
		if d := (<-ended).Sub(gone); d < 5*time.Second || d > 6*time.Second {
			t.Errorf("the context ended %v after the client", d)
		}
	})
}

// What the last message asks for is done although the client has closed, and the context lives for it.
func TestEachFinishesTheLast(t *testing.T) {
	for _, busy := range []time.Duration{0, 10 * time.Millisecond, time.Second} {
		t.Run(busy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				results := make(chan error, 3)
				c := wshubtest.Dial(t, h.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
					time.Sleep(busy)
					results <- ctx.Err()
					return nil
				})))
				for range 3 {
					c.SendText("do it")
				}
				if code := c.Close(1000, ""); code != 1000 {
					t.Errorf("answered with %d", code)
				}
				for range 3 {
					if err := <-results; err != nil {
						t.Errorf("the context: %v", err)
					}
				}
			})
		})
	}
}

// However a session that Each serves comes to its end, it does so as any other.
func TestEachEnds(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(h *wshub.Hub, s *wshub.Session)
		code int
	}{
		{"kick", func(h *wshub.Hub, s *wshub.Session) { h.To(s.ID()).Close(context.Background(), 4001, "out") }, 4001},
		{"close", func(h *wshub.Hub, s *wshub.Session) { s.Close(1000, "bye") }, 1000},
		{"shutdown", func(h *wshub.Hub, s *wshub.Session) { go h.Shutdown(context.Background()) }, 1001},
	} {
		for _, busy := range []string{"", "busy", "busy for long"} {
			t.Run(tc.name+" "+busy, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHub(t)
					arrived, cause := make(chan *wshub.Session, 1), make(chan error, 1)
					c := wshubtest.Dial(t, h.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
						arrived <- s
						if m.Text() != "" {
							<-ctx.Done()
						}
						return nil
					}), func(next wshub.SessionFunc) wshub.SessionFunc {
						return func(ctx context.Context, s *wshub.Session) error {
							err := next(ctx, s)
							<-ctx.Done()
							cause <- context.Cause(ctx)
							return err
						}
					}))
					c.SendText(busy)
					s := <-arrived
					synctest.Wait()
					if busy == "busy for long" {
						time.Sleep(time.Minute)
					}
					tc.end(h, s)
					c.ExpectClose(tc.code)
					<-s.Done()
					var closed *wshub.CloseError
					if err := <-cause; !errors.As(err, &closed) || int(closed.Code) != tc.code {
						t.Errorf("the context's cause: %v", err)
					}
				})
			})
		}
	}
}

// Middleware that does something else first delays nobody but its own messages.
func TestEachBegunLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		begin := make(chan struct{})
		late := func(next wshub.SessionFunc) wshub.SessionFunc {
			return func(ctx context.Context, s *wshub.Session) error {
				<-begin
				return next(ctx, s)
			}
		}
		c := wshubtest.Dial(t, h.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
			return s.Send(ctx, m)
		}), late))
		c.SendText("one")
		c.SendText("two")
		c.Ping("there?")
		c.ExpectPong("there?")
		close(begin)
		c.ExpectText("one")
		c.ExpectText("two")
	})
}

// CloseRead and Messages within Each are what they are elsewhere.
func TestEachAndMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
			if m.Text() == "stop" {
				s.CloseRead()
				return nil
			}
			next := <-s.Messages() // takes the one after it
			return s.Send(ctx, wshub.Text(m.Text()+next.Text()))
		})))
		c.SendText("a")
		c.SendText("b")
		c.ExpectText("ab")
		c.SendText("stop")
		synctest.Wait()
		c.SendText("more")
		c.ExpectClose(1008)
	})
}
