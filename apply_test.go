package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
)

// wantBalanced fails unless the account adds up.
func wantBalanced(t *testing.T, a wshub.Tally) {
	t.Helper()
	if a.Offered != a.Sent+a.Coalesced+a.Dropped+a.Filtered+a.Evicted+a.Undelivered+a.Pending {
		t.Errorf("the account does not add up: %+v", a)
	}
}

// Ten values come at once, five of them of each key, while nobody reads; then in closes, and somebody reads. The first
// value is on offer when the others come.
func TestApplyPolicies(t *testing.T) {
	const ms = time.Millisecond
	keyed := []wshub.TopicOption[price]{wshub.KeyBy(price.key)}
	for _, c := range []struct {
		p    wshub.Policy
		opts []wshub.TopicOption[price]
		want string // values and the milliseconds at which they came
		stat wshub.Tally
		err  error
	}{
		{p: wshub.Policy{}, want: "0@0 1@0 2@0 3@0 4@0 5@0 6@0 7@0 8@0 9@0", stat: wshub.Tally{Sent: 10}},
		{p: wshub.Evict(3, time.Hour), want: "0@0 1@0 2@0 3@0 4@0 5@0 6@0 7@0 8@0 9@0", stat: wshub.Tally{Sent: 10}},
		{p: wshub.Evict(10, 0), want: "0@0 1@0 2@0 3@0 4@0 5@0 6@0 7@0 8@0 9@0", stat: wshub.Tally{Sent: 10}},
		{p: wshub.Evict(9, 0), want: "", stat: wshub.Tally{Evicted: 10}, err: wshub.ErrSlow},
		{p: wshub.DropOldest(3), want: "0@0 7@0 8@0 9@0", stat: wshub.Tally{Sent: 4, Dropped: 6}},
		{p: wshub.DropNewest(3), want: "0@0 1@0 2@0", stat: wshub.Tally{Sent: 3, Dropped: 7}},
		{p: wshub.Compose(wshub.DropOldest(100), wshub.MaxBytes(1)), want: "0@0 9@0", stat: wshub.Tally{Sent: 2, Dropped: 8}},
		{p: wshub.Coalesce(), want: "0@0 9@0", stat: wshub.Tally{Sent: 2, Coalesced: 8}},
		{p: wshub.Coalesce(), opts: keyed, want: "0@0 9@0 8@0", stat: wshub.Tally{Sent: 3, Coalesced: 7}},
		{p: wshub.Compose(wshub.Coalesce(), wshub.KeepAll(), wshub.DropOldest(1)), opts: keyed, want: "0@0 9@0", stat: wshub.Tally{Sent: 2, Dropped: 8}},
		{p: wshub.Compose(wshub.DropNewest(3), wshub.Rate(10, 1)), want: "0@0 1@100 2@200", stat: wshub.Tally{Sent: 3, Dropped: 7}},
		{p: wshub.Compose(wshub.DropNewest(3), wshub.Rate(10, 2)), want: "0@0 1@0 2@100", stat: wshub.Tally{Sent: 3, Dropped: 7}},
		{p: wshub.Compose(wshub.Coalesce(), wshub.Rate(10, 1)), opts: keyed, want: "0@0 9@100 8@200", stat: wshub.Tally{Sent: 3, Coalesced: 7}},
		{p: wshub.Compose(wshub.DropOldest(9), wshub.FlushEvery(70*ms)), want: "1@70 2@70 3@70 4@70 5@70 6@70 7@70 8@70 9@70", stat: wshub.Tally{Sent: 9, Dropped: 1}},
		{p: wshub.Compose(wshub.Coalesce(), wshub.FlushEvery(70*ms)), opts: keyed, want: "8@70 9@70", stat: wshub.Tally{Sent: 2, Coalesced: 8}},
	} {
		t.Run(fmt.Sprint(c.p, len(c.opts)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := make(chan price)
				start := time.Now()
				s := wshub.Apply(t.Context(), in, c.p, c.opts...)
				for i := range 10 {
					in <- price{string(rune('A' + i%2)), i}
					synctest.Wait()
				}
				close(in)
				synctest.Wait()
				var got []string
				for v := range s.C() {
					got = append(got, fmt.Sprintf("%d@%d", v.Value, time.Since(start).Round(ms).Milliseconds()))
				}
				if text := strings.Join(got, " "); text != c.want {
					t.Errorf("got  %s\nwant %s", text, c.want)
				}
				c.stat.Offered = 10
				if a := s.Stats(); a != c.stat {
					t.Errorf("account %+v", a)
				}
				if err := s.Err(); !errors.Is(err, c.err) {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

func TestApplyBlockMakesInWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := make(chan int)
		s := wshub.Apply(t.Context(), in, wshub.Block(3, time.Hour))
		taken := 0
		stop := make(chan struct{})
		go func() {
			defer close(in)
			for i := range 10 {
				select {
				case in <- i:
					taken++
				case <-stop:
					return
				}
			}
		}()
		synctest.Wait()
		if taken != 4 { // three pending and one that waits to be
			t.Errorf("%d were taken", taken)
		}
		wantSeq(t, wshub.From(t.Context(), s.C()), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		if a := s.Stats(); a != (wshub.Tally{Offered: 10, Sent: 10}) || s.Err() != nil {
			t.Errorf("account %+v, %v", a, s.Err())
		}
	})
}

// A reader that takes longer than Block allows is given up, and in is not kept waiting any more.
func TestApplyBlockGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := make(chan int, 10)
		s := wshub.Apply(t.Context(), in, wshub.Block(1, time.Second))
		in <- 1
		in <- 2
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if _, ok := <-s.C(); ok || !errors.Is(s.Err(), wshub.ErrSlow) {
			t.Errorf("open: %v, %v", ok, s.Err())
		}
		a := s.Stats()
		wantBalanced(t, a)
		if a.Evicted != 1 || a.Pending != 0 {
			t.Errorf("account %+v", a)
		}
	})
}

func TestApplyRateOfBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := make(chan string, 3)
		text := strings.Repeat("x", 1000)
		for range 3 {
			in <- text
		}
		close(in)
		start := time.Now()
		s := wshub.Apply(t.Context(), in, wshub.Compose(wshub.DropOldest(10), wshub.RateBytes(1000, 1000)))
		n := 0
		for range s.C() {
			n++
		}
		if took := time.Since(start); n != 3 || took < 1900*time.Millisecond || took > 2200*time.Millisecond {
			t.Errorf("%d values in %v", n, took)
		}
	})
}

func TestApplyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		p     wshub.Policy
		opts  []wshub.TopicOption[int]
		names string
		err   error
	}{
		"PackText":  {wshub.PackText(","), nil, `packtext(",") on Apply`, wshub.ErrPolicy},
		"History":   {wshub.History(5, time.Hour), nil, "history(5,1h0m0s) on Apply", wshub.ErrPolicy},
		"Replay":    {wshub.Replay(5), nil, "replay(5) on Apply", wshub.ErrPolicy},
		"DropNone":  {wshub.DropOldest(0), nil, "dropoldest(0) on Apply", wshub.ErrPolicy},
		"Pacing":    {wshub.FlushEvery(time.Second), nil, "flushevery(1s) with inherited evict", wshub.ErrPolicy},
		"KeyBy":     {wshub.Policy{}, []wshub.TopicOption[int]{wshub.KeyBy[int, int](nil)}, "KeyBy(nil)", nil},
		"WithCodec": {wshub.Policy{}, []wshub.TopicOption[int]{wshub.WithCodec(decimal{})}, "nothing is encoded", nil},
		"AsEvent":   {wshub.Policy{}, []wshub.TopicOption[int]{wshub.AsEvent[int]("e")}, "nothing is encoded", nil},
	} {
		t.Run(name, func(t *testing.T) {
			in := make(chan int, 1)
			in <- 1
			s := wshub.Apply(t.Context(), in, c.p, c.opts...)
			if _, ok := <-s.C(); ok || len(in) != 1 {
				t.Error("something was received")
			}
			err := s.Err()
			if err == nil || !strings.Contains(err.Error(), c.names) || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("ended with %v", err)
			}
			s.Close()
			if s.Stats() != (wshub.Tally{}) || s.Lag() != 0 {
				t.Errorf("account %+v", s.Stats())
			}
		})
	}
}

type decimal struct{}

func (decimal) Append(dst []byte, v int) ([]byte, wshub.Kind, error) {
	return fmt.Append(dst, v), wshub.KindText, nil
}

// A key that cannot be one, or cannot be told, ends the stream: there is no publisher who could be.
func TestApplyKeys(t *testing.T) {
	for _, c := range []struct {
		name string
		key  func(float64) float64
		err  error
	}{
		{"NaN", func(v float64) float64 { return (v - 1) / (v - 1) }, wshub.ErrKey},
		{"panic", func(v float64) float64 {
			if v == 1 {
				panic("no key")
			}
			return v
		}, wshub.ErrPanic},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := make(chan float64, 3)
				in <- 2
				in <- 1
				in <- 3
				s := wshub.Apply(t.Context(), in, wshub.Coalesce(), wshub.KeyBy(c.key))
				synctest.Wait()
				if err := s.Err(); !errors.Is(err, c.err) {
					t.Errorf("ended with %v", err)
				}
				if _, ok := <-s.C(); ok || len(in) != 1 {
					t.Errorf("open: %v, %d values left", ok, len(in))
				}
			})
		})
	}
}

