package wshub_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
)

// filled returns a channel that holds the values and is closed.
func filled[T any](values ...T) <-chan T {
	ch := make(chan T, len(values))
	for _, v := range values {
		ch <- v
	}
	close(ch)
	return ch
}

// wantSeq fails unless seq returns exactly these.
func wantSeq[T comparable](t *testing.T, seq iter.Seq[T], want ...T) {
	t.Helper()
	if got := slices.Collect(seq); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMapAndFilter(t *testing.T) {
	odd := func(i int) bool { return i%2 == 1 }
	double := func(i int) int { return 2 * i }
	from := func() iter.Seq[int] { return wshub.From(t.Context(), filled(1, 2, 3, 4, 5)) }
	wantSeq(t, wshub.Map(from(), double), 2, 4, 6, 8, 10)
	wantSeq(t, wshub.Filter(from(), odd), 1, 3, 5)
	wantSeq(t, wshub.Map(wshub.Filter(from(), odd), double), 2, 6, 10)
}

// What is left of the loop's break is not looked at: neither the channel's values nor the functions.
func TestBreakTakesNoMore(t *testing.T) {
	in := filled(1, 2, 3, 4, 5)
	calls := 0
	seq := wshub.Map(wshub.Filter(wshub.From(t.Context(), in), func(int) bool { calls++; return true }), func(i int) int { calls++; return i })
	for v := range seq {
		if v == 2 {
			break
		}
	}
	if len(in) != 3 || calls != 4 {
		t.Errorf("%d values left after %d calls", len(in), calls)
	}
	wantSeq(t, seq, 3, 4, 5) // and ranging again goes on
}

func TestDecodeAsksAboutBadMessages(t *testing.T) {
	ms := []wshub.Message{
		wshub.Text(`{"symbol":"A","value":1}`), wshub.Text(`{"symbol"`), wshub.Binary([]byte(`{"symbol":"B"}`)),
		wshub.Text(`[]`), wshub.Text(`{"symbol":"C"}`),
	}
	var bad []string
	collect := func(goOn func(wshub.Message) bool) (got []price) {
		bad = nil
		for p := range wshub.Decode[price](slices.Values(ms), func(m wshub.Message, err error) bool {
			if !errors.Is(err, wshub.ErrDecode) {
				t.Errorf("bad(%s, %v)", m.Text(), err)
			}
			bad = append(bad, m.Text())
			return goOn(m)
		}) {
			got = append(got, p)
		}
		return got
	}
	if got := collect(func(wshub.Message) bool { return true }); !slices.Equal(got, []price{{"A", 1}, {"B", 0}, {"C", 0}}) {
		t.Errorf("got %v", got)
	}
	if !slices.Equal(bad, []string{`{"symbol"`, `[]`}) {
		t.Errorf("bad %v", bad)
	}
	if got := collect(func(m wshub.Message) bool { return m.Text() != `[]` }); !slices.Equal(got, []price{{"A", 1}, {"B", 0}}) {
		t.Errorf("got %v until the one that ends it", got)
	}
}

// A value decoded after another is not made of what the other left behind.
func TestDecodeMakesEachValueAnew(t *testing.T) {
	seq := wshub.Decode[map[string]int](slices.Values([]wshub.Message{wshub.Text(`{"a":1}`), wshub.Text(`{"b":2}`)}), func(wshub.Message, error) bool { return false })
	all := slices.Collect(seq)
	if len(all) != 2 || len(all[0]) != 1 || len(all[1]) != 1 {
		t.Errorf("got %v", all)
	}
}

func TestNilFunctionsPanicAtTheCall(t *testing.T) {
	some := slices.Values([]int{1})
	ms := slices.Values([]wshub.Message{})
	for name, call := range map[string]func(){
		"Map":          func() { wshub.Map[int, int](some, nil) },
		"Map seq":      func() { wshub.Map(nil, func(int) int { return 0 }) },
		"Filter":       func() { wshub.Filter(some, nil) },
		"Decode":       func() { wshub.Decode[int](ms, nil) },
		"Chan":         func() { wshub.Chan[int](t.Context(), nil) },
		"ForEach":      func() { wshub.ForEach(t.Context(), some, 1, nil) },
		"ForEach of 0": func() { wshub.ForEach(t.Context(), some, 0, func(context.Context, int) error { return nil }) },
		"Batch of 0":   func() { wshub.Batch(t.Context(), filled(1), 0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				text, _ := recover().(string)
				if f, _, _ := strings.Cut(name, " "); !strings.HasPrefix(text, "wshub: "+f) {
					t.Errorf("panicked with %q", text)
				}
			}()
			call()
		})
	}
}

func TestFromEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in := make(chan int, 4)
		in <- 1
		in <- 2
		var got []int
		done := make(chan struct{})
		go func() {
			defer close(done)
			for v := range wshub.From(ctx, in) {
				got = append(got, v)
			}
		}()
		synctest.Wait()
		cancel() // while it waits
		<-done
		if !slices.Equal(got, []int{1, 2}) {
			t.Errorf("got %v", got)
		}
		for range 100 { // a select alone would take one of them sooner or later
			in <- 3
			wantSeq(t, wshub.From(ctx, in))
			if len(in) == 0 {
				t.Fatal("took a value after ctx had ended")
			}
			<-in
		}
	})
}

func TestLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := make(chan int, 8)
		var got []int
		step := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for v := range wshub.Latest(t.Context(), in) {
				got = append(got, v)
				<-step
			}
		}()
		in <- 1
		synctest.Wait()
		for i := range 5 {
			in <- 2 + i // while the body is busy with 1
		}
		step <- struct{}{}
		synctest.Wait() // 6, and the rest was skipped
		in <- 7
		in <- 8
		close(in)
		close(step)
		<-done
		if !slices.Equal(got, []int{1, 6, 8}) {
			t.Errorf("got %v", got)
		}
	})
}

// Senders that wait without a buffer are ready too.
func TestLatestOfSendersThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := make(chan int)
		for range 3 {
			go func() { in <- 1 }()
		}
		synctest.Wait()
		n := 0
		for range wshub.Latest(t.Context(), in) {
			n++
			break
		}
		synctest.Wait() // the bubble fails if a sender still waits
		if n != 1 {
			t.Errorf("%d values", n)
		}
	})
}

// A sender that never pauses cannot keep Latest from returning.
func TestLatestBesideAnEndlessSender(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in := make(chan int)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case in <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	n, last := 0, -1
	for v := range wshub.Latest(ctx, in) {
		if v <= last {
			t.Fatalf("%d after %d", v, last)
		}
		last = v
		if n++; n == 100 {
			break
		}
	}
	cancel()
	<-stopped
}

// All that is in the buffer is ready, however much it is.
func TestLatestOfALargeBuffer(t *testing.T) {
	in := make(chan int, 5000)
	for i := range 5000 {
		in <- i
	}
	for v := range wshub.Latest(t.Context(), in) {
		if v != 4999 {
			t.Errorf("got %d", v)
		}
		break
	}
}
