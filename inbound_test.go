package wshub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/wshub-go/wshub/wshubtest"
)

// What arrives when a client sends n messages at once to a handler that is busy for a second and then takes all.
func TestInboundOverflow(t *testing.T) {
	ints := func(from, to int) (s []string) {
		for i := from; i < to; i++ {
			s = append(s, fmt.Sprint(i))
		}
		return s
	}
	for _, test := range []struct {
		name      string
		policy    Policy
		send      int
		want      []string
		dropped   uint64
		coalesced uint64
		code      int // 0: still open
	}{
		{name: "default", send: 100, want: ints(0, 100)},
		{name: "block", policy: Block(2, time.Minute), send: 50, want: ints(0, 50)},
		{name: "block too long", policy: Block(2, 500*time.Millisecond), send: 10, want: ints(0, 2), code: 1008},
		{name: "drop oldest", policy: DropOldest(3), send: 10, want: ints(7, 10), dropped: 7},
		{name: "drop newest", policy: DropNewest(3), send: 10, want: ints(0, 3), dropped: 7},
		{name: "evict within grace", policy: Evict(3, 2*time.Second), send: 10, want: ints(0, 10)},
		{name: "evict", policy: Evict(3, 300*time.Millisecond), send: 10, want: ints(0, 3), code: 1008},
		{name: "coalesce", policy: Coalesce(), send: 10, want: ints(9, 10), coalesced: 9},
		{name: "drop oldest by bytes", policy: DropOldest(100).With(MaxBytes(3)), send: 10, want: ints(7, 10), dropped: 7},
		{name: "drop newest by bytes", policy: DropNewest(100).With(MaxBytes(3)), send: 10, want: ints(0, 3), dropped: 7},
		{name: "block by bytes", policy: Block(100, time.Minute).With(MaxBytes(3)), send: 10, want: ints(0, 10)},
		{name: "evict by bytes", policy: Evict(100, 0).With(MaxBytes(3)), send: 10, want: ints(0, 3), code: 1008},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t, WithInbound(test.policy))
				var got []string
				c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
					s.Messages()
					time.Sleep(time.Second)
					for m := range s.Messages() {
						got = append(got, m.Text())
					}
					return nil
				}))
				s := only(t, h)
				for i := range test.send {
					if err := c.TrySend(fmt.Sprint(i)); err != nil && test.code == 0 {
						t.Fatal(err)
					}
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if !slices.Equal(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
				st := h.Stats()
				if st.InboundDropped != test.dropped || st.InboundCoalesced != test.coalesced {
					t.Errorf("%d dropped, %d coalesced, want %d, %d", st.InboundDropped, st.InboundCoalesced, test.dropped, test.coalesced)
				}
				if test.code == 0 {
					c.Close(1000, "")
					return
				}
				c.ExpectClose(test.code)
				<-s.Done()
				if !errors.Is(s.Err(), ErrTooManyMessages) || !errors.Is(s.Err(), ErrLimit) {
					t.Errorf("Err is %v", s.Err())
				}
			})
		})
	}
}

// What a rate of ten a second, burst five, makes of thirty messages at once.
func TestInboundRate(t *testing.T) {
	tenEach := Rate(10, 5)
	for _, test := range []struct {
		name    string
		policy  Policy
		got     int           // messages, -1: any number
		took    time.Duration // until the last
		dropped uint64
		code    int
	}{
		{name: "block delays", policy: tenEach, got: 30, took: 2500 * time.Millisecond},
		{name: "coalesce delays", policy: tenEach.With(Coalesce()), got: -1, took: 2500 * time.Millisecond},
		{name: "drop drops", policy: tenEach.With(DropNewest(16)), got: 5, dropped: 25},
		{name: "evict closes", policy: tenEach.With(Evict(16, time.Minute)), got: 5, code: 1008},
		{name: "bytes delay", policy: RateBytes(100, 50), got: 30, took: 2500 * time.Millisecond},
		{name: "bytes drop", policy: RateBytes(100, 50).With(DropNewest(16)), got: 5, dropped: 25},
		{name: "no rate", policy: tenEach.With(Rate(rate.Inf, 0)), got: 30},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t, WithInbound(test.policy))
				start := time.Now()
				got, last := 0, time.Duration(0)
				c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
					for range s.Messages() {
						got++
						last = time.Since(start)
					}
					return nil
				}))
				for range 30 {
					if err := c.TrySend(strings.Repeat("x", 10)); err != nil && test.code == 0 {
						t.Fatal(err)
					}
				}
				time.Sleep(4 * time.Second)
				synctest.Wait()
				if test.got >= 0 && got != test.got || last.Round(time.Millisecond) != test.took {
					t.Errorf("%d messages in %v, want %d in %v", got, last, test.got, test.took)
				}
				if n := h.Stats().InboundDropped; n != test.dropped {
					t.Errorf("%d dropped, want %d", n, test.dropped)
				}
				if test.code != 0 {
					c.ExpectClose(test.code)
				}
			})
		})
	}
}

// A close from our side ends a reader that waits, for room or for the rate.
func TestInboundPauseEndsWithTheSession(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy Policy
	}{
		{"room", Block(1, forever)},
		{"bytes", Block(16, forever).With(MaxBytes(1))},
		{"rate", Rate(0.001, 1)},
		{"grace", Evict(1, time.Hour)},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t, WithInbound(test.policy))
				c := wshubtest.Dial(t, h.Handler(waiting))
				s := only(t, h)
				for range 5 {
					c.SendText("x")
				}
				synctest.Wait()
				start := time.Now()
				s.Close(1000, "")
				c.ExpectClose(1000)
				<-s.Done()
				if d := time.Since(start); d > time.Second {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

// A message that came into Messages after CloseRead had emptied it closes the session.
func TestDeliveredAfterCloseRead(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		wshubtest.Dial(t, h.Handler(waiting))
		s := only(t, h)
		s.CloseRead()
		ch, _ := s.inbox()
		r, m := reader{s: s, rule: &h.inbound}, Text("late")
		ch <- m
		if r.delivered(&m) || !errors.Is(s.Err(), ErrUnexpectedMessage) || len(ch) != 0 {
			t.Errorf("Err is %v, %d wait", s.Err(), len(ch))
		}
	})
}
