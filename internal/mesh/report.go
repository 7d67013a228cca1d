package mesh

import "encoding/binary"

// report writes what a node tells of itself, as the bodies of heartbeats or the parts of a snapshot:
//
//	intro, number, sessions, sum of what it watches; of a part: its index times two, and 1 in the last
//	items
//
// An item is what it is about in one byte, a name, and for
//
//	itemCount     the members of the topic
//	itemNumber    epoch and number of the last value on the topic
//	itemPresence  number of the last change of members that was told
//	itemWatch     nothing: it watches the topic
//
// Each heartbeat has the number after that of the one before. A snapshot has that of the last heartbeat, and says all that
// those up to it have said.
type report struct {
	n        *Node
	post     func(body []byte)
	snapshot bool

	body   []byte // nil: none is begun
	index  int    // in body, where the part's index is
	posted int
}

// maxItem is how long an item may be, and then some.
const maxItem = 1 + 1 + maxNameLen + 2*binary.MaxVarintLen64

const (
	itemCount = iota + 1
	itemNumber
	itemPresence
	itemWatch
)

// begin begins a body, if none is.
func (r *report) begin() {
	if r.body != nil {
		return
	}
	b := &r.n.peers.beats
	if !r.snapshot {
		b.sessions = uint64(min(max(r.n.host.Sessions(), 0), maxCount))
		b.number++
	}
	r.body = r.n.appendIntro(make([]byte, 0, 128))
	r.body = binary.AppendUvarint(r.body, b.number)
	r.body = binary.AppendUvarint(r.body, b.sessions)
	r.body = binary.AppendUvarint(r.body, r.n.peers.watch.sum)
	if r.snapshot {
		r.index = len(r.body) // its lowest byte comes first, and has the bit for the last part
		r.body = binary.AppendUvarint(r.body, uint64(r.posted)<<1)
	}
}

// end posts what there is, and reports whether anything was posted at all.
func (r *report) end() bool {
	r.flush(true)
	return r.posted > 0
}

func (r *report) flush(last bool) {
	if r.body == nil {
		return
	}
	if last && r.snapshot {
		r.body[r.index] |= 1
	}
	r.post(r.body)
	r.posted++
	r.body = nil
}

func (r *report) item(kind byte, name string) {
	if len(r.body) >= maxBody-maxItem {
		r.flush(false)
	}
	r.begin()
	r.body = appendName(append(r.body, kind), name)
}

func (r *report) count(name string, count uint64) {
	r.item(itemCount, name)
	r.body = binary.AppendUvarint(r.body, count)
}

func (r *report) number(last lastNumber) {
	if len(last.name) > maxNameLen {
		return
	}
	r.item(itemNumber, last.name)
	r.body = binary.AppendUvarint(r.body, last.epoch)
	r.body = binary.AppendUvarint(r.body, last.number)
}

func (r *report) presence(last presenceNumber) {
	r.item(itemPresence, last.topic)
	r.body = binary.AppendUvarint(r.body, last.number)
}

func (r *report) watch(topic string) { r.item(itemWatch, topic) }

// reported is the head of a report.
type reported struct {
	intro
	number, sessions, watchSum uint64
	part                       uint64 // its index
	last                       bool
}

// reported takes the head of a report.
func (c *cutter) reported(part bool) reported {
	h := reported{intro: c.intro(), number: c.uvarint(), sessions: c.count(maxCount), watchSum: c.uvarint()}
	if part {
		v := c.uvarint()
		h.part, h.last = v>>1, v&1 != 0
	}
	return h
}

// item is what a report says of a topic. The name shares the body's bytes.
type item struct {
	kind          byte
	name          []byte
	epoch, number uint64 // of itemCount, number is the count
}

func (c *cutter) item() (it item) {
	it.kind, it.name = c.byte(), c.name()
	switch it.kind {
	case itemCount:
		it.number = c.count(maxCount)
	case itemNumber:
		it.epoch, it.number = c.uvarint(), c.uvarint()
	case itemPresence:
		it.number = c.uvarint()
	case itemWatch:
	default:
		c.fail()
	}
	if len(it.name) == 0 && it.kind != itemNumber { // "" is everyone
		c.fail()
	}
	return it
}

// items reports whether all that is left are items. The copy that it reads leaves c where it is.
func (c cutter) items() bool {
	for c.more() {
		c.item()
	}
	return c.whole()
}
