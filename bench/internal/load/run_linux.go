package load

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// Run answers the requests that it reads from in, one after the other, until in ends; then it drops all connections,
// answers nothing more, and returns nil. It returns an error when in holds something else, or when out or the epoll fails;
// in the latter cases a goroutine stays with in, until in ends or brings the next request.
func Run(in io.Reader, out io.Writer) error {
	l, err := newLoad()
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	defer l.close()
	stop := make(chan struct{})
	defer close(stop)
	go l.read(in, stop) // ends with in, or with the next request after the return
	if err := l.run(out); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return nil
}

// read hands over what in holds and wakes the loop for each, and for the end.
func (l *load) read(in io.Reader, stop <-chan struct{}) {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	for d := json.NewDecoder(in); ; {
		var r proto.Request
		if err := d.Decode(&r); err != nil {
			if err == io.EOF {
				err = nil
			}
			l.ended <- err
			_, _ = l.wake.Write(one)
			return
		}
		select {
		case l.requests <- r:
			_, _ = l.wake.Write(one)
		case <-stop:
			return
		}
	}
}

// A job is a request that takes a while: it is asked after each round of events whether it is done. An error is a result too.
type job func(now int64) (result any, done bool)

// load is the state of the process. The goroutine of Run owns it, but for what the reader of requests uses too.
type load struct {
	epoll    int
	wake     *os.File // an eventfd: written for each request and for the end
	requests chan proto.Request
	ended    chan error // has one when no request follows; nil for the usual end

	events []unix.EpollEvent
	buf    []byte // what a read brought; shared by all connections
	frame  []byte // what is being sent
	call   []byte // what is in it
	parts  []*part
	random uint64 // state of the masks

	conns  []conn // by slot; those that ended stay until they are the last
	nextID uint32 // of the next client
	job    job
	dial   *dialing // the last Dial
	hung   int      // connections that Hang waits for
	win    window
	flate  inflater
}

const (
	wakeSlot = -1
	bufSize  = 64 << 10 // half of the second-level cache of small machines
	// interest never changes for a connection that is read: with edges, one epoll_ctl in its life is enough.
	interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
)

func newLoad() (*load, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &load{
		epoll:    epoll,
		wake:     os.NewFile(uintptr(fd), "eventfd"),
		requests: make(chan proto.Request, 16),
		ended:    make(chan error, 1),
		events:   make([]unix.EpollEvent, 512),
		buf:      make([]byte, bufSize),
		random:   uint64(proto.Now()) | 1,
		win:      newWindow(),
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: wakeSlot}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		l.close()
		return nil, fmt.Errorf("watch the requests: %w", err)
	}
	return l, nil
}

func (l *load) close() {
	for i := range l.conns {
		if c := &l.conns[i]; c.fd >= 0 {
			_ = unix.Close(int(c.fd))
		}
	}
	_ = unix.Close(l.epoll)
	_ = l.wake.Close()
}

func (l *load) run(out io.Writer) error {
	for {
		n, err := unix.EpollWait(l.epoll, l.events, l.patience())
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for events: %w", err)
		}
		for i := range max(n, 0) {
			e := &l.events[i]
			if e.Fd != wakeSlot {
				l.ready(&l.conns[e.Fd], e.Events)
				continue
			}
			select {
			case err := <-l.ended:
				return err
			default:
			}
		}
		l.pace(proto.Now())
		if l.job == nil {
			select {
			case r := <-l.requests:
				l.job = l.begin(r)
			default:
				continue
			}
		}
		result, done := l.job(proto.Now())
		if !done {
			continue
		}
		l.job = nil
		if err := answer(out, result); err != nil {
			return err
		}
	}
}

// patience is how many milliseconds the loop may wait for events; -1 is for ever.
func (l *load) patience() int {
	switch {
	case l.job == nil && len(l.requests) > 0, l.win.busy(len(l.conns)):
		return 0
	case l.win.pacing(), l.job != nil && l.dial.pacing():
		return 1
	case l.job != nil:
		return 10
	}
	return -1
}

// begin turns a request into a job.
func (l *load) begin(r proto.Request) job {
	now := proto.Now()
	start := func(args any, begin func() (job, error)) job {
		if r.Args != nil {
			if err := json.Unmarshal(r.Args, args); err != nil {
				return at(fmt.Errorf("%s: arguments: %w", r.Do, err))
			}
		}
		j, err := begin()
		if err != nil {
			return at(fmt.Errorf("%s: %w", r.Do, err))
		}
		return j
	}
	switch r.Do {
	case proto.DoDial:
		var ask proto.Dial
		return start(&ask, func() (job, error) { return l.beginDial(ask, now) })
	case proto.DoBegin:
		var ask proto.Begin
		return start(&ask, func() (job, error) { return at(nil), l.beginWindow(ask) })
	case proto.DoEnd:
		var ask proto.End
		return start(&ask, func() (job, error) { return l.endWindow(ask, now) })
	case proto.DoHang:
		var ask proto.Hang
		return start(&ask, func() (job, error) { return l.hang(ask, now), nil })
	}
	return at(fmt.Errorf("no request %q", r.Do))
}

// at is a job that is done at once.
func at(result any) job {
	return func(int64) (any, bool) { return result, true }
}

func answer(out io.Writer, result any) error {
	var r proto.Reply
	switch result := result.(type) {
	case nil:
	case error:
		r.Error = result.Error()
	default:
		b, err := json.Marshal(result)
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		r.Result = b
	}
	if err := json.NewEncoder(out).Encode(r); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// errEnded is what a connection that the server ended ended with.
var errEnded = errors.New("the server ended the connection")
