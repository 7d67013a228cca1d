package load

import (
	"testing"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

const size = 128

func TestWindow(t *testing.T) {
	l := newLoader(t)
	addr, accepted := peers(t, 4)
	d := l.dial(proto.Dial{Addrs: []string{addr}, N: 4, Topics: 2})
	if d.Seconds <= 0 || d.Handshake.N != 4 {
		t.Errorf("dialed: %+v", d)
	}
	all := collect(t, accepted, 4)
	l.begin(proto.Begin{Window: 7, Size: size})
	for n := range uint32(10) {
		for _, p := range all {
			p.write(t, frame(final|opText, payload(size, 7, uint32(p.topic), n+1)))
		}
	}
	w := l.end(proto.End{Frames: 40})
	if w.Frames != 40 || w.Bytes != 40*(size+4) || w.Missing+w.Disorder+w.Damaged+w.Stray != 0 || w.Lost != 0 {
		t.Errorf("got %+v", w)
	}
	if q := w.Latency; q.N != 40 || q.P50 <= 0 || q.P50 > q.P99 || q.P99 > q.P999 || q.P999 > q.Max {
		t.Errorf("latency: %+v", q)
	}
	if w.Seconds <= 0 || w.CPU <= 0 {
		t.Errorf("%v seconds, %v of CPU", w.Seconds, w.CPU)
	}
}
