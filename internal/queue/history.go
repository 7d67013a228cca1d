package queue

import (
	"slices"
	"time"
)

// keyHistory is the list of the slots in the keyed history, ordered by the offset of their newest entry. An append moves its
// slot to the end: O(1). The links are in the slots.
type keyHistory struct {
	first, last uint32 // meaningless while n == 0
	n           int
}

// Replay returns up to n of the newest entries without Only of the history, as it is at now, oldest first, and the head at that
// very moment: a reader that takes the entries and starts at from misses nothing that is for everybody and sees nothing twice.
// With Config.HistoryByKey they are the newest entries of as many keys. The caller sees to it that from is not trimmed before the
// reader's claim is known.
func (l *Log) Replay(n int, now time.Time) (entries []*Entry, from uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	if n <= 0 || l.cfg.History <= 0 {
		return nil, head
	}
	l.expireLocked(head, now)
	if l.ringHistory() {
		start := head
		for found := 0; start > l.floor && found < n; {
			if start--; l.ring.at(start).Only == nil {
				found++
			}
		}
		entries = l.ring.copyTo(nil, start, head)
		return slices.DeleteFunc(entries, aside), head
	}
	if n = min(n, l.keyed.n); n == 0 {
		return nil, head
	}
	entries = make([]*Entry, 0, n)
	for id := l.keyed.last; len(entries) < n; {
		s := l.slots.at(id)
		entries = append(entries, s.newest)
		id = s.prev
	}
	slices.Reverse(entries)
	return entries, head
}

// aside reports whether e is for a few, and so no history that others are to be told.
func aside(e *Entry) bool { return e.Only != nil }

// Expire lets go of history that is older than Config.HistoryAge at now. It returns when the next entry will be that old, the
// zero time when none will.
func (l *Log) Expire(now time.Time) (next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	l.expireLocked(head, now)
	if e := l.oldestLocked(head); e != nil && l.cfg.HistoryAge > 0 {
		return time.Unix(0, e.Time).Add(l.cfg.HistoryAge)
	}
	return time.Time{}
}

// ringHistory reports whether the ring holds history past the claims.
func (l *Log) ringHistory() bool { return l.cfg.History > 0 && !l.cfg.HistoryByKey }

// keyHistory reports whether the table of slots holds the history.
func (l *Log) keyHistory() bool { return l.cfg.History > 0 && l.cfg.HistoryByKey }

// oldestLocked returns the oldest entry of the history, or nil.
func (l *Log) oldestLocked(head uint64) *Entry {
	switch {
	case l.ringHistory() && l.floor < head:
		return l.ring.at(l.floor)
	case l.keyed.n > 0:
		return l.slots.at(l.keyed.first).newest
	}
	return nil
}

// giveUpLocked lets go of the oldest entry of the history, which there is.
func (l *Log) giveUpLocked(head uint64) {
	if l.ringHistory() {
		l.raiseFloorLocked()
		l.skipAsideLocked(head)
		l.dropLocked(head)
		return
	}
	l.unlistLocked(l.keyed.first)
}

// raiseFloorLocked takes the first entry out of the ring's history.
func (l *Log) raiseFloorLocked() {
	if aside(l.ring.at(l.floor)) {
		l.aside--
	}
	l.floor++
}

// skipAsideLocked takes out of the ring's history what stands before all that is for everybody.
func (l *Log) skipAsideLocked(head uint64) {
	for l.floor < head && aside(l.ring.at(l.floor)) {
		l.raiseFloorLocked()
	}
}

func (l *Log) expireLocked(head uint64, now time.Time) {
	if l.cfg.HistoryAge <= 0 {
		return
	}
	before := now.UnixNano() - int64(l.cfg.HistoryAge)
	for e := l.oldestLocked(head); e != nil && e.Time <= before; e = l.oldestLocked(head) {
		l.giveUpLocked(head)
	}
}

// asideLimit is how many entries for a few the ring's history may hold for each of Config.History. Beyond that they push
// out what is for everybody, or a history of one could keep as many as the log has room for.
const asideLimit = 8

// boundHistoryLocked gives up the oldest of the history until what is left is within Config.History and, together with the
// claims, within the bounds of the log.
func (l *Log) boundHistoryLocked(head uint64) {
	if l.cfg.History <= 0 {
		return
	}
	if l.ringHistory() {
		l.skipAsideLocked(head)
		for {
			limit := uint64(l.cfg.History)
			over := head-l.floor-l.aside > limit || l.aside > asideLimit*limit
			if !over && !(l.tail < l.low && l.overLocked(head)) {
				l.dropLocked(head)
				return
			}
			l.giveUpLocked(head)
		}
	}
	for l.keyed.n > l.cfg.History {
		l.giveUpLocked(head)
	}
	// Giving up an entry that is claimed as well would free nothing, and all those behind it are claimed too.
	for l.keyed.n > 0 && l.oldestLocked(head).Offset < l.tail && l.overLocked(head) {
		l.giveUpLocked(head)
	}
}

// overLocked reports whether claims and history together are over a bound of the log.
func (l *Log) overLocked(head uint64) bool {
	return l.cfg.MaxEntries > 0 && head-l.tail+uint64(l.slots.outside) > uint64(l.cfg.MaxEntries) ||
		l.cfg.MaxBytes > 0 && l.bytesLocked(l.tail, head)+l.slots.outsideBytes > l.cfg.MaxBytes
}

// listLocked puts the slot at the end of the keyed history, with e, which is in the ring, in place of its entry there.
func (l *Log) listLocked(id uint32, e *Entry) {
	s := l.slots.at(id)
	if s.newest != nil {
		l.unlistLocked(id)
	}
	s.kept++
	s.newest, s.prev, s.next = e, none, none
	if l.keyed.n == 0 {
		l.keyed.first = id
	} else {
		s.prev = l.keyed.last
		l.slots.at(l.keyed.last).next = id
	}
	l.keyed.last = id
	l.keyed.n++
}

// unlistLocked takes the slot, and its entry, out of the keyed history.
func (l *Log) unlistLocked(id uint32) {
	s := l.slots.at(id)
	if s.prev == none {
		l.keyed.first = s.next
	} else {
		l.slots.at(s.prev).next = s.next
	}
	if s.next == none {
		l.keyed.last = s.prev
	} else {
		l.slots.at(s.next).prev = s.prev
	}
	if s.newest.Offset < l.tail {
		l.slots.addOutside(s, -1)
	}
	s.newest = nil
	l.keyed.n--
	l.slots.unkeep(id) // the last step: the slot may be another key's from here on
}
