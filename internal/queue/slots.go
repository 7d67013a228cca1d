package queue

import "sync"

// A table without keys may keep the memory of slotsKeep slots. That of up to slotsPool slots goes to the pool, and that of more to
// the garbage collector: by then growing it again is spread over many appends.
const (
	slotsKeep = 2
	slotsPool = 64
)

// none ends a list of slots.
const none = ^uint32(0)

// slot stands for a key. It is in use while claims+kept > 0; only then may its number be in an entry of the ring, in the history
// or in a line.
type slot struct {
	key    any
	newest *Entry // while it is in the keyed history: its entry there, the newest without Only; else nil
	claims uint32 // entries in [low, head), and lines that hold it
	kept   uint32 // entries in [tail, low), and 1 while it is in the keyed history
	prev   uint32 // in the keyed history: its neighbours there, by offset; in the free list: next alone
	next   uint32
}

// table gives slots to keys and counts who uses them. Slot 0 is that of entries without a key: it always exists, takes no memory
// of the table and is not counted among the keys. The zero table is empty; the log's mu guards it.
type table struct {
	zero    slot
	*store         // nil while there are no keys and nothing is kept
	free    uint32 // first unused slot, 0: none
	used    int    // keys, which all have a slot in use
	claimed int    // keys whose slots have claims
	pooled  bool   // has outgrown slotsKeep before, so that it takes its next store from the pool

	outside      int   // entries of the keyed history that have left the ring
	outsideBytes int64 // their sizes
}

// store is the memory of a table.
type store struct {
	slots []slot         // slot i at slots[i-1]
	ids   map[any]uint32 // key to slot
}

// stores spares a topic whose readers catch up again and again the table it lost each time: with 16 keys in flight that were 6
// allocations for 8 appends. A log that has never had many keys takes nothing from it, for it would keep more than it needs.
var stores = sync.Pool{New: func() any { return newStore() }}

func newStore() *store { return &store{ids: make(map[any]uint32)} }

// Hold says that a line uses the slots: they stand for their keys until as many calls of [Log.Unhold]. They keep no entry: the
// line has its own references. A slot must be in use already, through an entry that the caller claims; else Hold panics. Replayed
// entries, which nobody claims, stay out of the line for that reason.
func (l *Log) Hold(slots ...uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range slots {
		if !l.slots.inUse(id) {
			panic("queue: hold of a slot that is not in use")
		}
		l.slots.claim(id)
	}
}

// Unhold takes back one Hold of each of the slots. A slot that nothing else uses may stand for another key at once.
func (l *Log) Unhold(slots ...uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range slots {
		if !l.slots.inUse(id) || l.slots.at(id).claims == 0 {
			panic("queue: unhold of a slot that is not held")
		}
		l.slots.unclaim(id)
	}
}

// Keys returns how many keys have a slot in use, be it for claims, for lines or for history.
func (l *Log) Keys() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slots.used
}

func (t *table) at(id uint32) *slot {
	if id == 0 {
		return &t.zero
	}
	return &t.slots[id-1]
}

func (t *table) inUse(id uint32) bool {
	if id != 0 && (t.store == nil || int(id) > len(t.slots)) {
		return false
	}
	s := t.at(id)
	return s.claims+s.kept > 0
}

func (t *table) idle() bool { return t.used == 0 && !t.inUse(0) }

// find returns the slot of key, giving it one when it has none. The caller claims it at once, and that is what limit bounds. When
// find fails it has changed nothing.
func (t *table) find(key any, limit int) (uint32, error) {
	if key == nil {
		return 0, nil
	}
	var id uint32
	var known bool
	if t.store != nil {
		id, known = t.ids[key]
	}
	if known && t.at(id).claims > 0 {
		return id, nil
	}
	if limit > 0 && t.claimed >= limit {
		return 0, ErrKeys
	}
	if known {
		return id, nil
	}
	switch {
	case t.store != nil:
	case t.pooled:
		t.store = stores.Get().(*store)
	default:
		t.store = newStore()
	}
	if id = t.free; id != 0 {
		t.free = t.at(id).next
	} else {
		t.slots = append(t.slots, slot{})
		id = uint32(len(t.slots))
	}
	*t.at(id) = slot{key: key}
	t.ids[key] = id
	t.used++
	return id, nil
}

func (t *table) claim(id uint32) {
	s := t.at(id)
	if s.claims == 0 && id != 0 {
		t.claimed++
	}
	s.claims++
}

func (t *table) unclaim(id uint32) {
	s := t.at(id)
	if s.claims--; s.claims == 0 {
		if id != 0 {
			t.claimed--
		}
		t.release(id)
	}
}

func (t *table) unkeep(id uint32) {
	t.at(id).kept--
	t.release(id)
}

// addOutside counts the entry of s in the keyed history as kept by the table alone (n = 1), or no longer so (n = -1).
func (t *table) addOutside(s *slot, n int) {
	t.outside += n
	t.outsideBytes += int64(n) * int64(s.newest.Size)
}

// release frees the slot if nothing uses it.
func (t *table) release(id uint32) {
	s := t.at(id)
	if id == 0 || s.claims+s.kept > 0 {
		return
	}
	delete(t.ids, s.key)
	t.used--
	*s = slot{next: t.free}
	t.free = id
	if t.used == 0 && len(t.slots) > slotsKeep {
		t.drop()
	}
}

// drop lets go of the memory of a table without keys. A map never shrinks and slots in use cannot be renumbered, so this is the
// moment for it.
func (t *table) drop() {
	if len(t.slots) <= slotsPool {
		clear(t.slots)
		t.slots = t.slots[:0]
		stores.Put(t.store)
	}
	t.store, t.free, t.pooled = nil, 0, true
}
