package wshub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// reading is what a stream's reader does at a time.
type reading struct {
	at   time.Duration
	want []int // all that is there then
}

// TestPolicyOnStream tells for each part what a reader finds that was away while 1 to 10 were published at time 0. The
// value a stream waits with at its channel, here 1, is beyond any policy, as a frame begun is.
func TestPolicyOnStream(t *testing.T) {
	const ms = time.Millisecond
	all := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	mod3 := func(v int) int { return v % 3 }
	for _, tt := range []struct {
		policy   wshub.Policy
		key      bool
		where    func(int) bool
		readings []reading
		err      error // why the stream has ended at the last reading
		want     wshub.Tally
	}{
		{policy: wshub.Policy{}, readings: []reading{{0, all}}, want: wshub.Tally{Offered: 10, Sent: 10}},
		{policy: wshub.Evict(9, 250*ms), readings: []reading{{249 * ms, all}}, want: wshub.Tally{Offered: 10, Sent: 10}},
		{policy: wshub.Evict(9, 250*ms), readings: []reading{{250 * ms, nil}}, err: wshub.ErrSlow,
			want: wshub.Tally{Offered: 10, Evicted: 10}},
		{policy: wshub.Evict(10, 250*ms), readings: []reading{{time.Hour, all}}, want: wshub.Tally{Offered: 10, Sent: 10}},
		{policy: wshub.DropOldest(3), readings: []reading{{time.Hour, []int{1, 8, 9, 10}}},
			want: wshub.Tally{Offered: 10, Sent: 4, Dropped: 6}},
		{policy: wshub.DropOldest(3), where: func(v int) bool { return v%2 == 0 },
			readings: []reading{{0, []int{2, 8, 10}}}, want: wshub.Tally{Offered: 10, Sent: 3, Dropped: 2, Filtered: 5}},
		{policy: wshub.DropNewest(3), readings: []reading{{time.Hour, []int{1, 2, 3}}},
			want: wshub.Tally{Offered: 10, Sent: 3, Dropped: 7}},
		{policy: wshub.DropOldest(100).With(wshub.MaxBytes(16)), readings: []reading{{0, []int{1, 9, 10}}},
			want: wshub.Tally{Offered: 10, Sent: 3, Dropped: 7}},
		{policy: wshub.DropOldest(100).With(wshub.MaxBytes(1)), readings: []reading{{0, []int{1, 10}}},
			want: wshub.Tally{Offered: 10, Sent: 2, Dropped: 8}},
		{policy: wshub.Coalesce(), readings: []reading{{time.Hour, []int{1, 10}}},
			want: wshub.Tally{Offered: 10, Sent: 2, Coalesced: 8}},
		{policy: wshub.Coalesce(), key: true, readings: []reading{{time.Hour, []int{1, 8, 9, 10}}},
			want: wshub.Tally{Offered: 10, Sent: 4, Coalesced: 6}},
		{policy: wshub.Coalesce(), key: true, where: func(v int) bool { return v < 9 },
			readings: []reading{{0, []int{1, 8, 6, 7}}}, want: wshub.Tally{Offered: 10, Sent: 4, Coalesced: 4, Filtered: 2}},
		{policy: wshub.Compose(wshub.Coalesce(), wshub.KeepAll()), readings: []reading{{0, all}},
			want: wshub.Tally{Offered: 10, Sent: 10}},
		{policy: wshub.Rate(10, 2).With(wshub.DropOldest(3)), readings: []reading{
			{0, []int{1, 8}}, {99 * ms, nil}, {100 * ms, []int{9}}, {200 * ms, []int{10}}, {time.Hour, nil}},
			want: wshub.Tally{Offered: 10, Sent: 4, Dropped: 6}},
		{policy: wshub.Rate(10, 1).With(wshub.Coalesce()), key: true, readings: []reading{
			{0, []int{1}}, {100 * ms, []int{8}}, {200 * ms, []int{9}}, {300 * ms, []int{10}}, {time.Hour, nil}},
			want: wshub.Tally{Offered: 10, Sent: 4, Coalesced: 6}},
		{policy: wshub.RateBytes(80, 16).With(wshub.DropNewest(100)), readings: []reading{
			{0, []int{1, 2}}, {99 * ms, nil}, {100 * ms, []int{3}}, {400 * ms, []int{4, 5, 6}}, {time.Hour, []int{7, 8, 9}},
			{time.Hour + 100*ms, []int{10}}},
			want: wshub.Tally{Offered: 10, Sent: 10}},
		{policy: wshub.FlushEvery(50 * ms).With(wshub.DropOldest(100)), readings: []reading{
			{49 * ms, nil}, {50 * ms, all}}, want: wshub.Tally{Offered: 10, Sent: 10}},
		{policy: wshub.FlushEvery(50 * ms).With(wshub.Coalesce()), readings: []reading{
			{49 * ms, nil}, {50 * ms, []int{10}}}, want: wshub.Tally{Offered: 10, Sent: 1, Coalesced: 9}},
	} {
		t.Run(fmt.Sprintf("%v at %v", tt.policy, tt.readings[0].at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				var opts []wshub.TopicOption[int]
				if tt.key {
					opts = append(opts, wshub.KeyBy(mod3))
				}
				topic := newTopic(t, h, "numbers", wshub.Policy{}, opts...)
				start := time.Now()
				s := topic.With(tt.policy).Where(tt.where).Subscribe(t.Context())
				publish(t, topic, all[0])
				synctest.Wait() // it is offered before the others come
				publish(t, topic, all[1:]...)
				synctest.Wait()
				for _, r := range tt.readings {
					time.Sleep(r.at - time.Since(start))
					if got := take(s.C()); !slices.Equal(got, r.want) {
						t.Errorf("at %v: %v, want %v", r.at, got, r.want)
					}
				}
				if _, open := tryReceive(s.C()); open != (tt.err == nil) || !errors.Is(s.Err(), tt.err) {
					t.Errorf("open %v, %v, want %v", open, s.Err(), tt.err)
				}
				if got := s.Stats(); got != tt.want {
					t.Errorf("account %+v, want %+v", got, tt.want)
				}
				s.Close()
				synctest.Wait()
				if got := topic.Stats(); got != tt.want {
					t.Errorf("account of the topic %+v, want %+v", got, tt.want)
				}
			})
		})
	}
}

