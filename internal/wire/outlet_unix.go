//go:build unix

package wire

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// A rawSocket reads and writes a TCP or unix socket through its descriptor, which the runtime keeps non-blocking. The
// closures handed to RawConn are made once: a closure per call would be the only allocation of a write.
type rawSocket struct {
	raw    syscall.RawConn
	writes func(fd uintptr)

	// Arguments and results of writes, written by the write owner around raw.Control.
	b   []byte
	n   int
	err error

	conn  net.Conn
	reads func(fd uintptr) bool

	// Those of reads, written by who reads around raw.Read.
	into []byte
	got  int
	fail error
}

// newRawSocket returns nil for a conn whose writes go through anything but its descriptor. Types that embed a TCP
// connection are among those: they may count or rewrite what passes.
func newRawSocket(conn net.Conn) *rawSocket {
	var sc syscall.Conn
	switch c := conn.(type) {
	case *net.TCPConn:
		sc = c
	case *net.UnixConn:
		sc = c
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	o := &rawSocket{conn: conn, raw: raw}
	o.writes, o.reads = o.writeOnce, o.readOnce
	return o
}

// tryWrite goes through Control, which keeps the descriptor open and no more: Write would also take the runtime's write
// lock, which the write owner does without, and get its poller ready to wait.
func (o *rawSocket) tryWrite(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	o.b = b
	err := o.raw.Control(o.writes)
	n := o.n
	if err == nil {
		err = o.err
	}
	o.b, o.n, o.err = nil, 0, nil
	return n, err
}

// writeOnce is one non-blocking attempt.
func (o *rawSocket) writeOnce(fd uintptr) {
	for o.n < len(o.b) {
		n, err := syscall.Write(int(fd), o.b[o.n:])
		if n > 0 {
			o.n += n
		}
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return
		case err != nil:
			o.err = os.NewSyscallError("write", err)
			return
		default:
			// A short write says that the socket is full: asking again would only cost a system call.
			return
		}
	}
}

func (o *rawSocket) writeAll(b []byte, timeout time.Duration) (int, error) {
	return writeWithin(o.conn, b, timeout)
}

func (o *rawSocket) finish(done func()) {
	closeWrite(o.conn)
	done()
}

func (*rawSocket) abort() {}

func (o *rawSocket) read(p []byte) (got []byte, n int, err error) {
	o.into = p
	err = o.raw.Read(o.reads)
	got, n = o.into, o.got
	if err == nil {
		err = o.fail
	}
	o.into, o.got, o.fail = nil, 0, nil
	return got, n, err
}

// readOnce is one attempt. It reports false when nothing is there: then RawConn waits, and the buffer goes back.
func (o *rawSocket) readOnce(fd uintptr) bool {
	var buf *buffer
	p := o.into
	if p == nil {
		buf = buffers.Get().(*buffer)
		p = buf[:]
	}
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			if buf != nil {
				buffers.Put(buf)
			}
			return false
		case err != nil:
			o.fail = os.NewSyscallError("read", err)
		case n == 0:
			o.fail = io.EOF
		}
		o.into, o.got = p, max(n, 0)
		return true
	}
}
