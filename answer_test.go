package wshub_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// lastWords are frames after which a client is answered with a close frame of the code.
var lastWords = map[int][]byte{
	1000: wshubtest.Frame(true, wshubtest.OpClose, []byte("\x03\xe8bye")),
	1005: wshubtest.Frame(true, wshubtest.OpClose, nil),
	1002: wshubtest.Frame(true, 3, nil),
	1007: wshubtest.Frame(true, wshubtest.OpText, []byte("\xff")),
}

// TestWhatCameBeforeIsAnswered sends messages and the end in one piece: their replies come first.
func TestWhatCameBeforeIsAnswered(t *testing.T) {
	for code, last := range lastWords {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
					for m := range s.Messages() {
						if err := s.Send(context.WithoutCancel(ctx), m); err != nil {
							t.Errorf("reply: %v", err)
						}
					}
					return nil
				}))
				begun := time.Now()
				one := wshubtest.Frame(true, wshubtest.OpText, []byte("x"))
				c.SendRaw(append(slices.Repeat(one, 100), last...))
				for range 100 {
					c.ExpectText("x")
				}
				c.ExpectClose(code)
				if d := time.Since(begun); d > 0 {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

// TestCloseIsAnsweredAtOnce checks that a handler that reads nothing delays no answer, and one that is busy elsewhere by 5 s.
func TestCloseIsAnsweredAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler wshub.SessionFunc
		want    time.Duration
	}{
		{"waits for its context", func(ctx context.Context, s *wshub.Session) error {
			<-ctx.Done()
			return nil
		}, 0},
		{"waits for both", func(ctx context.Context, s *wshub.Session) error {
			select {
			case <-ctx.Done():
			case <-s.Messages():
			}
			return nil
		}, 0},
		{"busy", func(ctx context.Context, s *wshub.Session) error {
			time.Sleep(time.Hour)
			return nil
		}, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				c := wshubtest.Dial(t, h.Handler(tt.handler))
				begun := time.Now()
				if code := c.Close(4321, "bye"); code != 4321 {
					t.Errorf("answered with %d", code)
				}
				if d := time.Since(begun); d != tt.want {
					t.Errorf("answered after %v, want %v", d, tt.want)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}
