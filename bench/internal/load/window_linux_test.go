package load

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// echoing is a server that sends back what comes.
func echoing(t testing.TB, compress bool) string {
	return serve(t, compress, func(c *websocket.Conn, _, _ int) {
		for {
			kind, p, err := c.ReadMessage()
			if err != nil {
				return
			}
			if err := c.WriteMessage(kind, p); err != nil {
				return
			}
		}
	})
}

func TestEach(t *testing.T) {
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprintf("compress=%v", compress), func(t *testing.T) {
			l := newLoader(t)
			l.dial(proto.Dial{Addrs: []string{echoing(t, compress)}, N: 5, Topics: 2, Compress: compress})
			l.begin(proto.Begin{Window: 1, Each: 20, EchoSize: 200})
			w := l.end(proto.End{})
			if w.Sent != 100 || w.Echoed != 100 || w.Trip.N != 100 || w.Trip.P50 <= 0 || w.Frames+w.Disorder+w.Damaged+w.Stray != 0 || w.Lost != 0 {
				t.Errorf("got %+v", w)
			}
			l.hang(proto.Hang{})
		})
	}
}

func TestEcho(t *testing.T) {
	l := newLoader(t)
	l.dial(proto.Dial{Addrs: []string{echoing(t, false)}, N: 3, Topics: 1})
	l.begin(proto.Begin{Window: 1, Echo: 1000})
	l.end(proto.End{Frames: 1, Timeout: 0.05, Quiet: 1}) // sends nothing more, waits for the last
	l.begin(proto.Begin{Window: 2, Echo: 1000, EchoSize: 1000})
	w := l.end(proto.End{})
	if w.Echoed != w.Sent || w.Trip.N != w.Sent || w.Disorder+w.Damaged+w.Stray != 0 {
		t.Errorf("got %+v", w)
	}
}

// TestEchoPace lets time pass that only the test knows: two clients of three, ten times a second each.
func TestEchoPace(t *testing.T) {
	l, far := bare(t, conn{id: 0}, conn{id: 1}, conn{id: 2})
	if err := l.beginWindow(proto.Begin{Window: 1, Echo: 10, Stalled: 1}); err != nil {
		t.Fatal(err)
	}
	start := l.win.echoer.start
	for _, after := range []int64{0, 49e6, 1000e6 - 1} {
		l.pace(start + after)
	}
	for i, want := range []int{10, 10, 0} {
		if got := sent(t, far[i]); len(got) != want {
			t.Errorf("client %d has sent %d", i, len(got))
		}
	}
	l.pace(start + 100e9)
	if l.win.got.Sent != 20+atOnce {
		t.Errorf("%d sent at once", l.win.got.Sent-20)
	}
	if !l.win.pacing() {
		t.Error("not pacing")
	}
	if _, err := l.endWindow(proto.End{}, start); err != nil || l.win.pacing() {
		t.Errorf("pacing after the end: %v", err)
	}
}

// TestEchoesCount sends client 5 echoes that are not what it sent.
func TestEchoesCount(t *testing.T) {
	const window = 1 | echoBit
	for _, v := range []struct {
		name   string
		echoes [][]byte
		want   proto.Window
	}{
		{"in order", [][]byte{payload(100, window, 5, 1), payload(100, window, 5, 2)}, proto.Window{Echoed: 2}},
		{"one is missing", [][]byte{payload(100, window, 5, 2), payload(100, window, 5, 3)}, proto.Window{Echoed: 2, Disorder: 1}},
		{"another client's", [][]byte{payload(100, window, 4, 1)}, proto.Window{Stray: 1}},
		{"another window's", [][]byte{payload(100, 2|echoBit, 5, 1)}, proto.Window{Stray: 1}},
		{"too long", [][]byte{payload(101, window, 5, 1)}, proto.Window{Damaged: 1}},
	} {
		l, _ := bare(t, conn{id: 5})
		if err := l.beginWindow(proto.Begin{Window: 1, Echo: 1, EchoSize: 100}); err != nil {
			t.Fatal(err)
		}
		for _, p := range v.echoes {
			l.frames(&l.conns[0], frame(final|opText, p), proto.Now())
		}
		if l.win.got != v.want {
			t.Errorf("%s: got %+v", v.name, l.win.got)
		}
	}
}

