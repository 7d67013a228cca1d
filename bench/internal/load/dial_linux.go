package load

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

const (
	// patient is how long, in nanoseconds, a client waits for the server's part of a handshake.
	patient = int64(30 * 1e9)
	// perAddress is how many clients share a local address: far fewer than a system has ports for connections, so that
	// those of connections that ended need not be free again.
	perAddress = 5000
	addresses  = 64
)

// dialing is a Dial under way.
type dialing struct {
	ask       proto.Dial
	servers   []netip.AddrPort
	start     int64
	end       int64 // when the last handshake ended
	begun     int
	inFlight  int
	oldest    int // no slot below is in a handshake
	result    proto.Dialed
	handshake times
}

// pacing tells whether clients are due at certain times.
func (d *dialing) pacing() bool { return d != nil && d.ask.Rate > 0 && d.begun < d.ask.N }

func (l *load) beginDial(ask proto.Dial, now int64) (job, error) {
	if ask.N < 0 || ask.Topics < 1 || len(ask.Addrs) == 0 {
		return nil, fmt.Errorf("%d clients, %d topics, %d addresses", ask.N, ask.Topics, len(ask.Addrs))
	}
	if ask.Dialect != "" && ask.Dialect != centrifuge {
		return nil, fmt.Errorf("dialect %q", ask.Dialect)
	}
	if ask.Places == 0 {
		ask.Places = 1
	}
	if ask.Places < 0 || ask.Topics%ask.Places != 0 {
		return nil, fmt.Errorf("%d of %d topics", ask.Places, ask.Topics)
	}
	if ask.InFlight == 0 {
		ask.InFlight = 256
	}
	d := &dialing{ask: ask, start: now, end: now, handshake: newTimes()}
	for _, a := range ask.Addrs {
		addr, err := netip.ParseAddrPort(a)
		if err != nil || !addr.Addr().Is4() {
			return nil, fmt.Errorf("address %q: want IPv4 and a port", a)
		}
		d.servers = append(d.servers, addr)
	}
	l.trim()
	d.oldest = len(l.conns)
	l.dial = d
	return l.continueDial, nil
}

// continueDial begins what handshakes are due and gives up those that take too long.
func (l *load) continueDial(now int64) (any, bool) {
	d := l.dial
	due := d.ask.N
	if d.ask.Rate > 0 {
		due = int(min(float64(d.ask.N), float64(now-d.start)/1e9*d.ask.Rate+1))
	}
	for n := 0; d.begun < due && d.inFlight < d.ask.InFlight && n < atOnce; n++ {
		d.begun++
		d.inFlight++
		id := l.nextID
		l.nextID++
		if err := l.connect(id); err != nil {
			d.failed(fmt.Errorf("client %d: %w", id, err))
		}
	}
	for ; d.oldest < len(l.conns); d.oldest++ {
		c := &l.conns[d.oldest]
		if c.setup == nil {
			continue
		}
		if now-c.setup.start < patient {
			break
		}
		l.end(c, errors.New("no answer to the handshake"))
	}
	if d.begun < d.ask.N || d.inFlight > 0 {
		return nil, false
	}
	d.result.Seconds = float64(d.end-d.start) / 1e9
	d.result.Handshake = d.handshake.quantiles()
	return d.result, true
}

// connect begins to connect a client.
func (l *load) connect(id uint32) error {
	d := l.dial
	topic := int(id) % d.ask.Topics
	server := d.servers[topic%len(d.servers)]
	now := proto.Now()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := l.prepare(fd, id, server); err != nil {
		_ = unix.Close(fd)
		return err
	}
	l.conns = append(l.conns, conn{
		fd:         int32(fd),
		id:         id,
		topic:      uint32(topic),
		others:     make([]uint32, d.ask.Places-1),
		sampled:    id%sampleOf == 0,
		centrifuge: d.ask.Dialect == centrifuge,
		setup:      newSetup(now, server.String()),
	})
	if err := l.watch(len(l.conns)-1, unix.EPOLL_CTL_ADD, interest); err != nil {
		_ = unix.Close(fd)
		l.conns = l.conns[:len(l.conns)-1]
		return err
	}
	return nil
}

// prepare sets up a socket and begins to connect it.
func (l *load) prepare(fd int, id uint32, server netip.AddrPort) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("no delay: %w", err)
	}
	if server.Addr().IsLoopback() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fmt.Errorf("bind without a port: %w", err)
		}
		from := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + id/perAddress%addresses)}}
		if err := unix.Bind(fd, from); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	err := unix.Connect(fd, &unix.SockaddrInet4{Addr: server.Addr().As4(), Port: int(server.Port())})
	if err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// opened counts a client whose setup is done.
func (l *load) opened(c *conn) {
	d, now := l.dial, proto.Now()
	d.handshake.record(now - c.setup.start)
	c.setup = nil
	if l.win.active {
		c.settled = now + settle // it has missed what was published before
	}
	d.inFlight--
	d.end = now
	d.result.Connected++
	for i := range c.others {
		l.sendMember(c, l.other(c, i), true)
	}
}

// apart is how far the topics of a client are from each other.
func (d *dialing) apart() uint32 { return uint32(d.ask.Topics / d.ask.Places) }

// other is the topic that the i-th of c.others is for.
func (l *load) other(c *conn, i int) uint32 {
	return (c.topic + uint32(i+1)*l.dial.apart()) % uint32(l.dial.ask.Topics)
}

// failed counts a client that could not connect.
func (d *dialing) failed(err error) {
	d.inFlight--
	d.end = proto.Now()
	d.result.Failed++
	if d.result.FirstErr == "" {
		d.result.FirstErr = err.Error()
	}
}
