package queue

import "math/bits"

// ringMin is the number of places of the smallest ring that is allocated.
const ringMin = 8

// ring keeps the entry of offset i at buf[i mod len(buf)], so that an offset stays the only name of an entry and growing or
// shrinking is invisible to readers. Places outside of [tail, head) are nil: the ring retains nothing it does not hold. Its length
// is zero or a power of two. The zero ring is empty; its user's lock guards it.
type ring struct{ buf []*Entry }

// at returns the entry of offset i, which must be in [tail, head).
func (r *ring) at(i uint64) *Entry { return r.buf[i&uint64(len(r.buf)-1)] }

// put sets the entry of offset head, growing first when [tail, head) fills the ring.
func (r *ring) put(tail, head uint64, e *Entry) {
	if int(head-tail) == len(r.buf) {
		r.resize(tail, head, max(ringMin, 2*len(r.buf)))
	}
	r.buf[head&uint64(len(r.buf)-1)] = e
}

// take removes and returns the entry of offset tail.
func (r *ring) take(tail uint64) *Entry {
	p := &r.buf[tail&uint64(len(r.buf)-1)]
	e := *p
	*p = nil
	return e
}

// copyTo appends the entries [from, to) to dst.
func (r *ring) copyTo(dst []*Entry, from, to uint64) []*Entry {
	if from >= to {
		return dst
	}
	i, n := int(from&uint64(len(r.buf)-1)), int(to-from)
	if i+n <= len(r.buf) {
		return append(dst, r.buf[i:i+n]...)
	}
	dst = append(dst, r.buf[i:]...)
	return append(dst, r.buf[:i+n-len(r.buf)]...)
}

// shrink lets go of room that [tail, head) fills to an eighth or less, down to keep places. The half it leaves free and the
// eighth it waits for keep appends and trims that alternate from allocating.
func (r *ring) shrink(tail, head uint64, keep int) {
	n := int(head - tail)
	if len(r.buf) <= keep || n > len(r.buf)/8 {
		return
	}
	r.resize(tail, head, max(keep, 1<<bits.Len(uint(2*n))))
}

func (r *ring) resize(tail, head uint64, size int) {
	buf := make([]*Entry, size)
	for i := tail; i < head; i++ {
		buf[i&uint64(size-1)] = r.at(i)
	}
	r.buf = buf
}
