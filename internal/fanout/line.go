package fanout

import (
	"slices"

	"github.com/wshub-go/wshub/internal/queue"
)

// line is what a lagging member owes under Coalesce: the newest value of each key. The turn is the key's whose value was
// sent longest ago; a key that was not sent since the member fell behind counts from when it came. A newer value takes
// its key's place.
//
// So between two values of a key that has changed by then, each other key is sent at most once: of n keys that keep
// changing, each is among any n values sent. A line by arrival does not give that: there, of 1,000 keys in turn, twice
// as fast as they were read, some came after 1,002 values, since they had lined up behind keys sent after them. A ring
// of all keys gave 1,169 while it filled.
//
// It costs 16 bytes a key that has changed since the member fell behind, and 4 more while the key has a value, until the
// member has caught up. A value is kept by reference, not by the key's newest in a table of the log's: a member with a
// filter may owe an older one.
type line struct {
	keys  []turn   // by slot
	heap  []uint32 // slots of keys with a value, a binary heap by turn
	out   []uint32 // slots taken off the heap by next, in turn
	clock uint32   // the last turn given
}

// turn is a key's state in a line.
type turn struct {
	entry *queue.Entry // nil: nothing to send
	since uint32       // when it was sent or came, by line.clock; 0: the line does not know the key
}

func (x *line) len() int { return len(x.heap) + len(x.out) }

// enter makes e the value of its key; it reports whether that superseded one. A slot that the line knows is held in the
// log, so that no other key gets its number.
func (x *line) enter(l *queue.Log, e *queue.Entry) (superseded bool) {
	if n := int(e.Slot) + 1; n > len(x.keys) {
		x.keys = append(x.keys, make([]turn, n-len(x.keys))...)
	}
	k := &x.keys[e.Slot]
	if k.since == 0 {
		l.Hold(e.Slot)
		k.since = x.tick()
	}
	superseded = k.entry != nil
	k.entry = e
	if !superseded {
		x.push(e.Slot)
	}
	return superseded
}

// tick returns the next turn. Before the numbers run out it gives the known keys new ones, in the same order.
func (x *line) tick() uint32 {
	if x.clock == 1<<32-1 {
		var known []uint32
		for slot := range x.keys {
			if x.keys[slot].since != 0 {
				known = append(known, uint32(slot))
			}
		}
		slices.SortFunc(known, func(a, b uint32) int {
			if x.before(a, b) {
				return -1
			}
			return 1
		})
		x.clock = 0
		for _, slot := range known {
			x.clock++
			x.keys[slot].since = x.clock
		}
	}
	x.clock++
	return x.clock
}

// next appends up to n values to dst, in turn. They stay in the line until sent.
func (x *line) next(dst []*queue.Entry, n int) []*queue.Entry {
	x.putBack()
	for ; n > 0 && len(x.heap) > 0; n-- {
		slot := x.pop()
		x.out = append(x.out, slot)
		dst = append(dst, x.keys[slot].entry)
	}
	return dst
}

// sent takes the first n of the values that next has returned off the line.
func (x *line) sent(l *queue.Log, n int) {
	for _, slot := range x.out[:n] {
		k := &x.keys[slot]
		k.entry = nil
		k.since = x.tick()
	}
	x.out = append(x.out[:0], x.out[n:]...)
	x.putBack()
	if len(x.heap) == 0 {
		x.clear(l)
	}
}

func (x *line) putBack() {
	for _, slot := range x.out {
		x.push(slot)
	}
	x.out = x.out[:0]
}

// clear gives everything up, and the memory.
func (x *line) clear(l *queue.Log) {
	for slot := range x.keys {
		if x.keys[slot].since != 0 {
			l.Unhold(uint32(slot))
		}
	}
	*x = line{}
}

// The heap. container/heap would take an interface call for each step.

func (x *line) before(a, b uint32) bool { return x.keys[a].since < x.keys[b].since }

func (x *line) push(slot uint32) {
	x.heap = append(x.heap, slot)
	i := len(x.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !x.before(slot, x.heap[parent]) {
			break
		}
		x.heap[i] = x.heap[parent]
		i = parent
	}
	x.heap[i] = slot
}

func (x *line) pop() uint32 {
	first := x.heap[0]
	last := x.heap[len(x.heap)-1]
	x.heap = x.heap[:len(x.heap)-1]
	n := len(x.heap)
	if n == 0 {
		return first
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && x.before(x.heap[child+1], x.heap[child]) {
			child++
		}
		if !x.before(x.heap[child], last) {
			break
		}
		x.heap[i] = x.heap[child]
		i = child
	}
	x.heap[i] = last
	return first
}
