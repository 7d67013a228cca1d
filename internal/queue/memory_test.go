package queue

import (
	"errors"
	"runtime"
	"testing"
)

// heapGrowth returns by how many bytes the live heap grows while make runs and what it returns is alive.
func heapGrowth(make func() any) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // the second one sweeps what the first one's finalizers freed
	runtime.ReadMemStats(&before)
	kept := make()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

func TestIdleMemory(t *testing.T) {
	const count, limit = 1000, 1024
	tests := []struct {
		name string
		use  func(l *Log)
	}{
		{"fresh", func(*Log) {}},
		{"one at a time", func(l *Log) {
			for range 100 {
				fill(t, l, 1, 1, nil)
				l.Trim(l.Head())
			}
		}},
		{"after a burst", func(l *Log) {
			fill(t, l, 500, 1, nil)
			l.Trim(l.Head())
		}},
		{"after a few keys", func(l *Log) {
			for key := range slotsKeep {
				fill(t, l, 5, 1, key)
			}
			l.Trim(l.Head())
		}},
		{"after a burst of keys", func(l *Log) {
			for key := range 300 {
				fill(t, l, 1, 1, key)
			}
			l.Trim(l.Head())
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			grown := heapGrowth(func() any {
				logs := make([]*Log, count)
				for i := range logs {
					logs[i] = NewLog(Config{MaxEntries: 65536, MaxBytes: 64 << 20, MaxKeys: 65536})
					tt.use(logs[i])
					if !logs[i].Idle() {
						t.Fatal("not idle")
					}
				}
				return logs
			})
			t.Logf("%d bytes a log", grown/count)
			if grown/count >= limit {
				t.Errorf("an idle log takes %d bytes, want less than %d", grown/count, limit)
			}
		})
	}
}

// A reader that never moves retains what the bounds allow and no more, however much is published; and nothing once it has gone.
func TestStalledReaderMemory(t *testing.T) {
	const valueSize, slack = 4096, 128 << 10
	tests := []struct {
		name  string
		cfg   Config
		bound int64
	}{
		{"count", Config{MaxEntries: 100}, 100 * valueSize},
		{"bytes", Config{MaxBytes: 1 << 20}, 1 << 20},
		{"with history", Config{MaxBytes: 1 << 20, History: 1000}, 1 << 20},
		{"with keyed history", Config{MaxBytes: 1 << 20, History: 1000, HistoryByKey: true}, 1 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLog(tt.cfg)
			publish := func() error {
				return l.Append(&Entry{Size: valueSize, Key: int(l.Head() % 300), Value: make([]byte, valueSize)})
			}
			grown := heapGrowth(func() any {
				// History first, that the claims then push out.
				for range 300 {
					if err := publish(); err != nil && !errors.Is(err, ErrFull) {
						t.Fatal(err)
					}
					l.Trim(l.Head())
				}
				for range 2000 {
					if err := publish(); err != nil && !errors.Is(err, ErrFull) {
						t.Fatal(err)
					}
				}
				return l
			})
			if err := publish(); !errors.Is(err, ErrFull) {
				t.Errorf("append at the bound: %v, want %v", err, ErrFull)
			}
			if _, bytes := l.Retained(); bytes > tt.bound || bytes < tt.bound-valueSize {
				t.Errorf("retained %d bytes, want the bound, %d", bytes, tt.bound)
			}
			t.Logf("%d bytes grown for a bound of %d", grown, tt.bound)
			if grown > tt.bound+slack {
				t.Errorf("grown by %d bytes, want at most %d", grown, tt.bound+slack)
			}
			l.Trim(l.Head())
			if tt.cfg.History == 0 && !l.Idle() {
				t.Error("not idle after the reader has gone")
			}
		})
	}
}

func TestMailboxIdleMemory(t *testing.T) {
	const count, limit = 1000, 256
	grown := heapGrowth(func() any {
		boxes := make([]*Mailbox, count)
		for i := range boxes {
			boxes[i] = NewMailbox(1024, 1<<20, nil)
			for range 100 {
				if err := boxes[i].Push(&Entry{Size: 1}); err != nil {
					t.Fatal(err)
				}
			}
			for boxes[i].Pop() {
			}
		}
		return boxes
	})
	t.Logf("%d bytes a mailbox", grown/count)
	if grown/count >= limit {
		t.Errorf("an empty mailbox takes %d bytes, want less than %d", grown/count, limit)
	}
}

func TestNoAllocs(t *testing.T) {
	entries := prepared(4096, "key")
	plain := prepared(4096, nil)
	burst := func(l *Log, entries []Entry) func() {
		return func() {
			for i := range entries {
				if err := l.Append(&entries[i]); err != nil {
					t.Fatal(err)
				}
				if i%8 == 7 {
					l.Trim(l.Head())
				}
			}
			l.Trim(l.Head())
		}
	}
	m := NewMailbox(0, 0, nil)
	dst := make([]*Entry, 0, 4096)
	full := NewLog(Config{})
	for i := range plain {
		if err := full.Append(&plain[i]); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		f    func()
		most float64
	}{
		{"append and trim", burst(NewLog(Config{}), prepared(4096, nil)), 0},
		// A collection empties the pool of stores, which may cost a few in thousands of appends.
		{"append and trim with keys", burst(NewLog(Config{}), entries), 8},
		{"append and trim with history", burst(NewLog(Config{History: 50}), prepared(4096, nil)), 0},
		{"append and trim with keyed history", burst(NewLog(Config{History: 50, HistoryByKey: true}), prepared(4096, "key")), 0},
		{"read", func() { dst = full.Read(dst[:0], 0, full.Head()) }, 0},
		{"pending", func() { full.Pending(17) }, 0},
		{"hold and unhold", func() { full.Hold(0); full.Unhold(0) }, 0},
		{"push and pop", func() {
			if err := m.Push(&entries[0]); err != nil {
				t.Fatal(err)
			}
			m.Pop()
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if raceEnabled && tt.name == "append and trim with keys" {
				t.Skip("under the race detector a sync.Pool forgets at random")
			}
			if n := testing.AllocsPerRun(20, tt.f); n > tt.most {
				t.Errorf("%v allocations, want none", n)
			}
		})
	}
}

// prepared returns n entries of a few keys, or of none, that tests append again after they have been trimmed.
func prepared(n int, key any) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i].Size = 100
		if key != nil {
			entries[i].Key = [2]any{key, i % 16}
		}
	}
	return entries
}
