package queue

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

var benchConfigs = []struct {
	name string
	cfg  Config
	key  any
}{
	{name: "plain"},
	{name: "keyed", key: "key"},
	{name: "history", cfg: Config{History: 50, HistoryAge: time.Hour}},
	{name: "keyedHistory", cfg: Config{History: 50, HistoryByKey: true}, key: "key"},
}

// BenchmarkLogAppend is the cost of a publish while readers lag: what is appended is trimmed a thousand at a time.
func BenchmarkLogAppend(b *testing.B) {
	for _, bb := range benchConfigs {
		b.Run(bb.name, func(b *testing.B) { benchAppend(b, bb.cfg, bb.key, 1024) })
	}
}

// BenchmarkLogAppendTrim is the same while readers keep up: each is trimmed at once.
func BenchmarkLogAppendTrim(b *testing.B) {
	for _, bb := range benchConfigs {
		b.Run(bb.name, func(b *testing.B) { benchAppend(b, bb.cfg, bb.key, 1) })
	}
}

func benchAppend(b *testing.B, cfg Config, key any, trimEvery int) {
	l, entries := NewLog(cfg), prepared(4096, key)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := l.Append(&entries[i%len(entries)]); err != nil {
			b.Fatal(err)
		}
		if i%trimEvery == trimEvery-1 {
			l.Trim(l.Head())
		}
	}
}

// BenchmarkLogAppendParallel has as many publishers as processors on one log.
func BenchmarkLogAppendParallel(b *testing.B) {
	l := NewLog(Config{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		entries, i := prepared(4096, nil), 0
		for pb.Next() {
			if err := l.Append(&entries[i%len(entries)]); err != nil {
				b.Error(err)
				return
			}
			if i++; i%64 == 0 {
				l.Trim(l.Head())
			}
		}
	})
}

// BenchmarkLogRead is one read of n entries into a buffer that is used again.
func BenchmarkLogRead(b *testing.B) {
	for _, n := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l, entries := NewLog(Config{}), prepared(n, nil)
			for i := range entries {
				if err := l.Append(&entries[i]); err != nil {
					b.Fatal(err)
				}
			}
			dst := make([]*Entry, 0, n)
			b.ReportAllocs()
			for b.Loop() {
				dst = l.Read(dst[:0], 0, uint64(n))
			}
		})
	}
}

// BenchmarkLogHead is what a visit does to find that nothing is pending.
func BenchmarkLogHead(b *testing.B) {
	l := NewLog(Config{})
	b.ReportAllocs()
	for b.Loop() {
		l.Head()
	}
}

// BenchmarkMailbox is a push and its pop.
func BenchmarkMailbox(b *testing.B) {
	m, e := NewMailbox(1024, 1<<20, new(atomic.Uint64)), &Entry{Size: 100}
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Push(e); err != nil {
			b.Fatal(err)
		}
		m.Pop()
	}
}
