package wshub_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
)

// after is a value and when it comes, in milliseconds since the start; or was returned.
type after struct {
	ms int
	v  string
}

// play sends the values when they are due, then closes the channel at the given time, unless that is negative.
func play(ctx context.Context, buffer, end int, values ...after) <-chan string {
	in := make(chan string, buffer)
	start := time.Now()
	go func() { // ends with the values, or ctx
		for _, a := range values {
			time.Sleep(time.Until(start.Add(time.Duration(a.ms) * time.Millisecond)))
			select {
			case in <- a.v:
			case <-ctx.Done():
				return
			}
		}
		if end >= 0 {
			time.Sleep(time.Until(start.Add(time.Duration(end) * time.Millisecond)))
			close(in)
		}
	}()
	return in
}

// record ranges over seq and notes when each value was returned. The body takes busy.
func record[T any](seq iter.Seq[T], busy time.Duration) (got []after) {
	start := time.Now()
	for v := range seq {
		got = append(got, after{int(time.Since(start).Milliseconds()), fmt.Sprint(v)})
		if busy > 0 {
			time.Sleep(busy)
		}
	}
	return got
}

// timed runs f in a bubble with a context that ends after the given milliseconds; 0: never.
func timed(t *testing.T, ms int, f func(ctx context.Context) (got []after), want ...after) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if ms > 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
			defer cancel()
		}
		if got := f(ctx); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestBatch(t *testing.T) {
	const d = 100 * time.Millisecond
	for _, c := range []struct {
		name   string
		n      int
		d      time.Duration
		cancel int
		end    int
		in     []after
		want   []after
	}{
		{"full", 2, d, 0, 50, []after{{0, "a"}, {10, "b"}, {20, "c"}, {30, "d"}}, []after{{10, "[a b]"}, {30, "[c d]"}}},
		{"time is over", 9, d, 0, 500, []after{{50, "a"}, {149, "b"}, {151, "c"}, {400, "d"}}, []after{{150, "[a b]"}, {251, "[c]"}, {500, "[d]"}}},
		{"the time of one batch is not the next one's", 2, d, 0, 300, []after{{0, "a"}, {90, "b"}, {95, "c"}, {180, "d"}}, []after{{90, "[a b]"}, {180, "[c d]"}}},
		{"in closes", 9, d, 0, 20, []after{{0, "a"}, {10, "b"}}, []after{{20, "[a b]"}}},
		{"ctx ends", 9, d, 50, -1, []after{{0, "a"}, {10, "b"}}, nil},
		{"nothing", 9, d, 0, 50, nil, nil},
		{"one at a time", 1, d, 0, 50, []after{{0, "a"}, {10, "b"}}, []after{{0, "[a]"}, {10, "[b]"}}},
		{"no time", 9, 0, 0, 50, []after{{0, "a"}, {10, "b"}}, []after{{0, "[a]"}, {10, "[b]"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			timed(t, c.cancel, func(ctx context.Context) []after {
				return record(wshub.Batch(ctx, play(ctx, 0, c.end, c.in...), c.n, c.d), 0)
			}, c.want...)
		})
	}
}

// A batch without time is what is ready, n at most.
func TestBatchOfWhatIsReady(t *testing.T) {
	got := record(wshub.Batch(t.Context(), filled(1, 2, 3, 4, 5), 2, 0), 0)
	if len(got) != 3 || got[0].v != "[1 2]" || got[1].v != "[3 4]" || got[2].v != "[5]" {
		t.Errorf("got %v", got)
	}
}

// Each batch is the receiver's to keep and change.
func TestBatchesShareNothing(t *testing.T) {
	var all [][]int
	for b := range wshub.Batch(t.Context(), filled(1, 2, 3, 4, 5, 6), 2, time.Hour) {
		all = append(all, b)
		_ = append(b, -1)
		b[0] *= 10
	}
	if got := fmt.Sprint(all); got != "[[10 2] [30 4] [50 6]]" {
		t.Errorf("got %v", got)
	}
}

func TestDebounce(t *testing.T) {
	const d = 100 * time.Millisecond
	for _, c := range []struct {
		name   string
		d      time.Duration
		cancel int
		end    int
		in     []after
		want   []after
	}{
		{"the last after quiet", d, 0, 900, []after{{0, "a"}, {50, "b"}, {140, "c"}, {500, "d"}}, []after{{240, "c"}, {600, "d"}}},
		{"never quiet", d, 0, 250, []after{{0, "a"}, {90, "b"}, {180, "c"}}, []after{{250, "c"}}},
		{"in closes while it is quiet", d, 0, 300, []after{{0, "a"}}, []after{{100, "a"}}},
		{"ctx ends", d, 150, -1, []after{{0, "a"}, {90, "b"}}, nil},
		{"no time", 0, 0, 50, []after{{0, "a"}, {10, "b"}}, []after{{0, "a"}, {10, "b"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			timed(t, c.cancel, func(ctx context.Context) []after {
				return record(wshub.Debounce(ctx, play(ctx, 0, c.end, c.in...), c.d), 0)
			}, c.want...)
		})
	}
}

func TestThrottle(t *testing.T) {
	const d = 100 * time.Millisecond
	for _, c := range []struct {
		name   string
		d      time.Duration
		cancel int
		end    int
		buffer int
		busy   time.Duration
		in     []after
		want   []after
	}{
		{"the first at once, then the last", d, 0, 900, 0, 0, []after{{0, "a"}, {10, "b"}, {20, "c"}, {150, "d"}, {500, "e"}}, []after{{0, "a"}, {100, "c"}, {200, "d"}, {500, "e"}}},
		{"the last comes though in closes", d, 0, 30, 0, 0, []after{{0, "a"}, {10, "b"}, {20, "c"}}, []after{{0, "a"}, {100, "c"}}},
		{"nothing waits when in closes", d, 0, 30, 0, 0, []after{{0, "a"}}, []after{{0, "a"}}},
		{"ctx ends", d, 50, -1, 0, 0, []after{{0, "a"}, {10, "b"}}, []after{{0, "a"}}},
		{"ctx ends after in", d, 50, 20, 0, 0, []after{{0, "a"}, {10, "b"}}, []after{{0, "a"}}},
		{"a body that is slow gets the last", d, 0, 900, 9, 3 * d, []after{{0, "a"}, {50, "b"}, {150, "c"}, {250, "d"}, {310, "e"}}, []after{{0, "a"}, {300, "d"}, {600, "e"}}},
		{"in closes while the body is busy", d, 0, 200, 9, 3 * d, []after{{0, "a"}, {50, "b"}, {150, "c"}}, []after{{0, "a"}, {300, "c"}}},
		{"no time", 0, 0, 50, 0, 0, []after{{0, "a"}, {10, "b"}}, []after{{0, "a"}, {10, "b"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 10 { // where a select has a choice
				timed(t, c.cancel, func(ctx context.Context) []after {
					return record(wshub.Throttle(ctx, play(ctx, c.buffer, c.end, c.in...), c.d), c.busy)
				}, c.want...)
			}
		})
	}
}

// A body that ends ctx and takes its time gets nothing more, whatever is ready by then.
func TestThrottleEndsWithItsContext(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			n := 0
			for range wshub.Throttle(ctx, filled(1, 2, 3), time.Second) {
				n++
				cancel()
				time.Sleep(2 * time.Second)
			}
			if n != 1 {
				t.Fatalf("got %d values", n)
			}
		})
	}
}

