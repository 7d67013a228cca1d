package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// logModel is a log as a slice of everything ever appended, from which whatever a log answers is worked out anew each time.
type logModel struct {
	cfg     Config
	all     []*Entry
	low     int
	history []*Entry       // what Replay may offer, oldest first
	holds   map[any]int    // lines per key; nil is a key like any other here
	slots   map[any]uint32 // the slot of each key in use, as the log named it
}

func (m *logModel) claims() []*Entry { return m.all[m.low:] }

func size(entries []*Entry) (n int64) {
	for _, e := range entries {
		n += int64(e.Size)
	}
	return n
}

// ring returns what the log itself keeps: a range that ends at the head.
func (m *logModel) ring() []*Entry {
	tail := m.low
	if !m.cfg.HistoryByKey && len(m.history) > 0 {
		tail = min(tail, int(m.history[0].Offset))
	}
	return m.all[tail:]
}

// claimed returns the keys that claims and lines use.
func (m *logModel) claimed() map[any]bool {
	keys := map[any]bool{}
	for _, e := range m.claims() {
		keys[e.Key] = true
	}
	for k, n := range m.holds {
		if n > 0 {
			keys[k] = true
		}
	}
	return keys
}

// used returns the keys that anything uses.
func (m *logModel) used() map[any]bool {
	keys := m.claimed()
	for _, e := range m.ring() {
		keys[e.Key] = true
	}
	for _, e := range m.history {
		keys[e.Key] = true
	}
	return keys
}

// retained returns the entries kept for claims and for history.
func (m *logModel) retained() []*Entry {
	kept := slices.Clone(m.ring())
	for _, e := range m.history {
		if !slices.Contains(kept, e) {
			kept = append(kept, e)
		}
	}
	return kept
}

func (m *logModel) append(e *Entry) error {
	c := m.cfg
	if n := len(m.claims()); n > 0 && (c.MaxEntries > 0 && n >= c.MaxEntries || c.MaxBytes > 0 && size(m.claims())+int64(e.Size) > c.MaxBytes) {
		return ErrFull
	}
	if keys := m.claimed(); e.Key != nil && c.MaxKeys > 0 && !keys[e.Key] {
		delete(keys, nil)
		if len(keys) >= c.MaxKeys {
			return ErrKeys
		}
	}
	m.all = append(m.all, e)
	aside := e.Only != nil && c.HistoryByKey // no state of its key
	if c.History <= 0 {
		return nil
	}
	if c.HistoryByKey && !aside {
		m.history = slices.DeleteFunc(m.history, func(h *Entry) bool { return h.Key == e.Key })
	}
	if !aside {
		m.history = append(m.history, e)
	}
	m.skip()
	for m.public() > c.History || len(m.history)-m.public() > 8*c.History {
		m.drop()
	}
	for len(m.history) > 0 && int(m.history[0].Offset) < m.low {
		kept := m.retained()
		if (c.MaxEntries <= 0 || len(kept) <= c.MaxEntries) && (c.MaxBytes <= 0 || size(kept) <= c.MaxBytes) {
			break
		}
		m.drop()
	}
	return nil
}

// public returns how many entries of the history are for everybody.
func (m *logModel) public() (n int) {
	for _, e := range m.history {
		if e.Only == nil {
			n++
		}
	}
	return n
}

// drop gives up the oldest of the history.
func (m *logModel) drop() {
	m.history = m.history[1:]
	m.skip()
}

// skip gives up what is for a few and older than all that is for everybody.
func (m *logModel) skip() {
	for len(m.history) > 0 && m.history[0].Only != nil {
		m.history = m.history[1:]
	}
}

func (m *logModel) expire(now time.Time) time.Time {
	if m.cfg.HistoryAge <= 0 {
		return time.Time{}
	}
	for len(m.history) > 0 && now.Sub(time.Unix(0, m.history[0].Time)) >= m.cfg.HistoryAge {
		m.drop()
	}
	if len(m.history) == 0 {
		return time.Time{}
	}
	return time.Unix(0, m.history[0].Time).Add(m.cfg.HistoryAge)
}

// check compares all that can be seen of the log with the model.
func (m *logModel) check(t *testing.T, l *Log) {
	t.Helper()
	head := uint64(len(m.all))
	if got := l.Head(); got != head {
		t.Fatalf("head %d, want %d", got, head)
	}
	if got := l.Read(nil, uint64(m.low), head); !slices.Equal(got, m.claims()) {
		t.Fatalf("claims are %v, want %v", offsets(got), offsets(m.claims()))
	}
	ring := m.ring()
	if got := l.Read(nil, head-uint64(len(ring)), head); !slices.Equal(got, ring) {
		t.Fatalf("the ring holds %v, want %v", offsets(got), offsets(ring))
	}
	if tail := head - uint64(len(ring)); tail > 0 && l.At(tail-1) != nil {
		t.Fatalf("entry %d is still there", tail-1)
	}
	used := m.used()
	kept := m.retained()
	if n, bytes := l.Retained(); n != len(kept) || bytes != size(kept) {
		t.Fatalf("retained %d entries of %d bytes, want %d of %d: %v", n, bytes, len(kept), size(kept), offsets(kept))
	}
	if got, want := l.Idle(), len(used) == 0; got != want {
		t.Fatalf("idle %v, want %v", got, want)
	}
	for k, id := range m.slots {
		if !used[k] {
			delete(m.slots, k)
			continue
		}
		var newest *Entry // of the key in a history by key, which the table of slots holds
		if i := slices.IndexFunc(m.history, func(e *Entry) bool { return e.Key == k }); m.cfg.HistoryByKey && i >= 0 {
			newest = m.history[i]
		}
		if got := l.slots.at(id).newest; got != newest {
			t.Fatalf("the table keeps %v for %v, want %v", got, k, newest)
		}
	}
	delete(used, nil)
	if got := l.Keys(); got != len(used) {
		t.Fatalf("%d keys, want %d", got, len(used))
	}
	// Every place of the ring outside of what it holds is empty, else it would retain what nobody can see.
	n := 0
	for _, e := range l.ring.buf {
		if e != nil {
			n++
		}
	}
	if n != len(ring) {
		t.Fatalf("%d places of the ring are taken, want %d", n, len(ring))
	}
}

