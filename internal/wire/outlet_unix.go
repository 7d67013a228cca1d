//go:build unix

package wire

import (
	"net"
	"os"
	"syscall"
	"time"
)

// A rawOutlet writes a TCP or unix socket through its descriptor, which the runtime keeps non-blocking. The closure
// handed to RawConn is made once: a closure per call would be the only allocation of a write.
type rawOutlet struct {
	conn net.Conn
	raw  syscall.RawConn
	step func(fd uintptr) bool

	// Arguments and results of step, written by the write owner around raw.Write.
	b   []byte
	n   int
	err error
}

// newRawOutlet returns nil for a conn whose writes go through anything but its descriptor. Types that embed a TCP
// connection are among those: they may count or rewrite what passes.
func newRawOutlet(conn net.Conn) outlet {
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
	o := &rawOutlet{conn: conn, raw: raw}
	o.step = o.write
	return o
}

func (o *rawOutlet) tryWrite(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	o.b = b
	err := o.raw.Write(o.step)
	n := o.n
	if err == nil {
		err = o.err
	}
	o.b, o.n, o.err = nil, 0, nil
	return n, err
}

// write is one non-blocking attempt. It always reports true, so that RawConn never waits for the socket.
func (o *rawOutlet) write(fd uintptr) bool {
	for o.n < len(o.b) {
		n, err := syscall.Write(int(fd), o.b[o.n:])
		if n > 0 {
			o.n += n
		}
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return true
		case err != nil:
			o.err = os.NewSyscallError("write", err)
			return true
		default:
			// A short write says that the socket is full: asking again would only cost a system call.
			return true
		}
	}
	return true
}

func (o *rawOutlet) writeAll(b []byte, timeout time.Duration) (int, error) {
	return writeWithin(o.conn, b, timeout)
}

func (o *rawOutlet) finish(done func()) {
	closeWrite(o.conn)
	done()
}

func (*rawOutlet) abort() {}
