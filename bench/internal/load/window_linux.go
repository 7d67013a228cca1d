package load

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// window is what is counted between Begin and End.
type window struct {
	ask    proto.Begin
	got    proto.Window
	active bool

	first, recent int64 // when the first payload, and the last payload or echo, was read
	last          int64 // when the last payload was read
	latency, trip times
	cpu           float64 // when the window began

	echoes bool   // clients send messages that come back
	echo   []byte // one of them
	echoer pacer
	starts int // the slot of the next client that sends its first of Each; all have when it is past the end

	churner pacer
	left    int // the slot of the client that has left, or -1
}

func newWindow() window { return window{latency: newTimes(), trip: newTimes(), left: -1} }

// count counts a payload.
func (w *window) count(now int64) {
	if w.got.Frames == 0 {
		w.first = now
	}
	w.got.Frames++
	w.last, w.recent = now, now
}

// busy tells whether there is something to do without waiting for events, among so many connections.
func (w *window) busy(conns int) bool { return w.active && w.ask.Each > 0 && w.starts < conns }

func (w *window) pacing() bool { return w.active && (w.echoer.rate > 0 || w.churner.rate > 0) }

func (l *load) beginWindow(ask proto.Begin) error {
	if err := check(ask); err != nil {
		return err
	}
	l.stall(0)
	w := &l.win
	latency, trip := w.latency, w.trip
	latency.reset()
	trip.reset()
	*w = window{ask: ask, latency: latency, trip: trip, left: -1}
	l.trim()
	clients := 0
	for i := range l.conns {
		c := &l.conns[i]
		c.last, c.asked, c.echoed, c.settled = 0, 0, 0, 0
		clear(c.others)
		if c.takesPart() {
			clients++
		}
	}
	if err := l.stall(ask.Stalled); err != nil {
		return err
	}
	if w.echoes = ask.Echo > 0 || ask.Each > 0; w.echoes {
		w.echo = proto.Fill(ask.EchoSize, "x")
	}
	now := proto.Now()
	w.cpu = cpu()
	w.echoer = pacer{rate: ask.Echo * float64(clients-min(clients, ask.Stalled)), start: now}
	w.churner = pacer{rate: ask.Churn, start: now}
	w.active = true
	return nil
}

func check(ask proto.Begin) error {
	if ask.Window >= echoBit {
		return fmt.Errorf("window %d: the highest bit is for echoes", ask.Window)
	}
	if ask.Stalled < 0 || ask.Echo < 0 || ask.Churn < 0 || ask.Each < 0 || ask.Echo > 0 && ask.Each > 0 {
		return errors.New("a number below zero, or Echo and Each at once")
	}
	return nil
}

// stall stops reading from the last n clients, and reads from all others again. The kernels' buffers hide a stalled client
// from the server until they are full, some 64 KB here and up to 4 MB there. A smaller SO_RCVBUF is no way out: it drops
// what was promised to fit, and the sender's retransmissions, further and further apart, outlast the window.
func (l *load) stall(n int) error {
	for i := len(l.conns) - 1; i >= 0; i-- {
		c := &l.conns[i]
		stalled := n > 0 && c.takesPart()
		if stalled {
			n--
		}
		if stalled == c.stalled || c.fd < 0 {
			continue
		}
		events := uint32(interest)
		if stalled {
			events = 0
		}
		if err := l.watch(i, unix.EPOLL_CTL_MOD, events); err != nil {
			return fmt.Errorf("stall client %d: %w", c.id, err)
		}
		c.stalled = stalled
	}
	if n > 0 {
		return fmt.Errorf("%d clients too few to stall", n)
	}
	return nil
}

