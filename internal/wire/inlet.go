package wire

import (
	"errors"
	"os"
	"sync"
	"time"
)

const (
	bufferSize = 4 << 10 // of buffers
	ownBuffer  = 1 << 10 // of a connection that has its own
)

// buffer is what a connection reads into while there is something to read.
type buffer [bufferSize]byte

// buffers are shared by all connections: an idle one has none.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// An inlet is the read side of a socket that can be waited for without a buffer. Called by whoever owns the read state.
type inlet interface {
	// read waits until there is something to read, or the read deadline, and reads it into p. When p is nil it reads into
	// one of buffers, which it takes when it is needed and returns in place of p, with an error too if it has taken one.
	read(p []byte) (got []byte, n int, err error)
}

// more waits for bytes of the peer, and scans and notes them. They come into p, or when it is nil behind what is in the
// buffer, which must have room; more returns how many may be looked at, at least one. Once a violation was read or the
// peer's close frame, or reading was ended, it fails with the cause.
func (c *Conn) more(p []byte) (int, error) {
	for {
		if err := c.stopped(); err != nil {
			c.cause = err
			return 0, err
		}
		n, err := c.fill(p)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue // a violation: stopped tells it
		}
		if c.state.Load()&stEnded != 0 {
			continue // reading was ended, and stopped tells why
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			c.cause = err
			return 0, err
		}
		if !c.armed {
			c.raw.SetReadDeadline(time.Time{})
		} else if time.Now().Before(c.deadline) {
			c.raw.SetReadDeadline(c.deadline)
		} else {
			c.fault = &ProtocolError{Code: codePolicy, Reason: "message took too long", Err: err}
		}
	}
}

// fill is one read of more.
func (c *Conn) fill(p []byte) (n int, err error) {
	switch {
	case p != nil:
		n, err = c.readInto(p)
		if n > 0 {
			n, err = c.scanned(p[:n]), nil
		}
		return n, err
	case c.at > 0: // never with all of it taken: then there is no buffer, or it begins anew
		c.end = int32(copy(c.buf, c.buf[c.at:c.end]))
		c.at = 0
	case c.buf == nil && (c.in == nil || len(c.early) > 0):
		c.makeBuffer()
	}
	if c.buf == nil {
		c.buf, n, err = c.in.read(nil)
	} else {
		n, err = c.readInto(c.buf[c.end:])
	}
	if n > 0 {
		// With an error it comes again.
		n, err = c.scanned(c.buf[c.end:][:n]), nil
	}
	c.end += int32(n)
	if c.end == 0 {
		c.take(0)
	}
	return n, err
}

// makeBuffer gives a connection its buffer, for as long as something is in it, or without an inlet for good.
func (c *Conn) makeBuffer() {
	if c.in != nil {
		c.buf = buffers.Get().(*buffer)[:]
	} else {
		c.buf = make([]byte, ownBuffer)
	}
}

// take says that n more bytes of the buffer are done with.
func (c *Conn) take(n int) {
	c.at += int32(n)
	if c.at < c.end {
		return
	}
	c.at, c.end = 0, 0
	if c.in != nil && c.buf != nil {
		buffers.Put((*buffer)(c.buf))
		c.buf = nil
	}
}

// readInto reads from what net/http had buffered, then from the socket.
func (c *Conn) readInto(p []byte) (n int, err error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		if len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	if c.in == nil {
		return c.raw.Read(p)
	}
	_, n, err = c.in.read(p)
	return n, err
}