func offsets(entries []*Entry) (o []uint64) {
	for _, e := range entries {
		o = append(o, e.Offset)
	}
	return o
}

// input hands out the data of a fuzz target as operations and their arguments; it reads zeros at its end.
type input struct{ data []byte }

func (in *input) more() bool { return len(in.data) > 0 }

func (in *input) next(n int) int {
	if len(in.data) == 0 {
		return 0
	}
	b := in.data[0]
	in.data = in.data[1:]
	return int(b) % n
}

// runLog makes a log and its model do what data says, comparing them after each step.
func runLog(t *testing.T, data []byte) {
	in := &input{data}
	clock := new(atomic.Uint64)
	cfg := Config{
		MaxEntries: []int{0, 1, 3, 9, 40}[in.next(5)], MaxBytes: []int64{0, 10, 60, 400}[in.next(4)], MaxKeys: []int{0, 1, 4}[in.next(3)],
		History: []int{0, 1, 4, 12}[in.next(4)], HistoryByKey: in.next(2) == 1, HistoryAge: []time.Duration{0, 50}[in.next(2)], Clock: clock,
	}
	l := NewLog(cfg)
	m := &logModel{cfg: cfg, holds: map[any]int{}, slots: map[any]uint32{}}
	lastStamp := uint64(0)
	for in.more() {
		switch op := in.next(16); op {
		case 0, 1, 2, 3, 4, 5, 6:
			e := &Entry{Size: in.next(24)}
			if k := in.next(8); k > 0 {
				e.Key = k
			}
			if in.next(4) == 1 {
				e.Only = []uint64{1}
			}
			stamp, cum := clock.Load(), size(m.all)
			got := l.Append(e)
			if got == nil && e.Offset != uint64(len(m.all)) {
				t.Fatalf("offset %d, want %d", e.Offset, len(m.all))
			}
			e.Offset = uint64(len(m.all)) // the model goes by it, also when the log was wrong to refuse
			want := m.append(e)
			if got != want {
				t.Fatalf("append: %v, want %v", got, want)
			}
			if got != nil {
				if clock.Load() != stamp {
					t.Fatal("a failed append used up a stamp")
				}
				break
			}
			if e.Stamp <= lastStamp || e.Cum != cum || e.Time != time.Now().UnixNano() {
				t.Fatalf("appended %+v after stamp %d, cum %d", e, lastStamp, cum)
			}
			lastStamp = e.Stamp
			if id, ok := m.slots[e.Key]; ok && id != e.Slot {
				t.Fatalf("key %v moved from slot %d to %d", e.Key, id, e.Slot)
			}
			if (e.Key == nil) != (e.Slot == 0) {
				t.Fatalf("key %v got slot %d", e.Key, e.Slot)
			}
			for k, id := range m.slots {
				if id == e.Slot && k != e.Key {
					t.Fatalf("slot %d of key %v is in use for %v", id, e.Key, k)
				}
			}
			m.slots[e.Key] = e.Slot
		case 7, 8, 9:
			low := m.low
			if n := len(m.claims()); n > 0 {
				low += in.next(n + 1)
			}
			l.Trim(uint64(low))
			m.low = low
		case 10:
			if n := len(m.claims()); n > 0 {
				e := m.claims()[in.next(n)]
				l.Hold(e.Slot)
				m.holds[e.Key]++
			}
		case 11, 12:
			key := any(in.next(8))
			if key == 0 {
				key = nil
			}
			if m.holds[key] > 0 {
				l.Unhold(m.slots[key])
				m.holds[key]--
			}
		case 13:
			n := in.next(16)
			m.expire(time.Now())
			want := slices.DeleteFunc(slices.Clone(m.history), func(e *Entry) bool { return e.Only != nil })
			want = want[max(0, len(want)-n):]
			got, from := l.Replay(n, time.Now())
			if !slices.Equal(got, want) || from != uint64(len(m.all)) {
				if n > 0 || len(got) > 0 {
					t.Fatalf("replay of %d is %v from %d, want %v from %d", n, offsets(got), from, offsets(want), len(m.all))
				}
			}
			if n <= 0 {
				l.Expire(time.Now()) // as the model did
			}
		case 14:
			time.Sleep(time.Duration(in.next(40)))
			if got, want := l.Expire(time.Now()), m.expire(time.Now()); !got.Equal(want) {
				t.Fatalf("next expiry %v, want %v", got, want)
			}
		case 15:
			from := m.low
			if n := len(m.claims()); n > 0 {
				from += in.next(n + 1)
			}
			want := m.all[from:]
			n, bytes, oldest := l.Pending(uint64(from))
			if n != len(want) || bytes != size(want) || n > 0 && oldest != want[0].Time || n == 0 && oldest != 0 {
				t.Fatalf("pending from %d: %d, %d bytes, oldest %d; want %v", from, n, bytes, oldest, offsets(want))
			}
		}
		m.check(t, l)
	}
}

func TestLogAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runLog(t, randomBytes(seed, 600)) })
		})
	}
}

func FuzzLog(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomBytes(seed, 200))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2000 { // the model is quadratic
			t.Skip()
		}
		synctest.Test(t, func(t *testing.T) { runLog(t, data) })
	})
}

func randomBytes(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
