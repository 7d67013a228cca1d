package load

import (
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// conn is a client. The zero value of its flags and pointers is an open connection with nothing half received or sent.
type conn struct {
	fd    int32  // -1 when it has ended
	id    uint32 // the client's number
	topic uint32 // that it asked for

	// Numbers of the window.
	last   uint32   // the last payload of the topic
	others []uint32 // and of the others it has joined
	asked  uint32   // echoes sent
	echoed uint32   // and received
	// settled is when the client is surely in its topic again after it left or was connected while the window went on:
	// until a payload was published then, it may have missed some. 0 when it never left, or that has come.
	settled int64

	stalled    bool // not read in this window
	closing    bool // Hang waits for it
	deflate    bool // permessage-deflate was agreed on
	sampled    bool // its compressed messages are inflated
	centrifuge bool // speaks centrifuge's protocol

	setup *setup // until it is open
	part  *part  // what it has received in part
	out   []byte // what the socket did not take
}

// takesPart tells whether the client takes part: is open, read, and not about to end.
func (c *conn) takesPart() bool { return c.fd >= 0 && c.setup == nil && !c.stalled && !c.closing }

// ready does what the events of c's socket ask for. With edges, a read that fills less than the buffer has taken everything;
// only an end needs one more.
func (l *load) ready(c *conn, events uint32) {
	if c.fd < 0 {
		return
	}
	const ended = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	if events&(unix.EPOLLOUT|unix.EPOLLERR) != 0 {
		if s := c.setup; s != nil && !s.asked {
			l.connected(c)
		} else if len(c.out) > 0 {
			l.flush(c)
		}
	}
	if events&(unix.EPOLLIN|ended) == 0 || c.fd < 0 {
		return
	}
	if c.stalled {
		if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			l.end(c, errEnded)
		}
		return
	}
	for {
		n, errno := read(c.fd, l.buf)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			l.end(c, fmt.Errorf("read: %w", errno))
			return
		case n == 0:
			l.end(c, errEnded)
			return
		}
		l.win.got.Bytes += int64(n)
		l.received(c, l.buf[:n], proto.Now())
		if c.fd < 0 || n < len(l.buf) && events&ended == 0 {
			return
		}
	}
}

// received takes bytes off the socket, which it does not keep.
func (l *load) received(c *conn, b []byte, now int64) {
	if s := c.setup; s != nil && !s.upgraded {
		b = l.upgrade(c, b)
		if c.fd < 0 {
			return
		}
	}
	l.frames(c, b, now)
}

// send writes b or keeps a copy of what the socket does not take.
func (l *load) send(c *conn, b []byte) {
	if len(c.out) > 0 {
		c.out = append(c.out, b...)
		return
	}
	if n := l.write(c, b); n < len(b) && c.fd >= 0 {
		c.out = append(c.out, b[n:]...)
	}
}

// flush writes what was kept. The memory goes with the last byte: few clients ever need it.
func (l *load) flush(c *conn) {
	n := l.write(c, c.out)
	if c.fd < 0 {
		return
	}
	if c.out = c.out[n:]; len(c.out) == 0 {
		c.out = nil
	}
}

// write returns how much of b the socket took, and ends c if it is broken.
func (l *load) write(c *conn, b []byte) (n int) {
	for n < len(b) {
		k, errno := write(c.fd, b[n:])
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return n
		case errno != 0:
			l.end(c, fmt.Errorf("write: %w", errno))
			return n
		default:
			n += k
		}
	}
	return n
}

// end closes the socket and tells whom it concerns: the Dial that waits for it, the Hang, or the window.
func (l *load) end(c *conn, why error) {
	_ = unix.Close(int(c.fd))
	c.fd, c.part, c.out = -1, nil, nil
	switch {
	case c.setup != nil:
		c.setup = nil
		l.dial.failed(fmt.Errorf("client %d: %w", c.id, why))
	case c.closing:
		l.hung--
	case !c.stalled:
		l.win.got.Lost++
	}
}

// watch says which events of c's socket are to be told; none but its end for 0.
func (l *load) watch(slot int, op int, events uint32) error {
	e := unix.EpollEvent{Events: events, Fd: int32(slot)}
	if err := unix.EpollCtl(l.epoll, op, int(l.conns[slot].fd), &e); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	return nil
}

// trim forgets the ended connections at the end.
func (l *load) trim() {
	n := len(l.conns)
	for n > 0 && l.conns[n-1].fd < 0 {
		n--
	}
	clear(l.conns[n:])
	l.conns = l.conns[:n]
}

// away is settled for a client that has left.
const away = math.MaxInt64

// read and write are for non-blocking sockets only: the scheduler is not told about them, which saves a tenth of their cost.
func read(fd int32, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func write(fd int32, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}
