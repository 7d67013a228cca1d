package contender

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// floor is what no server that sends one frame per system call can beat: Publish writes the frame to one socket after
// the other and returns when all have it whole. There is no queue and no lock around a write; a socket that is full is
// passed over, and Publish polls those until they have taken the rest, so a client that stalls stalls it too.
//
// One goroutine reads all sockets, for joins, leaves and ends.
type floor struct {
	seats[*floorConn]
	epoll, wake int            // wake is an eventfd that ends the reading; immutable
	wait        sync.WaitGroup // the reading and the handshakes
	closed      atomic.Bool    // set with mu held

	// Publish's, and Send's.
	frame  []byte
	late   []owed // sockets that were full
	direct [1]*seat[*floorConn]

	mu       sync.Mutex
	listener net.Listener // guarded by mu, as everything below
	shaking  map[net.Conn]struct{}
	byFD     map[int]*seat[*floorConn]
	busy     bool  // a Publish may write to any descriptor it was lent
	dead     []int // descriptors to close when it is over
}

type floorConn struct {
	fd   int
	rest []byte // what was read of a frame that is not whole; the reading goroutine's
}

// owed is what a full socket has still to get.
type owed struct {
	fd   int
	rest []byte
}

func newFloor(Options) (Hub, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)})
	}
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	f := &floor{epoll: epoll, wake: wake, shaking: make(map[net.Conn]struct{}), byFD: make(map[int]*seat[*floorConn])}
	f.wait.Go(f.read) // ends with Close
	return f, nil
}

func (f *floor) Serve(l net.Listener) error {
	f.mu.Lock()
	f.listener = l
	f.mu.Unlock()
	if f.closed.Load() {
		l.Close()
	}
	for {
		c, err := l.Accept()
		if err != nil {
			if f.closed.Load() {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		f.mu.Lock()
		if f.closed.Load() {
			f.mu.Unlock()
			c.Close()
			return nil
		}
		f.shaking[c] = struct{}{}
		f.wait.Go(func() { f.shake(c) }) // ends with the handshake, or when Close closes c
		f.mu.Unlock()
	}
}

// shake answers the request and takes the socket out of the runtime's hands.
func (f *floor) shake(c net.Conn) {
	fd, p, err := upgrade(c)
	c.Close() // its descriptor was duplicated
	f.mu.Lock()
	delete(f.shaking, c)
	f.mu.Unlock()
	if err != nil {
		return
	}
	s := f.enter(p, &floorConn{fd: fd})
	f.mu.Lock()
	f.byFD[fd] = s
	f.mu.Unlock()
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
	if unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, fd, &event) != nil {
		f.end(s)
	}
}

func upgrade(c net.Conn) (fd int, p params, err error) {
	c.SetDeadline(time.Now().Add(closing))
	r, err := http.ReadRequest(bufio.NewReaderSize(c, 1024))
	if err != nil {
		return 0, p, err
	}
	if p, err = paramsOf(r.URL.Query()); err != nil {
		return 0, p, err
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil {
		return 0, p, err
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, p, err
	}
	fd = -1
	if cerr := raw.Control(func(of uintptr) {
		fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		err = cerr
	}
	return fd, p, err // non-blocking, as all of the runtime's
}

// read is the goroutine that reads.
func (f *floor) read() {
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 64<<10)
	for !f.closed.Load() {
		n, err := unix.EpollWait(f.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			panic(fmt.Sprintf("floor: epoll: %v", err))
		}
		for _, e := range events[:max(n, 0)] {
			f.mu.Lock()
			s := f.byFD[int(e.Fd)]
			f.mu.Unlock()
			if s == nil { // the eventfd
				continue
			}
			n, err := unix.Read(s.conn.fd, buf)
			switch {
			case err == unix.EAGAIN || err == unix.EINTR:
			case err != nil || n == 0 || !f.take(s, buf[:n]):
				f.end(s)
			}
		}
	}
}

// take handles what was read, and reports false at a close frame or what is none.
func (f *floor) take(s *seat[*floorConn], b []byte) bool {
	if len(s.conn.rest) > 0 {
		b = append(s.conn.rest, b...)
	}
	for {
		op, payload, rest, err := cutFrame(b)
		switch {
		case err != nil || op == opClose:
			return false
		case rest == nil:
			s.conn.rest = append([]byte(nil), b...)
			return true
		case op == opText || op == opBinary:
			f.obey(s, payload)
		}
		b = rest
	}
}

// end forgets a client. Its descriptor is closed once no Publish can write to it, or whoever gets the number next would
// be written to.
func (f *floor) end(s *seat[*floorConn]) {
	f.leave(s)
	fd := s.conn.fd
	f.mu.Lock()
	delete(f.byFD, fd)
	busy := f.busy
	if busy {
		f.dead = append(f.dead, fd)
	}
	f.mu.Unlock()
	if busy {
		unix.EpollCtl(f.epoll, unix.EPOLL_CTL_DEL, fd, nil)
		unix.Shutdown(fd, unix.SHUT_RDWR) // wakes the poll
	} else {
		unix.Close(fd)
	}
}

func (f *floor) Publish(topic int, payload []byte) {
	f.begin()
	f.write(f.members(topic), payload)
	f.done()
}

func (f *floor) Send(client int, payload []byte) bool {
	f.begin()
	defer f.done()
	s := f.client(client)
	if s == nil {
		return false
	}
	f.direct[0] = s
	f.write(f.direct[:], payload)
	return true
}

func (f *floor) begin() {
	f.mu.Lock()
	f.busy = true
	f.mu.Unlock()
}

func (f *floor) done() {
	f.mu.Lock()
	f.busy = false
	dead := f.dead
	f.dead = nil
	f.mu.Unlock()
	for _, fd := range dead {
		unix.Close(fd)
	}
}

// write gives everybody the frame. Sockets that fail are left to the reading goroutine.
func (f *floor) write(to []*seat[*floorConn], payload []byte) {
	f.frame = appendFrame(f.frame[:0], opText, payload)
	f.late = f.late[:0]
	for _, s := range to {
		n, err := unix.Write(s.conn.fd, f.frame)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			f.late = append(f.late, owed{s.conn.fd, f.frame})
		case err == nil && n < len(f.frame):
			f.late = append(f.late, owed{s.conn.fd, f.frame[n:]})
		}
	}
	for len(f.late) > 0 && !f.closed.Load() {
		polled := make([]unix.PollFd, len(f.late))
		for i, o := range f.late {
			polled[i] = unix.PollFd{Fd: int32(o.fd), Events: unix.POLLOUT}
		}
		unix.Poll(polled, 1000)
		left := f.late[:0]
		for i, o := range f.late {
			if polled[i].Revents == 0 {
				left = append(left, o)
				continue
			}
			n, err := unix.Write(o.fd, o.rest)
			if err == nil {
				o.rest = o.rest[n:]
			}
			if err == unix.EAGAIN || err == unix.EINTR || err == nil && len(o.rest) > 0 {
				left = append(left, o)
			}
		}
		f.late = left
	}
}

func (f *floor) Close() error {
	f.mu.Lock()
	f.closed.Store(true)
	l, shaking := f.listener, make([]net.Conn, 0, len(f.shaking))
	for c := range f.shaking {
		shaking = append(shaking, c)
	}
	f.mu.Unlock()
	var err error
	if l != nil {
		err = l.Close()
	}
	for _, c := range shaking {
		c.Close()
	}
	_, werr := unix.Write(f.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	f.wait.Wait()
	for _, s := range f.all() {
		f.end(s)
	}
	return errors.Join(err, werr, unix.Close(f.wake), unix.Close(f.epoll))
}