// TestChurn lets time pass that only the test knows.
func TestChurn(t *testing.T) {
	l, far := bare(t, conn{topic: 7}, conn{topic: 8})
	if err := l.beginWindow(proto.Begin{Window: 1, Size: size, Churn: 10}); err != nil {
		t.Fatal(err)
	}
	start := l.win.churner.start
	receive := func(number uint32, at int64) {
		p := proto.Fill(size, "x")
		proto.Set(p, 1, 7, number, at)
		l.frames(&l.conns[0], frame(final|opText, p), at)
	}
	receive(1, start)
	receive(3, start)
	if l.win.got.Missing != 1 {
		t.Errorf("missing before it left: %+v", l.win.got)
	}
	l.pace(start + 1)     // client 0 leaves
	receive(4, start+1e6) // this was on its way
	receive(6, start+2e6)
	l.pace(start + 100e6 + 1) // and joins
	receive(10, start+200e6)  // a second later it has to be in again
	receive(11, start+1100e6+1)
	if l.win.got.Missing != 1 {
		t.Errorf("missing while it was away: %+v", l.win.got)
	}
	receive(13, start+1100e6+2)
	if l.win.got.Missing != 2 {
		t.Errorf("missing after it joined: %+v", l.win.got)
	}
	l.pace(start + 200e6 + 1) // client 1 leaves
	l.pace(start + 300e6 + 1) // and joins
	l.pace(start + 400e6 + 1) // client 0 leaves
	if _, err := l.endWindow(proto.End{}, start); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"0x81 -t7", "0x81 +t7", "0x81 -t7", "0x81 +t7"}, {"0x81 -t8", "0x81 +t8"}} {
		if got := sent(t, far[i]); !slices.Equal(got, want) {
			t.Errorf("client %d has sent %q", i, got)
		}
	}
}

func TestStalled(t *testing.T) {
	l := newLoader(t)
	addr, accepted := peers(t, 3)
	l.dial(proto.Dial{Addrs: []string{addr}, N: 3, Topics: 1})
	all := collect(t, accepted, 3)
	l.begin(proto.Begin{Window: 1, Size: size, Stalled: 1})
	var many []byte
	for n := range uint32(100_000) { // more than all buffers hold
		many = append(many, frame(final|opText, payload(size, 1, 0, n+1))...)
	}
	written := make(chan error, 1)
	go func() { // ends when the client is read again
		_, err := all[2].Write(many)
		written <- err
	}()
	for _, p := range all[:2] {
		p.write(t, many[:10*(size+4)])
	}
	w := l.end(proto.End{Frames: 20})
	if w.Frames != 20 || w.Bytes != 20*(size+4) || w.Missing+w.Disorder+w.Damaged+w.Stray != 0 || w.Lost != 0 {
		t.Errorf("got %+v", w)
	}
	if err := <-written; err != nil {
		t.Errorf("the stalled client: %v", err)
	}
	// What comes next comes behind everything that it had missed.
	l.begin(proto.Begin{Window: 2, Size: size})
	for _, p := range all {
		p.write(t, frame(final|opText, payload(size, 2, 0, 1)))
	}
	if w := l.end(proto.End{Frames: 3}); w.Frames != 3 || w.Missing+w.Disorder+w.Damaged != 0 || w.Lost != 0 {
		t.Errorf("got %+v", w)
	}
}

// TestStalledEnds has a server throw out the client that does not read.
func TestStalledEnds(t *testing.T) {
	l := newLoader(t)
	addr, accepted := peers(t, 2)
	l.dial(proto.Dial{Addrs: []string{addr}, N: 2, Topics: 1})
	all := collect(t, accepted, 2)
	l.begin(proto.Begin{Window: 1, Size: size, Stalled: 1})
	all[1].Close()
	all[0].write(t, frame(final|opText, payload(size, 1, 0, 1)))
	if w := l.end(proto.End{Frames: 1}); w.Frames != 1 || w.Lost != 0 {
		t.Errorf("got %+v", w)
	}
	if h := l.hang(proto.Hang{Abort: true}); h.N == 0 || h.N > 2 {
		t.Errorf("hung: %+v", h)
	}
}

// TestSlowServer has a client send more than its socket takes.
func TestSlowServer(t *testing.T) {
	l, far := bare(t, conn{})
	c := &l.conns[0]
	const n, size = 20, 1 << 16
	if err := l.beginWindow(proto.Begin{Window: 1, Echo: 1, EchoSize: size}); err != nil {
		t.Fatal(err)
	}
	for range n {
		l.sendEcho(c)
	}
	if len(c.out) == 0 {
		t.Fatal("the socket has taken everything")
	}
	var got []byte
	b := make([]byte, 1<<17)
	for {
		k, err := unix.Read(far[0], b)
		if err == unix.EAGAIN {
			if len(c.out) == 0 {
				break
			}
			l.ready(c, unix.EPOLLOUT)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b[:k]...)
	}
	const header = 14
	if len(got) != n*(header+size) || c.out != nil {
		t.Fatalf("%d bytes have come, %d are kept", len(got), len(c.out))
	}
	for i := range n {
		m := got[i*(header+size):][:header+size]
		mask, p := m[header-4:header], m[header:]
		for i := range p {
			p[i] ^= mask[i%4]
		}
		window, _, number, _, ok := proto.Parse(p[:proto.Head])
		if m[0] != final|opText || m[1] != masked|127 || !ok || window != 1|echoBit || number != uint32(i+1) || p[size-1] != '}' {
			t.Errorf("message %d: %#x, %d %d %v", i+1, m[:2], window, number, ok)
		}
	}
}
