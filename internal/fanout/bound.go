package fanout

// overflow applies the policies to everything pending while a frame is begun.
func (v *visitor) overflow(s *Subscriber) {
	bound := s.bound()
	for _, m := range s.lookAt(v.full) {
		if head := m.topic.log.Head(); m.cursor.Load() < head || m.backlog != nil || m.begun.Load() != nil {
			v.enforce(m, head, bound)
		}
		if s.state != flowing || s.filterFailed() {
			return
		}
	}
}

// enforce applies m's policy to what it has pending and cannot be written now.
func (v *visitor) enforce(m *Member, head, bound uint64) {
	s := m.sub
	defer s.markLate(m)
	sealed, expels := s.seal() != 0, false
	switch {
	case m.rule().Coalesce:
		m.conflate(v, head, bound)
	case m.rule().Overflow == DropNewest:
		m.keepFirst(v, head, bound)
	case m.rule().Overflow == DropOldest && !sealed:
		m.keepLast(v, head)
		m.topic.wake()
	default:
		expels = m.rule().Overflow != DropOldest
		if sealed {
			// What came after the seal will not be written. It must push nothing out, and nobody.
			m.absorb(v, head, bound, m.backlogOf().keep)
		}
	}
	if cursor := m.cursor.Load(); sealed && cursor < head { // the backlog has all that was stamped before the seal
		m.undo(causeLeft, head-cursor)
		m.cursor.Store(head)
	}
	if expels && !s.filterFailed() {
		v.expel(m, head)
	}
	// So far the pass under way claims what is left, or m does. With Block the frame begun is enough: publishers count it.
	switch cursor := m.cursor.Load(); {
	case cursor < head || cursor != ended && m.rule().blocks() > 0:
		m.topic.addLag(m)
	case m.lagging.Load():
		m.topic.dropLag(m)
	}
}

// expel gives the subscriber up when m's bounds and its grace are over, or looks again when they will be.
func (v *visitor) expel(m *Member, head uint64) {
	s, r := m.sub, m.rule()
	n, bytes, oldest := 0, int64(0), int64(0)
	if cursor := m.cursor.Load(); cursor < head {
		n, bytes, oldest = m.topic.log.Pending(cursor)
	}
	if b := m.backlog; m.holds() {
		n, bytes, oldest = n+b.len(), bytes+b.size, b.since
	}
	if f := m.begun.Load(); f != nil {
		n += int(f.count)
		bytes += f.size
		oldest = f.entry.Time
	}
	over := n > r.N || n > 1 && r.MaxBytes > 0 && bytes > r.MaxBytes
	if r.Overflow == Block {
		over = n >= r.N || bytes >= r.blockBytes() // what makes publishers wait, see hasFill
	}
	if !over {
		return
	}
	// A value that waited for a worker is our delay, not the subscriber's: its age counts from when it fell behind.
	if f := s.begun; f != nil {
		oldest = max(oldest, f.behind)
	}
	if at := after(oldest, r.Age); v.time() < at {
		s.visitAt(at)
		return
	}
	s.stop(causeEvicted)
	if s.once(toldSlow) {
		s.happen.slow = m.topic
	}
}