// No two values are closer than d, and the last one comes, whatever comes when.
func TestThrottleKeepsItsDistance(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			x := seed + 1
			rnd := func(n uint64) int { x = x*6364136223846793005 + 1442695040888963407; return int((x >> 33) % n) }
			var in []after
			ms := 0
			for i := range 200 {
				ms += rnd(40)
				if rnd(10) == 0 {
					ms += 100
				}
				in = append(in, after{ms, fmt.Sprint(i)})
			}
			got := record(wshub.Throttle(t.Context(), play(t.Context(), rnd(4), ms+rnd(200), in...), 50*time.Millisecond), time.Duration(rnd(80))*time.Millisecond)
			for i := 1; i < len(got); i++ {
				if got[i].ms-got[i-1].ms < 50 {
					t.Fatalf("seed %d: %v after %v", seed, got[i], got[i-1])
				}
			}
			if last := got[len(got)-1]; last.v != "199" {
				t.Errorf("seed %d: the last is %v", seed, last)
			}
		})
	}
}

// A loop that is left leaves nothing behind: no timer fires, nothing receives.
func TestBreakLeavesNothing(t *testing.T) {
	for name, seq := range map[string]func(in <-chan int) iter.Seq[int]{
		"Debounce": func(in <-chan int) iter.Seq[int] { return wshub.Debounce(context.Background(), in, time.Second) },
		"Throttle": func(in <-chan int) iter.Seq[int] { return wshub.Throttle(context.Background(), in, time.Second) },
		"Latest":   func(in <-chan int) iter.Seq[int] { return wshub.Latest(context.Background(), in) },
		"Batch": func(in <-chan int) iter.Seq[int] {
			return wshub.Map(wshub.Batch(context.Background(), in, 1, time.Second), func(b []int) int { return b[0] })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := make(chan int, 1)
				in <- 1
				for range seq(in) {
					break
				}
				time.Sleep(time.Hour)
				select {
				case in <- 2:
				default:
					t.Error("nothing was taken")
				}
				time.Sleep(time.Hour)
				if len(in) != 1 {
					t.Error("somebody still receives")
				}
			})
		})
	}
}