// take reads all that comes without time passing.
func take(ch <-chan int) (got []int) {
	for {
		synctest.Wait()
		v, ok := tryReceive(ch)
		if !ok || v == 0 {
			return got
		}
		got = append(got, v)
	}
}

// tryReceive returns 0 and true when nothing is there.
func tryReceive(ch <-chan int) (v int, open bool) {
	select {
	case v, ok := <-ch:
		return v, ok
	default:
		return 0, true
	}
}

// TestPolicyOnSession is the same for a session whose client stalls: the connection holds one frame of 12 bytes and the
// beginning of the next, which are beyond any policy; then the client reads on.
func TestPolicyOnSession(t *testing.T) {
	for _, tt := range []struct {
		policy wshub.Policy
		want   string // the texts' first bytes in the order of their coming
		close  int    // 0: it stays open
	}{
		{wshub.Policy{}, "abcdefghij", 0},
		{wshub.Evict(9, time.Second), "abcdefghij", 0},
		{wshub.Evict(8, time.Hour), "abcdefghij", 0},
		{wshub.Evict(8, time.Second), "ab", 1013},
		{wshub.Block(20, time.Second), "abcdefghij", 0},
		{wshub.DropOldest(3), "abhij", 0},
		{wshub.DropNewest(3), "abcd", 0},
		{wshub.Coalesce(), "abj", 0},
		{wshub.MaxBytes(60).With(wshub.DropNewest(100)), "abcdef", 0},
		{wshub.PackText("\n"), "abcdefghij", 0},
	} {
		t.Run(tt.policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				topic := newTopic[string](t, h, "texts", tt.policy)
				ss, cc := sessions(t, h, 1, wshubtest.WithBuffer(18))
				join(t, topic, ss[0])
				cc[0].Stall()
				for _, c := range "abcdefghij" {
					publish(t, topic, strings.Repeat(string(c), 10))
					synctest.Wait()
				}
				time.Sleep(2 * time.Second)
				cc[0].Resume()
				synctest.Wait()
				var got strings.Builder
				frames := cc[0].Take()
				for _, m := range frames {
					for text := range strings.SplitSeq(string(m.Data), "\n") {
						if len(text) != 10 {
							t.Errorf("text %q", text)
						}
						got.WriteByte(text[0])
					}
				}
				if got.String() != tt.want {
					t.Errorf("came %q, want %q", got.String(), tt.want)
				}
				if packed := strings.Contains(tt.policy.String(), "packtext"); packed && len(frames) != 3 {
					t.Errorf("%d frames", len(frames))
				}
				if tt.close != 0 {
					cc[0].ExpectClose(tt.close)
					<-ss[0].Done()
					if !errors.Is(ss[0].Err(), wshub.ErrSlow) {
						t.Errorf("session ended with %v", ss[0].Err())
					}
				}
				a := topic.Stats()
				if a.Offered != 10 || a.Sent != uint64(len(tt.want)) || a.Pending != 0 ||
					a.Offered != a.Sent+a.Coalesced+a.Dropped+a.Filtered+a.Evicted+a.Undelivered {
					t.Errorf("account %+v", a)
				}
			})
		})
	}
}

