package wire

import (
	"errors"
	"net"
	"os"
	"time"
)

// Interrupt ends the ReadMessage under way, if any, and all later ones with [ErrInterrupted], at once. The connection
// lives on: AwaitClose may follow. It never blocks.
func (c *Conn) Interrupt() { c.endRead(stInterrupted) }

// endRead sets a bit of stEnded and wakes a read under way. No lock orders this with the reader's own deadlines: the
// reader looks at the bits after it has set one, and this sets the deadline after the bit, so the later of the two ends it.
func (c *Conn) endRead(bit uint32) {
	if c.state.Or(bit)&bit == 0 {
		c.raw.SetReadDeadline(past)
	}
}

// AwaitClose finishes the closing handshake. It reads and discards until the peer's close frame, the end of the stream, or
// the timeout; then it waits, within the same timeout, until our own close frame has left, if one was queued. It reports whether
// the peer's close frame was seen, now or before. It may be called once ReadMessage has returned an error, by one
// goroutine; CloseNow ends it.
func (c *Conn) AwaitClose(timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	c.discard(deadline)
	c.awaitSettled(deadline)
	return c.scan.closed
}

// discard reads until the peer's close frame was seen. Whatever is buffered was scanned before.
func (c *Conn) discard(deadline time.Time) {
	if c.scan.closed {
		return
	}
	c.scan.lenient = true
	c.take(int(c.end - c.at))
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	for !c.scan.closed {
		c.raw.SetReadDeadline(deadline)
		if c.state.Load()&stClosed != 0 {
			return
		}
		n, err := c.readInto(buf[:])
		c.scan.scan(buf[:n])
		if c.scan.done > 0 {
			c.lastSeen.Store(time.Now().UnixNano())
		}
		// A late Interrupt may have moved the deadline: then this was not ours.
		if err != nil && !(errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline)) {
			return
		}
	}
}

// A transport is what the library believes to be its connection.
type transport Conn

// Read reads for the library, up to the first violation or the end of the peer's close frame. After that, or when reading
// was ended, it fails with the cause. Called by the goroutine in ReadMessage.
func (t *transport) Read(p []byte) (int, error) {
	c := (*Conn)(t)
	if len(p) == 0 {
		return 0, nil
	}
	at := c.lib.at
	p = p[:min(uint64(len(p)), at.rest())]
	if c.at == c.end {
		if len(p) >= bufferSize { // the rest of a long message does not go through a buffer
			n, err := c.more(p)
			at.scan(p[:n])
			return n, err
		}
		if _, err := c.more(nil); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.at:c.end])
	c.take(n)
	at.scan(p[:n])
	return n, nil
}

// stopped returns why nothing more may be read, or nil.
func (c *Conn) stopped() error {
	state := c.state.Load()
	switch {
	case c.cause != nil:
		return c.cause
	case state&stClosed != 0:
		return net.ErrClosed
	case c.scan.err != nil:
		return c.violated(c.scan.err)
	case c.fault != nil:
		return c.violated(c.fault)
	case c.scan.closed:
		return c.answered()
	case state&stInterrupted != 0:
		return ErrInterrupted
	case state&stBroken != 0:
		return *c.brokenBy.Load()
	case state&stLibClosed != 0 && c.scan.inControl():
		// The library gives a control frame 5 s and closes then.
		return c.violated(&ProtocolError{Code: codePolicy, Reason: "control frame took too long"})
	case state&stLibClosed != 0:
		return net.ErrClosed
	}
	return nil
}

// answered queues the answer to the peer's close frame, unless the caller does. The library is not shown the last byte
// of that frame: in the middle of a compressed message it would give its inflater back to the pool while the inflater is
// still reading.
func (c *Conn) answered() error {
	if !c.holdClose {
		c.QueueClose(c.scan.code, c.scan.reason)
	}
	return &PeerClose{Code: c.scan.code, Reason: c.scan.reason}
}

// violated queues the close frame that tells the peer what it did, unless the caller does.
func (c *Conn) violated(v *ProtocolError) error {
	if !c.holdClose {
		c.QueueClose(v.Code, v.Reason)
	}
	return v
}

// scanned runs p through the scanner, notes life, and keeps the deadline of the message. It returns how much of p
// the library may see. A deadline is set only when p ends inside a message: most reads end between two.
func (c *Conn) scanned(p []byte) int {
	n := c.scan.scan(p)
	if c.scan.done > 0 {
		c.seen = time.Now()
		c.lastSeen.Store(c.seen.UnixNano())
	}
	if !c.scan.mid() {
		if c.armed {
			c.armed = false
			c.raw.SetReadDeadline(time.Time{})
		}
	} else if !c.armed || c.scan.began {
		c.arm()
	}
	return n
}

// arm starts the time of the message under way.
func (c *Conn) arm() {
	if c.messageTimeout <= 0 {
		return
	}
	c.armed, c.deadline = true, time.Now().Add(c.messageTimeout)
	c.raw.SetReadDeadline(c.deadline)
}

// Write drops what the library writes: close frames for what ReadMessage is about to return as an error. Ours is queued by
// ReadMessage, or with Options.HoldClose by its caller.
func (t *transport) Write(p []byte) (int, error) { return len(p), nil }

// Close is the library's: it ends reading at once. The socket stays open until CloseNow, so that the close frame can leave.
func (t *transport) Close() error {
	(*Conn)(t).endRead(stLibClosed)
	return nil
}

func (t *transport) LocalAddr() net.Addr              { return t.raw.LocalAddr() }
func (t *transport) RemoteAddr() net.Addr             { return t.raw.RemoteAddr() }
func (t *transport) SetDeadline(time.Time) error      { return nil }
func (t *transport) SetReadDeadline(time.Time) error  { return nil }
func (t *transport) SetWriteDeadline(time.Time) error { return nil }
