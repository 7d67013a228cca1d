package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// contiguous fails unless the values are a run that ends before end.
func contiguous(t *testing.T, what string, got []int, end int) {
	t.Helper()
	for i, v := range got {
		if want := end - len(got) + i; v != want {
			t.Errorf("%s: value %d of %d is %d, want %d", what, i, len(got), v, want)
			return
		}
	}
}

// numbers returns what a client has received, which are numbers.
func numbers(t *testing.T, c *wshubtest.Client) (got []int) {
	t.Helper()
	for _, m := range c.Take() {
		v, err := strconv.Atoi(strings.TrimSpace(string(m.Data)))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
	}
	return got
}

// What is sent one after the other arrives so, from topics, to everyone, to a user and directly, whether the connection
// takes it at once, stalls in the midst of a frame, or has just begun to take again.
func TestPitfall17OrderThroughStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3000
		rng := rand.New(rand.NewPCG(1, 2))
		h := newHub(t, wshub.WithPolicy(wshub.Evict(n, time.Hour).With(wshub.MaxBytes(1<<30))))
		a, b := newTopic[string](t, h, "a", wshub.Policy{}), newTopic[string](t, h, "b", wshub.Policy{})
		ss, cc := sessions(t, h, 1, wshubtest.WithBuffer(50))
		if err := ss[0].SetUser("ann"); err != nil {
			t.Fatal(err)
		}
		join(t, a, ss...)
		join(t, b, ss...)
		stream := a.Subscribe(t.Context())
		var streamed []int
		read := make(chan struct{})
		go func() {
			defer close(read)
			for v := range stream.C() {
				time.Sleep(time.Duration(len(streamed)%3) * time.Microsecond)
				streamed = append(streamed, mustInt(t, v))
			}
		}()
		done := make(chan struct{})
		go func() { // ends with the test's publishing
			for i := 0; ; i++ {
				if i%2 == 0 {
					cc[0].Stall()
				} else {
					cc[0].Resume()
				}
				select {
				case <-time.After(time.Duration(1+i%5) * time.Millisecond):
				case <-done:
					cc[0].Resume()
					return
				}
			}
		}()
		var ofA []int
		for i := range n {
			text := fmt.Sprintf("%*d", 1+rng.IntN(40), i)
			var err error
			switch rng.IntN(5) {
			case 0:
				ofA = append(ofA, i)
				err = a.Publish(t.Context(), text)
			case 1:
				err = b.Publish(t.Context(), text)
			case 2:
				err = h.Everyone().Send(t.Context(), wshub.Text(text))
			case 3:
				err = h.User("ann").Send(t.Context(), wshub.Text(text))
			case 4:
				err = ss[0].Send(t.Context(), wshub.Text(text))
			}
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(4) == 0 {
				time.Sleep(time.Duration(rng.IntN(100)) * time.Microsecond)
			}
		}
		close(done)
		synctest.Wait()
		time.Sleep(time.Second) // the stream's reader
		stream.Close()
		<-read
		got := numbers(t, cc[0])
		if len(got) != n {
			t.Errorf("%d of %d came", len(got), n)
		}
		contiguous(t, "client", got, n)
		if fmt.Sprint(streamed) != fmt.Sprint(ofA) {
			t.Errorf("the stream had %d values, of %d, or in another order", len(streamed), len(ofA))
		}
	})
}

func mustInt(t *testing.T, text string) int {
	t.Helper()
	v, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Error(err)
	}
	return v
}

// Messages are handled in the order in which they came, one at a time, also by an Each that is relieved of reading
// whenever a message takes long.
func TestPitfall17MessagesKeepTheirOrder(t *testing.T) {
	const n = 200
	for name, serve := range map[string]func(handle func(string)) wshub.SessionFunc{
		"Each": func(handle func(string)) wshub.SessionFunc {
			return wshub.Each(func(_ context.Context, _ *wshub.Session, m wshub.Message) error {
				handle(m.Text())
				return nil
			})
		},
		"Messages": func(handle func(string)) wshub.SessionFunc {
			return func(_ context.Context, s *wshub.Session) error {
				for m := range s.Messages() {
					handle(m.Text())
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []int
				running := 0
				h := newHub(t)
				c := wshubtest.Dial(t, h.Handler(serve(func(text string) {
					if running++; running > 1 {
						t.Error("two at once")
					}
					got = append(got, mustInt(t, text))
					if i := len(got); i%3 == 0 {
						time.Sleep(time.Duration(i%7) * 20 * time.Millisecond) // some are longer than Each reads alone
					}
					running--
				})), wshubtest.WithTimeout(time.Hour))
				for i := range n {
					c.SendText(strconv.Itoa(i))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(got) != n {
					t.Errorf("%d of %d were handled", len(got), n)
				}
				contiguous(t, "handler", got, n)
			})
		})
	}
}