// Block makes the publisher wait for a reader that is slow, not for ever.
func TestBlockWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic[int](t, h, "numbers", wshub.Block(2, time.Second))
		start := time.Now()
		s := topic.Subscribe(t.Context())
		publish(t, topic, 1, 2)
		go func() {
			time.Sleep(300 * time.Millisecond)
			<-s.C()
		}()
		publish(t, topic, 3)
		if got := time.Since(start); got != 300*time.Millisecond {
			t.Errorf("published after %v", got)
		}
		publish(t, topic, 4) // nobody reads: the oldest becomes a second old
		if got := time.Since(start); got != time.Second {
			t.Errorf("published after %v", got)
		}
		synctest.Wait() // the publisher goes on before the stream is closed, and a reader might still be handed the second
		if v, ok := <-s.C(); ok || !errors.Is(s.Err(), wshub.ErrSlow) {
			t.Errorf("got %v, %v", v, s.Err())
		}
	})
}

// 1,000 keys in turn, to a reader that is allowed 20 of the 1,000 a second, and to one that takes half of 10,000 a second:
// every key comes at least once among 1,000 values.
func TestPitfall19NoKeyStarves(t *testing.T) {
	const keys = 1000
	for name, tt := range map[string]struct {
		policy wshub.Policy
		rounds int
		every  time.Duration // ten values
		read   time.Duration // between two reads, 0: at once
	}{
		"rate":       {wshub.Coalesce().With(wshub.Rate(20, 1)), 150, 10 * time.Millisecond, 0},
		"half speed": {wshub.Coalesce(), 20, time.Millisecond, 200 * time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				topic := newTopic(t, h, "prices", tt.policy, wshub.KeyBy(func(p [2]int) int { return p[0] }))
				s := topic.Subscribe(t.Context())
				got := make(chan [][2]int)
				go func() {
					var all [][2]int
					for v := range s.C() {
						all = append(all, v)
						if tt.read > 0 {
							time.Sleep(tt.read)
						}
					}
					got <- all
				}()
				for round := range tt.rounds {
					for key := range keys {
						publish(t, topic, [2]int{key, round})
						if key%10 == 9 {
							time.Sleep(tt.every)
						}
					}
				}
				synctest.Wait()
				time.Sleep(time.Duration(keys) * time.Second / 10) // the last of every key still comes
				s.Close()
				all := <-got
				last := make(map[int]int)
				at := make(map[int]int)
				times := make(map[int]int)
				for i, v := range all {
					before, seen := last[v[0]]
					if seen && v[1] <= before {
						t.Fatalf("key %d went back from %d to %d", v[0], before, v[1])
					}
					// The first time a key comes it, or the others, may still have been new to a line that was filling.
					times[v[0]]++
					if gap := i - at[v[0]]; gap > keys && times[v[0]] > 2 || gap > 2*keys {
						t.Fatalf("key %d came at %d and then at %d", v[0], at[v[0]], i)
					}
					last[v[0]], at[v[0]] = v[1], i
				}
				if len(last) != keys || len(all) < keys {
					t.Fatalf("%d values of %d keys", len(all), len(last))
				}
				for key, round := range last {
					if round != tt.rounds-1 {
						t.Fatalf("the last of key %d is of round %d", key, round)
					}
				}
			})
		})
	}
}

