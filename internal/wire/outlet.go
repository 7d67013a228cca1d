package wire

import (
	"net"
	"time"
)

// An outlet is the write side of one socket. tryWrite, writeAll and finish are called by the write owner only;
// abort by anybody.
type outlet interface {
	// tryWrite accepts what there is room for and never waits.
	tryWrite(b []byte) (int, error)
	// writeAll waits for room, and returns when everything was accepted.
	writeAll(b []byte, timeout time.Duration) (int, error)
	// finish half-closes the socket once everything accepted is out, then calls done, possibly later and from
	// another goroutine.
	finish(done func())
	// abort ends a writeAll under way. The socket is closed already.
	abort()
}

// tryWriter is a net.Conn that can be written without waiting, like MemConn.
type tryWriter interface {
	net.Conn
	TryWrite([]byte) (int, error)
}

// newSides picks the cheapest ways to write conn without waiting, and to wait for it without a buffer, if there is one.
func newSides(conn net.Conn, o Options, broken func(error)) (outlet, inlet) {
	limitUnsent(conn, o.SendBuffer)
	if w, ok := conn.(tryWriter); ok {
		return directOutlet{w}, nil
	}
	if s := newRawSocket(conn); s != nil {
		return s, s
	}
	return &flusher{conn: conn, limit: o.SendBuffer, timeout: o.WriteTimeout, broken: broken}, nil
}

// directOutlet writes to a conn that offers TryWrite.
type directOutlet struct{ tryWriter }

func (o directOutlet) tryWrite(b []byte) (int, error) { return o.TryWrite(b) }

func (o directOutlet) writeAll(b []byte, timeout time.Duration) (int, error) {
	return writeWithin(o.tryWriter, b, timeout)
}

func (o directOutlet) finish(done func()) {
	closeWrite(o.tryWriter)
	done()
}

func (directOutlet) abort() {}

// writeWithin writes b before the timeout (none when it is not positive) and leaves no deadline behind.
func writeWithin(conn net.Conn, b []byte, timeout time.Duration) (int, error) {
	if timeout > 0 {
		conn.SetWriteDeadline(time.Now().Add(timeout))
		defer conn.SetWriteDeadline(time.Time{})
	}
	return conn.Write(b)
}

// closeWrite ends the outgoing direction, on connections that have such a thing.
func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}
