package queue

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cursors are the offsets of readers; trim tells a log the lowest of them.
type cursors []atomic.Uint64

func (c cursors) trim(l *Log) {
	low := c[0].Load()
	for i := range c {
		low = min(low, c[i].Load())
	}
	l.Trim(low)
}

// Producers and readers at once, with a bound small enough for both to meet it: each reader sees every entry once, in order, with
// rising stamps, and each producer's values in the order of its calls.
func TestLogStress(t *testing.T) {
	const producers, readers, each = 4, 4, 3000
	type value struct{ producer, i int }
	clock := new(atomic.Uint64)
	l := NewLog(Config{MaxEntries: 64, History: 8, Clock: clock})
	at := make(cursors, readers)
	done := make(cursors, producers) // the offset after the one that a producer's last finished call has given
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				e := &Entry{Size: 1, Key: i % 5, Value: value{p, i}}
				for l.Append(e) != nil {
					runtime.Gosched()
				}
				done[p].Store(e.Offset + 1)
			}
		})
	}
	for r := range readers {
		wg.Go(func() {
			var batch []*Entry
			var next [producers]int
			stamp := uint64(0)
			for from := uint64(0); from < producers*each; {
				var finished uint64
				for p := range done {
					finished = max(finished, done[p].Load())
				}
				now := clock.Load()
				head := l.Head()
				if head < finished {
					t.Errorf("head %d, but the append of %d had returned", head, finished-1)
					return
				}
				if from == head {
					runtime.Gosched()
					continue
				}
				batch = l.Read(batch[:0], from, head)
				for _, e := range batch {
					v := e.Value.(value)
					if e.Offset != from || e.Stamp <= stamp || v.i != next[v.producer] || e.Offset < finished && e.Stamp > now {
						t.Errorf("reader %d got %+v (stamp %d) at %d, after stamp %d", r, v, e.Stamp, from, stamp)
						return
					}
					from, stamp, next[v.producer] = from+1, e.Stamp, v.i+1
				}
				clear(batch)
				at[r].Store(from)
				at.trim(l)
			}
		})
	}
	wg.Go(func() { // replays go on beside
		for range 500 {
			entries, from := l.Replay(8, time.Now())
			for i, e := range entries {
				if e.Offset != from-uint64(len(entries)-i) {
					t.Errorf("replay %v before %d", offsets(entries), from)
					return
				}
			}
		}
	})
	wg.Wait()
	if n, _ := l.Retained(); n != 8 || l.Keys() != 5 {
		t.Errorf("retained %d entries of %d keys, want the history: 8 of 5", n, l.Keys())
	}
}

// A visitor that loads the clock first and then looks at all logs and the mailbox never sees an effect without its cause: a value
// whose publish began after another publish had returned.
func TestPitfall58ClockBound(t *testing.T) {
	const rounds = 5000
	for _, beside := range []bool{false, true} { // publish while the visitor is between two looks, or at any time
		t.Run(fmt.Sprint(beside), func(t *testing.T) {
			clock := new(atomic.Uint64)
			a, b := NewLog(Config{Clock: clock}), NewLog(Config{Clock: clock})
			m := NewMailbox(0, 0, clock)
			publish := func() { // each after the other has returned
				if err := errors.Join(a.Append(&Entry{}), b.Append(&Entry{}), m.Push(&Entry{})); err != nil {
					t.Error(err)
				}
			}
			between := publish
			var wg sync.WaitGroup
			defer wg.Wait()
			if beside {
				between = runtime.Gosched
				wg.Go(func() {
					for range rounds {
						publish()
					}
				})
			}
			read := func(l *Log, from, now uint64) uint64 {
				for _, e := range l.Read(nil, from, l.Head()) {
					if e.Stamp > now {
						break
					}
					from++
				}
				l.Trim(from)
				return from
			}
			var fromA, fromB, sent uint64 // what was written up to here, by log
			for sent < rounds {
				// The first first: the worst order to look in, since the others have gone on by the time it is their turn.
				now := clock.Load()
				fromA = read(a, fromA, now)
				between()
				fromB = read(b, fromB, now)
				between()
				for e := m.Peek(); e != nil && e.Stamp <= now; e = m.Peek() {
					m.Pop()
					sent++
				}
				if fromA < fromB || fromB < sent {
					t.Errorf("saw %d, %d, %d of values published in this order", fromA, fromB, sent)
					return
				}
				between()
			}
		})
	}
}

