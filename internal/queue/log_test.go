package queue

import (
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fill appends n entries of the given size and key, which must all be taken.
func fill(t testing.TB, l *Log, n, size int, key any) {
	t.Helper()
	for range n {
		if err := l.Append(&Entry{Size: size, Key: key}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLogBounds(t *testing.T) {
	tests := []struct {
		name  string
		cfg   Config
		sizes []int  // appended in turn
		trim  uint64 // then trimmed to, unless 0
		size  int    // of the entry in question
		want  error
		tail  uint64 // afterwards
	}{
		{name: "no bounds", sizes: []int{9, 9, 9}, size: 1 << 30},
		{name: "count", cfg: Config{MaxEntries: 3}, sizes: []int{1, 1, 1}, size: 1, want: ErrFull},
		{name: "count after trim", cfg: Config{MaxEntries: 3}, sizes: []int{1, 1, 1}, trim: 1, size: 1, tail: 1},
		{name: "bytes", cfg: Config{MaxBytes: 10}, sizes: []int{4, 4}, size: 3, want: ErrFull},
		{name: "bytes to the last", cfg: Config{MaxBytes: 10}, sizes: []int{4, 4}, size: 2},
		{name: "a large one alone", cfg: Config{MaxBytes: 10}, size: 1000},
		{name: "a large one behind another", cfg: Config{MaxBytes: 10}, sizes: []int{1}, size: 1000, want: ErrFull},
		{name: "a large one after trim", cfg: Config{MaxBytes: 10}, sizes: []int{1}, trim: 1, size: 1000, tail: 1},
		{name: "one behind a large one", cfg: Config{MaxBytes: 10}, sizes: []int{1000}, size: 0, want: ErrFull},
		{name: "history is no claim", cfg: Config{MaxEntries: 3, History: 3}, sizes: []int{1, 1, 1}, trim: 3, size: 1, tail: 1},
		{name: "history longer than the log", cfg: Config{MaxEntries: 3, History: 9}, sizes: []int{1, 1, 1}, trim: 3, size: 1, tail: 1},
		{name: "history larger than the log", cfg: Config{MaxBytes: 10, History: 9}, sizes: []int{3, 3, 3}, trim: 3, size: 6, tail: 2},
		{name: "history gives way to a large one", cfg: Config{MaxBytes: 10, History: 9}, sizes: []int{3, 3, 3}, trim: 3, size: 1000, tail: 3},
		{name: "history and claims", cfg: Config{MaxEntries: 3, History: 9}, sizes: []int{1, 1, 1}, trim: 1, size: 1, tail: 1},
		{name: "a failure costs no history", cfg: Config{MaxBytes: 10, History: 9}, sizes: []int{3, 3, 3}, trim: 2, size: 8, want: ErrFull},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Clock = new(atomic.Uint64)
			l := NewLog(tt.cfg)
			for _, n := range tt.sizes {
				fill(t, l, 1, n, nil)
			}
			l.Trim(tt.trim)
			head, stamp := l.Head(), tt.cfg.Clock.Load()
			err := l.Append(&Entry{Size: tt.size})
			if !errors.Is(err, tt.want) {
				t.Fatalf("append: %v, want %v", err, tt.want)
			}
			if err == nil {
				head, stamp = head+1, stamp+1
			}
			if l.Head() != head || tt.cfg.Clock.Load() != stamp {
				t.Errorf("head %d, clock %d; want %d, %d", l.Head(), tt.cfg.Clock.Load(), head, stamp)
			}
			if n, _ := l.Retained(); n != int(head-tt.tail) {
				t.Errorf("retained %d, want %d", n, head-tt.tail)
			}
		})
	}
}

func TestLogKeys(t *testing.T) {
	l := NewLog(Config{MaxKeys: 2})
	fill(t, l, 1, 1, "a") // 0
	fill(t, l, 1, 1, "b") // 1
	fill(t, l, 1, 1, nil) // 2: no key, not counted
	fill(t, l, 1, 1, "a") // 3
	if err := l.Append(&Entry{Key: "c"}); !errors.Is(err, ErrKeys) {
		t.Fatalf("third key: %v", err)
	}
	a, b := l.At(0).Slot, l.At(1).Slot
	if l.At(3).Slot != a || a == b || a == 0 || b == 0 || l.At(2).Slot != 0 {
		t.Fatalf("slots %d, %d, %d, %d", a, b, l.At(2).Slot, l.At(3).Slot)
	}

	l.Hold(a, b)
	l.Trim(4)
	if l.Keys() != 2 || l.Idle() {
		t.Fatalf("%d keys, idle %v while both are held", l.Keys(), l.Idle())
	}
	if n, bytes := l.Retained(); n != 0 || bytes != 0 || l.slots.at(a).newest != nil {
		t.Errorf("a held slot retains %d entries, %d bytes", n, bytes)
	}
	if err := l.Append(&Entry{Key: "c"}); !errors.Is(err, ErrKeys) {
		t.Fatalf("third key beside two held: %v", err)
	}
	l.Hold(b)
	l.Unhold(a, b)
	if l.slots.inUse(a) || !l.slots.inUse(b) || l.Keys() != 1 {
		t.Error("want b alone to be held still")
	}
	fill(t, l, 1, 1, "c")
	if got := l.At(4).Slot; got != a {
		t.Errorf("c got slot %d, want that of a: %d", got, a)
	}
	l.Unhold(b)
	l.Trim(5)
	if n, bytes := l.Retained(); n != 0 || bytes != 0 || !l.Idle() || l.Keys() != 0 {
		t.Errorf("retained %d, %d bytes, idle %v, %d keys", n, bytes, l.Idle(), l.Keys())
	}
}

// A topic whose history holds as many keys as readers may claim still takes new ones.
func TestLogHistoryIsNoClaimOnKeys(t *testing.T) {
	for _, byKey := range []bool{false, true} {
		l := NewLog(Config{MaxKeys: 2, History: 5, HistoryByKey: byKey})
		for key := range 20 {
			fill(t, l, 1, 1, key)
			l.Trim(l.Head())
		}
		if l.Keys() != 5 {
			t.Errorf("by key %v: %d keys, want those of the history, 5", byKey, l.Keys())
		}
	}
}

// The history of keys gives way to the count bound as that of entries does.
func TestLogKeyedHistoryIsBounded(t *testing.T) {
	l := NewLog(Config{MaxEntries: 10, History: 100, HistoryByKey: true})
	for key := range 50 {
		fill(t, l, 1, 1, key)
		l.Trim(l.Head())
	}
	if n, _ := l.Retained(); n != 10 {
		t.Errorf("retained %d entries, want the bound, 10", n)
	}
	fill(t, l, 10, 1, "claimed")
	if n, _ := l.Retained(); n != 10 {
		t.Errorf("retained %d entries with the claims, want the bound, 10", n)
	}
	if got, _ := l.Replay(100, time.Now()); len(got) != 1 {
		t.Errorf("replay %v, want the newest of the one key left", offsets(got))
	}
}

func TestLogReplay(t *testing.T) {
	type kv struct {
		key any
		at  time.Duration // since the first
	}
	plain := []kv{{nil, 0}, {nil, 10}, {nil, 20}, {nil, 30}}
	keyed := []kv{{"a", 0}, {"b", 10}, {"a", 20}, {"c", 30}, {nil, 40}, {nil, 50}}
	tests := []struct {
		name    string
		cfg     Config
		appends []kv
		now     time.Duration
		n       int
		want    []uint64
		next    time.Duration // when the next entry expires; 0: none does
	}{
		{name: "none kept", appends: plain, now: 30, n: 9},
		{name: "none wanted", cfg: Config{History: 3}, appends: plain, now: 30},
		{name: "less than none wanted", cfg: Config{History: 3}, appends: plain, now: 30, n: -1},
		{name: "all kept", cfg: Config{History: 3}, appends: plain, now: 30, n: 9, want: []uint64{1, 2, 3}},
		{name: "fewer wanted", cfg: Config{History: 3}, appends: plain, now: 30, n: 2, want: []uint64{2, 3}},
		{name: "by age", cfg: Config{History: 3, HistoryAge: 15}, appends: plain, now: 39, n: 9, want: []uint64{3}, next: 45},
		{name: "at the age", cfg: Config{History: 3, HistoryAge: 15}, appends: plain, now: 45, n: 9},
		{name: "by key", cfg: Config{History: 9, HistoryByKey: true}, appends: keyed, now: 50, n: 9, want: []uint64{1, 2, 3, 5}},
		{name: "by key, few kept", cfg: Config{History: 2, HistoryByKey: true}, appends: keyed, now: 50, n: 9, want: []uint64{3, 5}},
		{name: "by key, few wanted", cfg: Config{History: 9, HistoryByKey: true}, appends: keyed, now: 50, n: 3, want: []uint64{2, 3, 5}},
		{name: "by key and age", cfg: Config{History: 9, HistoryByKey: true, HistoryAge: 25}, appends: keyed, now: 50, n: 9, want: []uint64{3, 5}, next: 55},
	}
	for _, tt := range tests {
		for _, claimed := range []bool{false, true} { // a claim that keeps everything changes nothing about the history
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, start := NewLog(tt.cfg), time.Now()
					for _, a := range tt.appends {
						time.Sleep(time.Until(start.Add(a.at)))
						fill(t, l, 1, 1, a.key)
						if !claimed {
							l.Trim(l.Head())
						}
					}
					now := start.Add(tt.now)
					got, from := l.Replay(tt.n, now)
					if !slices.Equal(offsets(got), tt.want) || from != l.Head() {
						t.Errorf("replay %v from %d, want %v", offsets(got), from, tt.want)
					}
					var next time.Time
					if tt.next != 0 {
						next = start.Add(tt.next)
					}
					if got := l.Expire(now); !got.Equal(next) {
						t.Errorf("next expires %v, want %v", got, next)
					}
				})
			})
		}
	}
}

