package wire

import (
	"bufio"
	"net/http"
	"runtime"
	"testing"
)

// An idle connection that needs a buffer to wait with holds that, small state, and nothing that net/http had buffered.
func TestIdleConnMemory(t *testing.T) {
	const n = 500
	conns := make([]*Conn, n)
	pipes := make([]*MemConn, n)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for i := range pipes {
		pipes[i], _ = Pipe(4 << 10)
		pipes[i].TryWrite(make([]byte, 300)) // the ring that the handshake grows
	}
	before := heap()
	for i := range conns {
		w := &hijackable{conn: pipes[i], br: bufio.NewReader(pipes[i]), header: http.Header{}}
		c, err := Accept(w, upgradeRequest(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c
	}
	each := (int64(heap()) - int64(before)) / n
	t.Logf("%d bytes each", each)
	if each > 2<<10 {
		t.Errorf("an idle connection holds %d bytes", each)
	}
	for _, c := range conns {
		c.CloseNow()
	}
}