// Whatever it is doing, ctx ends it with its cause; no goroutine is left, or the bubble fails.
func TestApplyEndsWithItsContext(t *testing.T) {
	why := errors.New("why")
	for _, p := range []wshub.Policy{{}, wshub.Block(1, time.Hour), wshub.DropOldest(1), wshub.Compose(wshub.Coalesce(), wshub.Rate(1, 1))} {
		for _, n := range []int{0, 1, 4} {
			t.Run(fmt.Sprint(p, n), func(t *testing.T) {
				for range 20 {
					synctest.Test(t, func(t *testing.T) {
						ctx, cancel := context.WithCancelCause(t.Context())
						in := make(chan int, 4)
						s := wshub.Apply(ctx, in, p)
						for i := range n {
							in <- i
						}
						if rand.IntN(2) == 0 {
							synctest.Wait()
						}
						cancel(why)
						synctest.Wait()
						if _, ok := <-s.C(); ok || s.Err() != why {
							t.Errorf("open: %v, %v", ok, s.Err())
						}
						wantBalanced(t, s.Stats())
						if a := s.Stats(); a.Pending != 0 {
							t.Errorf("account %+v", a)
						}
					})
				}
			})
		}
	}
}

func TestApplyEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := make(chan int, 8)
		s := wshub.Apply(context.Background(), in, wshub.Policy{})
		in <- 1
		in <- 2
		synctest.Wait()
		if s.Lag() != 2 {
			t.Errorf("lag %d", s.Lag())
		}
		s.Close()
		s.Close()
		synctest.Wait()
		in <- 3
		synctest.Wait()
		if _, ok := <-s.C(); ok || s.Err() != nil || len(in) != 1 {
			t.Errorf("open: %v, %v, %d values left", ok, s.Err(), len(in))
		}
		if a := s.Stats(); a != (wshub.Tally{Offered: 2, Undelivered: 2}) {
			t.Errorf("account %+v", a)
		}
	})
}

// Random senders and readers under each policy: the account tells exactly what was sent, what comes is in order, and the
// last value of each key comes where the policy promises it.
func TestApplyAccounts(t *testing.T) {
	for _, p := range []wshub.Policy{
		wshub.Evict(10_000, time.Hour), wshub.Block(3, time.Hour), wshub.DropOldest(3), wshub.DropNewest(3), wshub.Coalesce(),
		wshub.Compose(wshub.Coalesce(), wshub.Rate(500, 3)), wshub.Compose(wshub.Coalesce(), wshub.FlushEvery(20*time.Millisecond)),
		wshub.Compose(wshub.DropOldest(5), wshub.Rate(300, 2)),
	} {
		t.Run(p.String(), func(t *testing.T) {
			for range 5 {
				synctest.Test(t, func(t *testing.T) {
					const n = 500
					in := make(chan price, rand.IntN(3))
					s := wshub.Apply(t.Context(), in, p, wshub.KeyBy(price.key))
					last := map[string]int{}
					go func() {
						defer close(in)
						for i := range n {
							v := price{fmt.Sprint(rand.IntN(5)), i}
							last[v.Symbol] = i
							in <- v
							if rand.IntN(4) == 0 {
								time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
							}
						}
					}()
					var got []int
					seen := map[string]int{}
					for v := range s.C() {
						if before, ok := seen[v.Symbol]; ok && before >= v.Value {
							t.Fatalf("%d after %d of one key", v.Value, before)
						}
						seen[v.Symbol] = v.Value
						got = append(got, v.Value)
						if rand.IntN(4) == 0 {
							time.Sleep(time.Duration(rand.IntN(16)) * time.Millisecond)
						}
					}
					a := s.Stats()
					wantBalanced(t, a)
					if a.Offered != n || a.Sent != uint64(len(got)) || a.Pending != 0 || a.Undelivered != 0 || s.Err() != nil {
						t.Errorf("%d came, account %+v, %v", len(got), a, s.Err())
					}
					text := p.String()
					switch {
					case strings.Contains(text, "coalesce"):
						for k, v := range last {
							if seen[k] != v {
								t.Errorf("last of %s is %d, not %d", k, seen[k], v)
							}
						}
					case !slices.IsSorted(got):
						t.Error("out of order")
					case !strings.Contains(text, "drop") && len(got) != n:
						t.Errorf("%d of %d", len(got), n)
					}
				})
			}
		})
	}
}
