package wire

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A MemConn is one end of an in-memory connection: a net.Conn with a bounded buffer in each direction, short
// writes, half close and deadlines. All methods are safe for concurrent use. It blocks on channels only, so that it
// works inside a testing/synctest bubble.
type MemConn struct {
	in, out    *stream
	rd, wd     memDeadline
	closeOnce  sync.Once
	local      memAddr
	remote     memAddr
	closedHere chan struct{} // closed by Close
}

// Pipe returns the two ends of an in-memory connection. Each direction holds up to size bytes that were written and
// not yet read; size below 1 counts as 1. Buffers grow as they are used: an idle pipe holds none.
func Pipe(size int) (a, b *MemConn) {
	size = max(size, 1)
	ab, ba := &stream{size: size}, &stream{size: size}
	a = &MemConn{in: ba, out: ab, local: "mem:1", remote: "mem:2", closedHere: make(chan struct{})}
	b = &MemConn{in: ab, out: ba, local: "mem:2", remote: "mem:1", closedHere: make(chan struct{})}
	return a, b
}

// Read waits for at least one byte. It returns io.EOF when the peer has closed, or half closed, and everything was
// read; os.ErrDeadlineExceeded at the read deadline; io.ErrClosedPipe after Close.
func (c *MemConn) Read(p []byte) (int, error) {
	for {
		select {
		case <-c.closedHere:
			return 0, io.ErrClosedPipe
		default:
		}
		late := c.rd.done()
		select {
		case <-late:
			return 0, os.ErrDeadlineExceeded
		default:
		}
		n, changed, err := c.in.read(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-changed:
		case <-late:
		case <-c.closedHere:
		}
	}
}

// Write waits until all of p is in the buffer. With an error it returns how much of p was accepted before:
// os.ErrDeadlineExceeded at the write deadline; io.ErrClosedPipe when either end has closed, or this one half closed.
func (c *MemConn) Write(p []byte) (int, error) {
	total := 0
	for {
		select {
		case <-c.closedHere:
			return total, io.ErrClosedPipe
		default:
		}
		late := c.wd.done()
		select {
		case <-late:
			return total, os.ErrDeadlineExceeded
		default:
		}
		n, changed, err := c.out.write(p[total:])
		total += n
		if err != nil || total == len(p) {
			return total, err
		}
		select {
		case <-changed:
		case <-late:
		case <-c.closedHere:
		}
	}
}

// TryWrite accepts what there is room for and returns at once: n < len(p) with a nil error says that the buffer is full.
func (c *MemConn) TryWrite(p []byte) (n int, err error) {
	select {
	case <-c.closedHere:
		return 0, io.ErrClosedPipe
	default:
	}
	n, _, err = c.out.write(p)
	return n, err
}

// CloseWrite ends the outgoing direction: the peer reads io.EOF after what is buffered.
func (c *MemConn) CloseWrite() error {
	c.out.closeWrite()
	return nil
}

// Close ends both directions and every call under way. The peer reads what is buffered, then io.EOF; its writes
// fail with io.ErrClosedPipe. Close is idempotent.
func (c *MemConn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closedHere)
		c.out.closeWrite()
		c.in.closeRead()
		c.rd.set(time.Time{})
		c.wd.set(time.Time{})
	})
	return nil
}

// LocalAddr returns the address of this end, mem:1 or mem:2.
func (c *MemConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end, mem:1 or mem:2.
func (c *MemConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines; the zero time means none.
func (c *MemConn) SetDeadline(t time.Time) error {
	c.rd.set(t)
	c.wd.set(t)
	return nil
}

// SetReadDeadline bounds Read, also one under way; the zero time means none.
func (c *MemConn) SetReadDeadline(t time.Time) error {
	c.rd.set(t)
	return nil
}

// SetWriteDeadline bounds Write, also one under way; the zero time means none. TryWrite ignores it.
func (c *MemConn) SetWriteDeadline(t time.Time) error {
	c.wd.set(t)
	return nil
}

type memAddr string

func (memAddr) Network() string  { return "mem" }
func (a memAddr) String() string { return string(a) }

// stream is one direction: a ring that grows up to size.
type stream struct {
	size int

	mu      sync.Mutex    // guards the rest; nothing blocks under it
	ring    []byte        // bytes r, r+1, ... r+n-1 (mod len) are buffered
	r, n    int           //
	wclosed bool          // nothing will be written any more
	rclosed bool          // nobody will read any more
	changed chan struct{} // closed at the next change; nil while nobody waits
}

// read takes what is there. With 0, nil the caller waits for changed and tries again.
func (s *stream) read(p []byte) (n int, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.rclosed:
		return 0, nil, io.ErrClosedPipe
	case len(p) == 0:
		return 0, nil, nil
	case s.n == 0 && s.wclosed:
		return 0, nil, io.EOF
	case s.n == 0:
		return 0, s.changedLocked(), nil
	}
	for n < len(p) && s.n > 0 {
		k := copy(p[n:], s.ring[s.r:min(s.r+s.n, len(s.ring))])
		n, s.n, s.r = n+k, s.n-k, (s.r+k)%len(s.ring)
	}
	s.notifyLocked()
	return n, nil, nil
}

// write accepts what there is room for. With n < len(p) and a nil error the caller may wait for changed.
func (s *stream) write(p []byte) (n int, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wclosed || s.rclosed {
		return 0, nil, io.ErrClosedPipe
	}
	s.growLocked(min(s.n+len(p), s.size))
	for n < len(p) && s.n < len(s.ring) {
		w := (s.r + s.n) % len(s.ring)
		k := copy(s.ring[w:min(w+len(s.ring)-s.n, len(s.ring))], p[n:])
		n, s.n = n+k, s.n+k
	}
	if n > 0 {
		s.notifyLocked()
	}
	if n < len(p) {
		changed = s.changedLocked()
	}
	return n, changed, nil
}

func (s *stream) growLocked(need int) {
	if need <= len(s.ring) {
		return
	}
	ring := make([]byte, min(max(need, 2*len(s.ring), 64), s.size))
	if s.n > 0 {
		k := copy(ring, s.ring[s.r:min(s.r+s.n, len(s.ring))])
		copy(ring[k:], s.ring[:s.n-k])
	}
	s.ring, s.r = ring, 0
}

func (s *stream) closeWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wclosed = true
	s.notifyLocked()
}

func (s *stream) closeRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rclosed, s.ring, s.n, s.r = true, nil, 0, 0
	s.notifyLocked()
}

func (s *stream) changedLocked() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *stream) notifyLocked() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// memDeadline is a deadline as a channel that is closed when it has passed.
type memDeadline struct {
	mu    sync.Mutex
	timer *time.Timer
	late  chan struct{} // nil: made on first use
	fired bool          // late is closed
	gen   uint64        // tells a timer that it was replaced
}

// done returns a channel that is closed once the deadline has passed. A deadline set later closes the same channel,
// unless this one had passed before.
func (d *memDeadline) done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.late == nil {
		d.late = make(chan struct{})
	}
	return d.late
}

func (d *memDeadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gen++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.late == nil || d.fired {
		d.late, d.fired = make(chan struct{}), false
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		close(d.late)
		d.fired = true
		return
	}
	gen := d.gen
	d.timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.gen == gen && !d.fired {
			close(d.late)
			d.fired = true
		}
	})
}