// Coalescing readers that take what they see into lines of slots: while a line holds a slot it stands for one key.
func TestHoldStress(t *testing.T) {
	const readers, each, keys = 3, 6000, 50
	l := NewLog(Config{MaxEntries: 32, MaxKeys: keys, History: 5, HistoryByKey: true})
	at := make(cursors, readers)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range each {
			e := &Entry{Key: i * i % 97 % (2 * keys), Size: 1}
			for {
				err := l.Append(e)
				if err == nil {
					break
				}
				if !errors.Is(err, ErrFull) && !errors.Is(err, ErrKeys) {
					t.Error(err)
					return
				}
				runtime.Gosched()
			}
		}
	})
	for r := range readers {
		wg.Go(func() {
			line := map[uint32]any{}
			for from := uint64(0); from < each; {
				entries := l.Read(nil, from, l.Head())
				for _, e := range entries {
					if _, ok := line[e.Slot]; !ok {
						l.Hold(e.Slot)
						line[e.Slot] = e.Key
					}
				}
				from += uint64(len(entries))
				at[r].Store(from)
				at.trim(l)
				var gone []uint32
				for id, key := range line {
					l.mu.Lock()
					held := l.slots.at(id).key
					l.mu.Unlock()
					if held != key {
						t.Errorf("slot %d of %v stands for %v", id, key, held)
						return
					}
					// Some stay, so that holds outlive the entries; few enough for MaxKeys.
					if (int(id)+r+int(from))%3 != 0 || len(line)-len(gone) > keys/readers/2 {
						gone = append(gone, id)
						delete(line, id)
					}
				}
				l.Unhold(gone...)
				runtime.Gosched()
			}
			for id := range line {
				l.Unhold(id)
			}
		})
	}
	wg.Wait()
	if n, bytes := l.Retained(); n != 5 || bytes != 5 || l.Keys() != 5 {
		t.Errorf("retained %d, %d bytes, %d keys; want the history's 5", n, bytes, l.Keys())
	}
}

// However pushes, pops and the close interleave, each entry taken in is popped or counted by Close, in the order of pushes.
func TestMailboxStress(t *testing.T) {
	const producers, each = 4, 2000
	for _, closeAfter := range []int{0, 10, each, producers * each} {
		m := NewMailbox(16, 0, nil)
		var pushed, popped, left atomic.Int64
		var wg sync.WaitGroup
		closed := make(chan struct{})
		for range producers {
			wg.Go(func() {
				for range each {
					for {
						room := m.Room()
						err := m.Push(&Entry{Size: 1})
						if err == nil {
							pushed.Add(1)
							break
						}
						if errors.Is(err, ErrClosed) {
							return
						}
						<-room
					}
				}
			})
		}
		wg.Go(func() { // the owner of the write bit
			var order []uint64
			for {
				if m.Len() == 0 {
					if isClosed(closed) && m.Peek() == nil {
						break
					}
					runtime.Gosched()
				}
				if e := m.Peek(); e != nil && m.Pop() {
					order = append(order, e.Offset)
					popped.Add(1)
				}
			}
			if !slices.IsSorted(order) {
				t.Error("popped out of order")
			}
		})
		wg.Go(func() {
			for popped.Load() < int64(closeAfter) {
				runtime.Gosched()
			}
			left.Store(int64(m.Close()))
			close(closed)
		})
		wg.Wait()
		if pushed.Load() != popped.Load()+left.Load() || m.Len() != 0 || m.Bytes() != 0 {
			t.Errorf("pushed %d, popped %d, left %d; then %d of %d bytes", pushed.Load(), popped.Load(), left.Load(), m.Len(), m.Bytes())
		}
	}
}