// Publishers of 20 keys stop at any moment: then the last value of each key that was for a session arrives, whatever its
// rate, filter and exceptions, and whether it reads, stalls or reads in turns. No key ever goes back.
func TestPitfall19TheLastOfEveryKeyArrives(t *testing.T) {
	const keys, values = 20, 400
	odd := func(p price) bool { return p.Value%2 == 1 }
	for _, p := range []wshub.Policy{
		{}, wshub.Rate(20, 1), wshub.RateBytes(500, 100), wshub.FlushEvery(100 * time.Millisecond),
		wshub.FlushEvery(30 * time.Millisecond).With(wshub.Rate(100, 2)),
	} {
		for _, where := range []func(price) bool{nil, odd} {
			t.Run(fmt.Sprint(p, ", filter ", where != nil), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rng := rand.New(rand.NewPCG(1, 1))
					h := newHub(t)
					topic := newTopic(t, h, "prices", wshub.Coalesce(), wshub.KeyBy(price.key))
					ss, cc := sessions(t, h, 3, wshubtest.WithBuffer(100))
					join(t, topic.With(p).Where(where), ss...)
					cc[1].Stall()
					want := make([]map[string]int, len(ss))
					for i := range want {
						want[i] = make(map[string]int)
					}
					for i := range values {
						v := price{fmt.Sprint(rng.IntN(keys)), i}
						out := rng.IntN(2 * len(ss)) // half of all are for all
						for j := range ss {
							if j != out && (where == nil || where(v)) {
								want[j][v.Symbol] = i
							}
						}
						if out < len(ss) {
							publish(t, topic.Except(ss[out]), v)
						} else {
							publish(t, topic, v)
						}
						if i%50 == 20 {
							cc[2].Stall()
						} else if i%50 == 40 {
							cc[2].Resume()
						}
						if rng.IntN(3) == 0 {
							time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
						}
					}
					cc[2].Resume()
					time.Sleep(5 * time.Second) // less than the write timeout
					cc[1].Resume()
					time.Sleep(time.Minute)
					synctest.Wait()
					for i, c := range cc {
						last := make(map[string]int)
						for _, m := range c.Take() {
							var v price
							if err := json.Unmarshal(m.Data, &v); err != nil {
								t.Fatal(err)
							}
							if before, seen := last[v.Symbol]; seen && v.Value <= before {
								t.Errorf("client %d: key %s went back from %d to %d", i, v.Symbol, before, v.Value)
							}
							last[v.Symbol] = v.Value
						}
						if !maps.Equal(last, want[i]) {
							t.Errorf("client %d: the last values are %v, want %v", i, last, want[i])
						}
					}
				})
			})
		}
	}
}

// More values, and more bytes, than log, mailbox and connection hold, published without a pause to readers that keep
// reading, with rests that add up to less than the grace: all of them arrive, in order, by default.
func TestPitfall20BurstLargerThanEveryBuffer(t *testing.T) {
	n, limits := 70_000, wshub.Limits{} // beyond the 65,536 values and 64 MiB that a topic keeps
	if wshub.RaceEnabled {
		n, limits = 9000, wshub.Limits{Pending: 8192, PendingBytes: 8 << 20}
	}
	pad := strings.Repeat("x", 1000)
	check := func(t *testing.T) func(text string) { // the values, one after the other
		next := 0
		t.Cleanup(func() {
			if next != n {
				t.Errorf("%d of %d came", next, n)
			}
		})
		return func(text string) {
			if number, _, _ := strings.Cut(text, " "); number != strconv.Itoa(next) {
				t.Errorf("value %d is %s", next, number)
			}
			if next++; next%(n/100) == 0 {
				time.Sleep(2 * time.Millisecond)
			}
		}
	}
	client := func(t *testing.T, h *wshub.Hub) *wshub.Session {
		next := check(t)
		ss, _ := sessions(t, h, 1, wshubtest.WithOnMessage(func(m wshubtest.Message) { next(string(m.Data)) }))
		return ss[0]
	}
	for name, begin := range map[string]func(*testing.T, *wshub.Hub) (send func(context.Context, string) error){
		"topic": func(t *testing.T, h *wshub.Hub) func(context.Context, string) error {
			topic := newTopic[string](t, h, "texts", wshub.Policy{})
			join(t, topic, client(t, h))
			return topic.Publish
		},
		"stream": func(t *testing.T, h *wshub.Hub) func(context.Context, string) error {
			topic := newTopic[string](t, h, "texts", wshub.Policy{})
			next, s := check(t), topic.Subscribe(t.Context())
			go func() { // ends with the hub
				for text := range s.C() {
					next(text)
				}
			}()
			return topic.Publish
		},
		"everyone": func(t *testing.T, h *wshub.Hub) func(context.Context, string) error {
			client(t, h)
			return func(ctx context.Context, text string) error { return h.Everyone().Send(ctx, wshub.Text(text)) }
		},
		"session": func(t *testing.T, h *wshub.Hub) func(context.Context, string) error {
			s := client(t, h)
			return func(ctx context.Context, text string) error { return s.Send(ctx, wshub.Text(text)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, wshub.WithLimits(limits))
				send := begin(t, h)
				for i := range n {
					if err := send(t.Context(), fmt.Sprint(i, " ", pad)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if got := h.Stats(); got.Evicted != 0 || got.Topics.Pending+got.Everyone.Pending+got.Direct.Pending != 0 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}
