package load

import (
	"bytes"
	"compress/flate"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// deflated is p as a message that stands alone.
func deflated(t *testing.T, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

func TestInflate(t *testing.T) {
	var f inflater
	for range 2 { // with the same memory
		for _, p := range []string{"", "x", strings.Repeat("long and always the same ", 10_000)} {
			if got, err := f.inflate(deflated(t, []byte(p))); err != nil || string(got) != p {
				t.Errorf("%d bytes: got %d, %v", len(p), len(got), err)
			}
		}
		if _, err := f.inflate([]byte("\xff\xff")); err == nil {
			t.Error("no error for what is not deflated")
		}
	}
}

func TestCompressed(t *testing.T) {
	l := newLoader(t)
	release := make(chan struct{})
	const clients = sampleOf + 3
	joined := make(chan struct{}, clients)
	addr := serve(t, true, func(c *websocket.Conn, _, topic int) {
		joined <- struct{}{}
		<-release
		for n := range uint32(10) {
			p, err := websocket.NewPreparedMessage(websocket.TextMessage, payload(1024, 1, uint32(topic), n+1))
			if err != nil {
				t.Error(err)
			}
			if err := c.WritePreparedMessage(p); err != nil {
				t.Error(err)
			}
		}
		_, _, _ = c.ReadMessage()
	})
	l.dial(proto.Dial{Addrs: []string{addr}, N: clients, Topics: 2, Compress: true})
	for range clients {
		<-joined
	}
	l.begin(proto.Begin{Window: 1, Size: 1024})
	close(release)
	w := l.end(proto.End{Frames: 10 * clients})
	if w.Frames != 10*clients || w.Bytes >= 10*clients*1024 || w.Missing+w.Disorder+w.Damaged+w.Stray != 0 || w.Lost != 0 {
		t.Errorf("got %+v", w)
	}
	if w.Latency.N != 20 { // of clients 0 and 50
		t.Errorf("latency of %d frames", w.Latency.N)
	}
	l.hang(proto.Hang{})
}

// TestCompressedIsChecked has a sampled client get what is not a payload, or not the next.
func TestCompressedIsChecked(t *testing.T) {
	good := deflated(t, payload(1024, 1, 0, 1))
	for _, v := range []struct {
		name string
		p    []byte
		want proto.Window
	}{
		{"good", good, proto.Window{Frames: 1}},
		{"missing", deflated(t, payload(1024, 1, 0, 3)), proto.Window{Frames: 1, Missing: 2}},
		{"short", deflated(t, payload(1023, 1, 0, 1)), proto.Window{Damaged: 1}},
		{"cut", good[:len(good)/2], proto.Window{Damaged: 1, Lost: 1}},
		{"of the message before", []byte("\xff"), proto.Window{Damaged: 1, Lost: 1}},
	} {
		for _, cut := range []int{0, 1} { // whole, and in two reads
			l, _ := bare(t, conn{deflate: true, sampled: true})
			if err := l.beginWindow(proto.Begin{Window: 1, Size: 1024}); err != nil {
				t.Fatal(err)
			}
			b := frame(final|rsv1|opText, v.p)
			l.frames(&l.conns[0], b[:cut], 0)
			l.frames(&l.conns[0], b[cut:], 0)
			if l.win.got != v.want {
				t.Errorf("%s: got %+v", v.name, l.win.got)
			}
		}
	}
}
