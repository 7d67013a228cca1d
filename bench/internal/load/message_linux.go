package load

import (
	"fmt"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// echoBit in a payload's window says that a client sent it and that it comes back.
const echoBit = 1 << 31

// whole tells whether the messages of c whose first frame begins with first are looked at in whole.
func (l *load) whole(c *conn, first byte) bool {
	return c.centrifuge || first&rsv1 != 0 && l.inflates(c)
}

// inflates tells whether compressed messages of c are inflated: those of some clients, as a sample, and all where what is
// inside decides what they count for.
func (l *load) inflates(c *conn) bool { return c.sampled || c.centrifuge || l.win.echoes }

// message takes a message: its first frame's first byte, its size, its last byte, and of its bytes at least the first
// proto.Head, or all where whole says so.
func (l *load) message(c *conn, first byte, p []byte, size int, last byte, now int64) {
	if first&rsv1 != 0 {
		if !c.deflate {
			l.broken(c, fmt.Errorf("a frame with the first byte %#x", first))
			return
		}
		if !l.inflates(c) || len(p) < size { // the latter began when it was not to be inflated
			if l.win.active && !c.stalled {
				l.win.count(now)
			}
			return
		}
		var err error
		if p, err = l.flate.inflate(p); err != nil {
			l.broken(c, fmt.Errorf("inflate: %w", err))
			return
		}
		if size = len(p); size > 0 {
			last = p[size-1]
		}
	}
	if c.centrifuge {
		l.replies(c, p, now)
		return
	}
	l.payload(c, p[:min(len(p), proto.Head)], size, last, now)
}

// payload counts a payload by its first proto.Head bytes, its size and its last byte.
func (l *load) payload(c *conn, head []byte, size int, end byte, now int64) {
	w := &l.win
	if !w.active || c.stalled {
		return
	}
	window, key, number, t, ok := proto.Parse(head)
	switch {
	case !ok || end != '}':
		w.got.Damaged++
		return
	case window&echoBit != 0:
		l.echoed(c, window, key, number, size, t, now)
		return
	case window != w.ask.Window:
		w.got.Stray++
		return
	}
	last := l.last(c, key)
	switch {
	case last == nil:
		w.got.Stray++
		return
	case size != w.ask.Size:
		w.got.Damaged++
		return
	}
	switch {
	case number == *last+1:
		*last = number
	case number <= *last:
		w.got.Disorder++
	default:
		if c.settled == 0 {
			w.got.Missing += int64(number - *last - 1)
		}
		*last = number
	}
	if c.settled != 0 && t >= c.settled {
		c.settled = 0
	}
	w.latency.record(now - t)
	w.count(now)
}

// last is the last number of the payloads for c with this key; nil if they are for others.
func (l *load) last(c *conn, key uint32) *uint32 {
	switch {
	case l.win.ask.Direct:
		if key == c.id {
			return &c.last
		}
	case key == c.topic:
		return &c.last
	case len(c.others) > 0 && key < uint32(l.dial.ask.Topics):
		away, apart := key-c.topic, l.dial.apart()
		if key < c.topic {
			away += uint32(l.dial.ask.Topics)
		}
		if away%apart == 0 {
			return &c.others[away/apart-1]
		}
	}
	return nil
}

// echoed counts what a client sent at t and got back, and sends the next of those that wait for their echoes.
func (l *load) echoed(c *conn, window, key, number uint32, size int, t, now int64) {
	w := &l.win
	switch {
	case window != w.ask.Window|echoBit || key != c.id:
		w.got.Stray++
		return
	case size != len(w.echo):
		w.got.Damaged++
		return
	case number != c.echoed+1:
		w.got.Disorder++
	}
	c.echoed = number
	w.got.Echoed++
	w.recent = now
	w.trip.record(now - t)
	if int(c.asked) < w.ask.Each && c.takesPart() {
		l.sendEcho(c)
	}
}
