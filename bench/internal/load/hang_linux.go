package load

import (
	"encoding/binary"
	"fmt"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// hang ends the last n clients: at once, or when the server has answered their close frames.
func (l *load) hang(ask proto.Hang, start int64) job {
	left := ask.N
	if left <= 0 {
		left = len(l.conns)
	}
	var hung []int
	for i := len(l.conns) - 1; i >= 0 && len(hung) < left; i-- {
		if l.conns[i].fd >= 0 {
			hung = append(hung, i)
		}
	}
	l.hung = len(hung)
	normal := binary.BigEndian.AppendUint16(nil, 1000)
	for _, i := range hung {
		c := &l.conns[i]
		c.closing = true
		if !ask.Abort && !c.stalled {
			l.sendFrame(c, opClose, normal)
		}
		if c.fd >= 0 && (ask.Abort || c.stalled) {
			l.end(c, nil)
		}
	}
	return func(now int64) (any, bool) {
		late := now-start > patient
		if l.hung > 0 && !late {
			return nil, false
		}
		result := proto.Hung{N: len(hung), Seconds: float64(now-start) / 1e9}
		unanswered := l.hung
		for _, i := range hung {
			if c := &l.conns[i]; c.fd >= 0 {
				l.end(c, nil)
			}
		}
		l.trim()
		if unanswered > 0 {
			return fmt.Errorf("%d of %d close frames were not answered", unanswered, len(hung)), true
		}
		return result, true
	}
}