// Sessions and streams join with a replay while values are published, some with clients that stall before, so that the
// history is still pending when live values come: what each gets is one run without a gap, a repeat or a swap.
func TestPitfall17HistoryFlowsIntoLive(t *testing.T) {
	const joins, each, history = 30, 40, 10 // sessions, and the streams and the values beside each
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[int](t, h, "numbers", wshub.History(history, 0).With(wshub.Evict(joins*each, time.Hour)))
		view := topic.With(wshub.Replay(history / 2))
		ss, cc := sessions(t, h, joins, wshubtest.WithBuffer(30))
		n := 0
		for i, s := range ss {
			if i%3 == 0 {
				cc[i].Stall()
			}
			var wg sync.WaitGroup
			if i > 0 { // the first join finds no history
				wg.Go(func() {
					for range each {
						publish(t, topic, n)
						n++
					}
				})
			}
			join(t, view, s)
			streams := make([]*wshub.Stream[int], each)
			for j := range streams {
				streams[j] = view.Subscribe(t.Context())
			}
			wg.Wait()
			for j, stream := range streams {
				var got []int
				for i > 0 && (len(got) == 0 || got[len(got)-1] < n-1) {
					got = append(got, <-stream.C())
				}
				contiguous(t, fmt.Sprint("stream ", i, ".", j), got, n)
				stream.Close()
			}
		}
		for i := range joins {
			publish(t, topic, n)
			n++
			if i%5 == 0 {
				synctest.Wait()
			}
		}
		for i, c := range cc {
			c.Resume()
			synctest.Wait()
			got := numbers(t, c)
			contiguous(t, fmt.Sprint("client ", i), got, n)
			// Whatever was published after its turn was for it, and before that half of the history.
			if least := joins + (joins-1-i)*each; i > 1 && len(got) < least+history/2 {
				t.Errorf("client %d got %d values, want at least %d", i, len(got), least+history/2)
			}
		}
	})
}

// One client of a thousand stalls, for good or until its policy has it evicted: all others get each value in the
// instant in which it was published, and nobody waits to publish.
func TestPitfall18StalledClientDelaysNobody(t *testing.T) {
	const n, values = 1000, 15
	for _, p := range []wshub.Policy{{}, wshub.MaxBytes(1)} {
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				topic := newTopic[string](t, h, "times", wshub.Policy{})
				var mu sync.Mutex
				came, late := 0, time.Duration(0)
				ss, _ := sessions(t, h, n-1, wshubtest.WithOnMessage(func(m wshubtest.Message) {
					text, _, _ := strings.Cut(string(m.Data), " ")
					at, err := strconv.ParseInt(text, 10, 64)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					came++
					late = max(late, time.Since(time.Unix(0, at)))
				}))
				slow, stalled := sessions(t, h, 1, wshubtest.WithBuffer(100))
				stalled[0].Stall()
				join(t, topic, ss[:n/2]...)
				join(t, topic.With(p), slow...) // in the midst of them
				join(t, topic, ss[n/2:]...)
				start := time.Now()
				for i := range values {
					publish(t, topic, fmt.Sprint(time.Now().UnixNano(), " ", strings.Repeat("x", 100)))
					if d := time.Since(start); d != time.Duration(i)*20*time.Millisecond {
						t.Fatalf("publishing has waited: %v at value %d", d, i)
					}
					time.Sleep(20 * time.Millisecond)
				}
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if came != values*(n-1) || late != 0 {
					t.Errorf("%d of %d came, up to %v late", came, values*(n-1), late)
				}
				if got := stalled[0].Received().Text; got > 0 {
					t.Errorf("%d came to the stalled client", got)
				}
				if evicted := p == wshub.MaxBytes(1); errors.Is(slow[0].Err(), wshub.ErrSlow) != evicted {
					t.Errorf("the stalled session: %v", slow[0].Err())
				}
			})
		})
	}
}