func (l *load) endWindow(ask proto.End, asked int64) (job, error) {
	w := &l.win
	if !w.active {
		return nil, errors.New("no window has begun")
	}
	if ask.Quiet == 0 {
		ask.Quiet = 2
	}
	if ask.Timeout == 0 {
		ask.Timeout = 30
	}
	w.echoer.rate, w.churner.rate = 0, 0
	if w.left >= 0 {
		l.rejoin(asked)
	}
	return func(now int64) (any, bool) {
		all := w.got.Frames >= ask.Frames && w.got.Echoed >= w.got.Sent && !w.busy(len(l.conns))
		quiet := now-max(w.recent, asked) > int64(ask.Quiet*1e9)
		if !all && !quiet && now-asked < int64(ask.Timeout*1e9) {
			return nil, false
		}
		w.active = false
		w.got.CPU = cpu() - w.cpu
		if w.got.Frames > 0 {
			w.got.Seconds = float64(w.last-w.first) / 1e9
		}
		w.got.Latency, w.got.Trip = w.latency.quantiles(), w.trip.quantiles()
		if err := l.stall(0); err != nil {
			return err, true
		}
		return w.got, true
	}, nil
}

// pace sends what is due by now.
func (l *load) pace(now int64) {
	w := &l.win
	if !w.active {
		return
	}
	for range w.echoer.due(now) {
		if slot, ok := l.nextClient(&w.echoer); ok {
			l.sendEcho(&l.conns[slot])
		}
	}
	for range w.churner.due(now) {
		l.churn(now)
	}
	for end := min(w.starts+atOnce, len(l.conns)); w.ask.Each > 0 && w.starts < end; w.starts++ {
		if c := &l.conns[w.starts]; c.takesPart() {
			l.sendEcho(c)
		}
	}
}

// sendEcho sends a message that comes back.
func (l *load) sendEcho(c *conn) {
	c.asked++
	l.win.got.Sent++
	proto.Set(l.win.echo, l.win.ask.Window|echoBit, c.id, c.asked, proto.Now())
	if c.centrifuge {
		l.sendCall(c, l.win.echo)
		return
	}
	l.sendFrame(c, opText, l.win.echo)
}

// churn lets the client that has left join again, or the next one leave.
func (l *load) churn(now int64) {
	w := &l.win
	if w.left >= 0 {
		w.churner.done++
		l.rejoin(now)
		return
	}
	if slot, ok := l.nextClient(&w.churner); ok {
		c := &l.conns[slot]
		c.settled = away
		w.left = slot
		l.sendMember(c, c.topic, false)
	}
}

// nextClient is whose turn it is: those that do not take part lose theirs.
func (l *load) nextClient(p *pacer) (slot int, ok bool) {
	p.done++
	for range l.conns {
		slot = p.turn % len(l.conns)
		p.turn++
		if l.conns[slot].takesPart() {
			return slot, true
		}
	}
	return 0, false
}

func (l *load) rejoin(now int64) {
	c := &l.conns[l.win.left]
	l.win.left = -1
	if c.takesPart() {
		c.settled = now + settle
		l.sendMember(c, c.topic, true)
	}
}

// sendMember asks to join a topic, or to leave it.
func (l *load) sendMember(c *conn, topic uint32, join bool) {
	if c.centrifuge {
		l.sendSubscribe(c, topic, join)
		return
	}
	sign := byte('-')
	if join {
		sign = '+'
	}
	l.sendFrame(c, opText, fmt.Appendf(nil, "%ct%d", sign, topic))
}

// cpu is the time that the process has used, user and system, in seconds.
func cpu() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

const (
	// atOnce bounds how much is sent before events are looked at again.
	atOnce = 256
	// settle is how long, in nanoseconds, a server may take to let a client in.
	settle = int64(1e9)
)

// pacer spreads something over time and clients: the k-th is due k/rate after start, whatever the earlier ones took.
type pacer struct {
	rate  float64 // a second; 0 for never
	start int64
	done  int64
	turn  int // the slot of the next client, modulo all
}

// due is how many are due and not done, up to atOnce.
func (p *pacer) due(now int64) int64 {
	if p.rate == 0 {
		return 0
	}
	return min(int64(float64(now-p.start)/1e9*p.rate)+1-p.done, atOnce)
}
