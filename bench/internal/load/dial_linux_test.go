package load

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// raw answers each connection's request with what answer makes of its key, and then keeps it until the client ends it.
func raw(t *testing.T, answer func(accept string) string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the listener, which the cleanup closes
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				t.Errorf("request: %v", err)
				return
			}
			var s setup
			s.key(r.Header.Get("Sec-WebSocket-Key"))
			_, _ = c.Write([]byte(answer(s.accept)))
			_, _ = c.Read(make([]byte, 1))
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestHandshakeFails(t *testing.T) {
	const good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n"
	for _, v := range []struct {
		name     string
		compress bool
		answer   func(accept string) string
		want     string
	}{
		{"refused", false, func(string) string { return "HTTP/1.1 503 Busy\r\n\r\n" }, "503 Busy"},
		{"other key", false, func(string) string { return fmt.Sprintf(good+"\r\n", "abc") }, `"abc"`},
		{"no HTTP", false, func(string) string { return "220 hello\r\n\r\n" }, "220 hello"},
		{"without an end", false, func(string) string { return strings.Repeat("x", 2*maxAnswer) }, "without an end"},
		{"compressed unasked", false, func(a string) string {
			return fmt.Sprintf(good+"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", a)
		}, "not offered"},
		{"not compressed", true, func(a string) string { return fmt.Sprintf(good+"\r\n", a) }, "without context"},
		{"with context", true, func(a string) string {
			return fmt.Sprintf(good+"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n", a)
		}, "without context"},
	} {
		t.Run(v.name, func(t *testing.T) {
			l := newLoader(t)
			l.request(proto.DoDial, proto.Dial{Addrs: []string{raw(t, v.answer)}, N: 2, Topics: 1, Compress: v.compress})
			var d proto.Dialed
			if err := l.answer(proto.DoDial, &d); err != nil {
				t.Fatal(err)
			}
			if d.Connected != 0 || d.Failed != 2 || !strings.Contains(d.FirstErr, v.want) {
				t.Errorf("got %+v", d)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	l := newLoader(t)
	addr, accepted := peers(t, 10)
	l.request(proto.DoDial, proto.Dial{Addrs: []string{addr, nobody.Addr().String()}, N: 10, Topics: 2})
	var d proto.Dialed
	if err := l.answer(proto.DoDial, &d); err != nil {
		t.Fatal(err)
	}
	if d.Connected != 5 || d.Failed != 5 || !strings.Contains(d.FirstErr, "client 1: connect") {
		t.Errorf("got %+v", d)
	}
	for range 5 {
		p := <-accepted
		defer p.Close()
	}
	if h := l.hang(proto.Hang{Abort: true}); h.N != 5 {
		t.Errorf("hung: %+v", h)
	}
}

// TestAnswerInPieces has the answer come byte by byte, with a payload behind it.
func TestAnswerInPieces(t *testing.T) {
	l, _ := bare(t, conn{})
	c := &l.conns[0]
	l.dial = &dialing{inFlight: 1, handshake: newTimes()}
	c.setup = &setup{asked: true}
	c.setup.key("abc")
	answer := "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept:  " + c.setup.accept + " \r\n\r\n"
	if err := l.beginWindow(proto.Begin{Window: 1, Size: size}); err != nil {
		t.Fatal(err)
	}
	now := proto.Now()
	for _, b := range []byte(answer) {
		if c.setup == nil {
			t.Fatal("open before the answer was there")
		}
		l.received(c, []byte{b}, now)
	}
	if c.setup != nil || l.dial.result.Connected != 1 || l.dial.inFlight != 0 {
		t.Fatalf("dialed: %+v", l.dial.result)
	}
	l.received(c, frame(final|opText, payload(size, 1, 0, 7)), now)
	if w := l.win.got; w.Frames != 1 || w.Missing != 0 {
		t.Errorf("a client that came later: %+v", w)
	}
}

// TestSilentServer lets time pass that only the test knows.
func TestSilentServer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	l, _ := bare(t)
	start := proto.Now()
	dial, err := l.beginDial(proto.Dial{Addrs: []string{silent.Addr().String()}, N: 3, Topics: 1, InFlight: 2}, start)
	if err != nil {
		t.Fatal(err)
	}
	if _, done := dial(start); done || l.dial.begun != 2 {
		t.Errorf("%d handshakes at a time, %v", l.dial.begun, done)
	}
	later := proto.Now() + patient
	if _, done := dial(later); done || l.dial.result.Failed != 2 || !strings.Contains(l.dial.result.FirstErr, "no answer") {
		t.Errorf("after the first have failed: %+v", l.dial.result)
	}
	dial(start)
	result, done := dial(proto.Now() + patient)
	if d, _ := result.(proto.Dialed); !done || d.Failed != 3 {
		t.Errorf("got %+v, %v", result, done)
	}
}

// TestRate lets time pass that only the test knows.
func TestRate(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	l, _ := bare(t)
	dial, err := l.beginDial(proto.Dial{Addrs: []string{silent.Addr().String()}, N: 50, Topics: 1, Rate: 10}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for tenth, want := range []int{1, 2, 3, 4} {
		if dial(int64(tenth)*1e8 + 1); l.dial.begun != want || !l.dial.pacing() {
			t.Errorf("after %d tenths of a second: %d begun, %v", tenth, l.dial.begun, l.dial.pacing())
		}
	}
}

func TestHang(t *testing.T) {
	l := newLoader(t)
	addr, accepted := peers(t, 6)
	l.dial(proto.Dial{Addrs: []string{addr}, N: 6, Topics: 1})
	all := collect(t, accepted, 6)
	l.begin(proto.Begin{Window: 1, Size: size})

	l.request(proto.DoHang, proto.Hang{N: 2})
	for _, p := range all[4:] {
		if first, b := p.next(t); first != final|opClose || string(b) != "\x03\xe8" {
			t.Errorf("client %d: %#x %q", p.id, first, b)
		}
	}
	all[4].write(t, frame(final|opClose, []byte("\x03\xe8"))) // an answer
	all[5].Close()                                            // none, but an end
	var h proto.Hung
	if err := l.answer(proto.DoHang, &h); err != nil || h.N != 2 || h.Seconds <= 0 {
		t.Errorf("the last two: %+v, %v", h, err)
	}
	if _, err := all[4].r.ReadByte(); err == nil {
		t.Error("client 4 is still there")
	}

	if h := l.hang(proto.Hang{N: 1, Abort: true}); h.N != 1 {
		t.Errorf("abort: %+v", h)
	}
	if _, err := all[3].r.ReadByte(); err == nil {
		t.Error("client 3 is still there")
	}
	for _, p := range all[:3] {
		p.write(t, frame(final|opText, payload(size, 1, 0, 1)))
	}
	if w := l.end(proto.End{Frames: 3}); w.Frames != 3 || w.Lost != 0 {
		t.Errorf("the others: %+v", w)
	}
	if h := l.hang(proto.Hang{Abort: true}); h.N != 3 {
		t.Errorf("all: %+v", h)
	}

	l.dial(proto.Dial{Addrs: []string{addr}, N: 2, Topics: 4})
	for range 2 {
		if p := <-accepted; p.id < 6 || p.id > 7 || p.topic != p.id%4 {
			t.Errorf("client %d of topic %d after six", p.id, p.topic)
		}
	}
}

// TestHangUnanswered lets time pass that only the test knows.
func TestHangUnanswered(t *testing.T) {
	l, far := bare(t, conn{}, conn{}, conn{})
	start := proto.Now()
	hang := l.hang(proto.Hang{N: 2}, start)
	if got := sent(t, far[2]); len(got) != 1 || got[0] != "0x88 \x03\xe8" {
		t.Errorf("sent %q", got)
	}
	l.frames(&l.conns[2], frame(final|opClose, nil), start)
	if _, done := hang(start + patient); done {
		t.Error("hung without the second answer")
	}
	result, done := hang(start + patient + 1)
	if err, _ := result.(error); !done || err == nil || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("got %v, %v", result, done)
	}
	if len(l.conns) != 1 || l.conns[0].fd < 0 {
		t.Errorf("%d clients left", len(l.conns))
	}
}
