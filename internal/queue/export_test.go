package queue

// What only tests ask.

// At returns the entry of offset off, or nil when the log has let go of it or has not got it yet.
func (l *Log) At(off uint64) *Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if off < l.tail || off >= l.head.Load() {
		return nil
	}
	return l.ring.at(off)
}

// Peek returns the oldest entry, or nil when there is none.
func (m *Mailbox) Peek() *Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.head == m.tail {
		return nil
	}
	return m.ring.at(m.tail)
}

// Bytes returns the sizes of the entries.
func (m *Mailbox) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}