func TestLogMisuse(t *testing.T) {
	tests := []struct {
		name string
		do   func(l *Log)
	}{
		{"read below the tail", func(l *Log) { l.Read(nil, 1, 3) }},
		{"read above the head", func(l *Log) { l.Read(nil, 2, 5) }},
		{"trim above the head", func(l *Log) { l.Trim(5) }},
		{"hold of an unused slot", func(l *Log) { l.Hold(7) }},
		{"unhold of an unused slot", func(l *Log) { l.Unhold(7) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLog(Config{})
			fill(t, l, 4, 1, nil)
			l.Trim(2)
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic")
					}
				}()
				tt.do(l)
			}()
			l.Trim(1) // back: nothing; and the lock is free
			if n, _ := l.Retained(); n != 2 {
				t.Errorf("retained %d, want 2", n)
			}
		})
	}
}

func TestLogGone(t *testing.T) {
	l := NewLog(Config{})
	fill(t, l, 4, 10, nil)
	l.Trim(2)
	if l.At(1) != nil || l.At(4) != nil || l.At(2) == nil {
		t.Error("At: want entries 2 and 3 alone")
	}
	for _, tt := range []struct {
		from, n int
		bytes   int64
	}{{0, 4, 20}, {2, 2, 20}, {3, 1, 10}, {4, 0, 0}, {5, 0, 0}} {
		n, bytes, oldest := l.Pending(uint64(tt.from))
		if n != tt.n || bytes != tt.bytes || (oldest == 0) != (n == 0) {
			t.Errorf("pending from %d: %d, %d bytes, oldest %d; want %d, %d", tt.from, n, bytes, oldest, tt.n, tt.bytes)
		}
	}
}

func TestValidKey(t *testing.T) {
	type pair struct{ a, b any }
	tests := []struct {
		name string
		key  any
		want error
	}{
		{"string", "k", nil},
		{"struct", pair{1, "x"}, nil},
		{"nil pointer", (*int)(nil), nil},
		{"slice", []byte("k"), ErrBadKey},
		{"slice in a struct", pair{1, []byte("k")}, ErrBadKey},
		{"map", map[int]int{}, ErrBadKey},
		{"func", func() {}, ErrBadKey},
		{"NaN", math.NaN(), ErrBadKey},
		{"NaN before a slice", pair{math.NaN(), []byte("k")}, ErrBadKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLog(Config{})
			for range 2 { // a second one finds the lock free and the key's slot
				if err := l.Append(&Entry{Key: tt.key}); !errors.Is(err, tt.want) {
					t.Fatalf("append: %v, want %v", err, tt.want)
				}
			}
			if want := 1; tt.want == nil && l.Keys() != want {
				t.Errorf("%d keys, want %d", l.Keys(), want)
			} else if tt.want != nil && !l.Idle() {
				t.Error("a refused entry left something behind")
			}
		})
	}
}
