package wire

import (
	"sync"
	"sync/atomic"
)

// maxUnanswered is how many pings may arrive while one pong waits for the socket. Only the newest is answered; a peer
// that sends this many without reading one answer is flooding.
const maxUnanswered = 1024

// A lane holds the control frames that wait for the write owner: at most one ping, one pong and one close frame.
// Anybody puts frames in; only the write owner takes them out.
type lane struct {
	// bits says what waits, and what has happened to the close frame. Changed under mu, read without.
	bits atomic.Uint32

	mu         sync.Mutex // guards the rest; a leaf, nothing is called under it
	bytes      []byte     // the close frame while laneClose is set, or the payload of the newest ping while lanePong is
	unanswered int        // pings since a pong was last taken
}

// Bits of lane.bits.
const (
	lanePing   = 1 << iota // a ping waits
	lanePong               // a pong waits
	laneClose              // the close frame waits
	laneClosed             // a close frame was queued, ever: nothing else goes in
)

// putPong queues the answer to a ping in place of an older one. flood says that there were too many.
func (l *lane) putPong(payload []byte) (queued, flood bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bits := l.bits.Load()
	if bits&laneClosed != 0 {
		return false, false
	}
	l.bytes = append(l.bytes[:0], payload...)
	l.unanswered++
	l.bits.Store(bits | lanePong)
	return true, l.unanswered > maxUnanswered
}

func (l *lane) putPing() (queued bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bits := l.bits.Load()
	if bits&(laneClosed|lanePing) != 0 {
		return false
	}
	l.bits.Store(bits | lanePing)
	return true
}

// putClose queues the close frame; what else waits will not be sent.
func (l *lane) putClose(code int, reason string) (queued bool) {
	if l.bits.Load()&laneClosed != 0 {
		return false
	}
	frame := closeFrame(code, reason)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bits.Load()&laneClosed != 0 {
		return false
	}
	l.bytes = frame
	l.bits.Store(laneClosed | laneClose)
	return true
}

// take appends what waits to dst. last says that the close frame was among it.
func (l *lane) take(dst []byte) (frames []byte, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bits := l.bits.Load()
	if bits&laneClose != 0 {
		dst = append(dst, l.bytes...)
		l.bytes = nil
		l.bits.Store(laneClosed)
		return dst, true
	}
	if bits&lanePong != 0 {
		dst = AppendFrame(dst, OpPong, l.bytes)
		// Most connections never see a ping: its few bytes are not kept.
		l.bytes, l.unanswered = nil, 0
	}
	if bits&lanePing != 0 {
		dst = AppendFrame(dst, OpPing, nil)
	}
	l.bits.Store(bits &^ (lanePong | lanePing))
	return dst, false
}

func (l *lane) waiting() bool { return l.bits.Load()&(lanePing|lanePong|laneClose) != 0 }
func (l *lane) closed() bool  { return l.bits.Load()&laneClosed != 0 }
