package load

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// greet is a server's part of a setup.
func (p *peer) greet(t *testing.T) {
	t.Helper()
	for _, v := range []struct{ want, reply string }{
		{`{"id":1,"connect":{}}`, `{"id":1,"connect":{"client":"c","version":"1","ping":25,"pong":true}}`},
		{fmt.Sprintf(`{"id":2,"subscribe":{"channel":"t%d"}}`, p.topic), `{"id":2,"subscribe":{}}`},
	} {
		if _, b := p.next(t); string(b) != v.want {
			t.Fatalf("client %d sent %s", p.id, b)
		}
		p.write(t, frame(final|opText, []byte(v.reply)))
	}
}

func push(topic int, p []byte) string {
	return fmt.Sprintf(`{"push":{"channel":"t%d","pub":{"data":%s}}}`, topic, p)
}

func TestCentrifuge(t *testing.T) {
	l := newLoader(t)
	addr, accepted := peers(t, 2)
	l.request(proto.DoDial, proto.Dial{Addrs: []string{addr}, N: 2, Topics: 2, Dialect: centrifuge})
	all := collect(t, accepted, 2)
	for _, p := range all {
		p.greet(t)
	}
	var d proto.Dialed
	if err := l.answer(proto.DoDial, &d); err != nil || d.Connected != 2 {
		t.Fatalf("dialed: %+v, %v", d, err)
	}
	l.begin(proto.Begin{Window: 1, Size: size, Each: 2, EchoSize: 100})
	for _, p := range all {
		lines := []string{"{}"}
		for n := range uint32(3) {
			lines = append(lines, push(p.topic, payload(size, 1, uint32(p.topic), n+1)))
		}
		p.write(t, frame(final|opText, []byte(strings.Join(lines, "\n"))))
		pongs, calls := 0, 0
		for pongs < 1 || calls < 2 {
			_, b := p.next(t)
			if string(b) == "{}" {
				pongs++
				continue
			}
			data, ok := strings.CutPrefix(string(b), `{"id":3,"rpc":{"data":`)
			data, ok2 := strings.CutSuffix(data, "}}")
			if !ok || !ok2 || len(data) != 100 {
				t.Fatalf("client %d sent %s", p.id, b)
			}
			calls++
			p.write(t, frame(final|opText, fmt.Appendf(nil, `{"id":3,"rpc":{"data":%s}}`+"\n", data)))
		}
		p.write(t, frame(final|opText, []byte(push(p.topic, payload(size, 1, uint32(p.topic), 4)))))
	}
	w := l.end(proto.End{Frames: 8})
	if w.Frames != 8 || w.Sent != 4 || w.Echoed != 4 || w.Missing+w.Disorder+w.Damaged+w.Stray != 0 || w.Lost != 0 {
		t.Errorf("got %+v", w)
	}
}

func TestCentrifugeRefuses(t *testing.T) {
	for _, v := range []struct{ name, first, second, want string }{
		{"connect", `{"id":1,"error":{"code":101,"message":"unauthorized"}}`, "", "command 1: "},
		{"subscribe", `{"id":1,"connect":{}}`, `{"id":2,"error":{"code":103,"message":"permission denied"}}`, "permission denied"},
		{"no JSON", "hello", "", "hello"},
	} {
		t.Run(v.name, func(t *testing.T) {
			l := newLoader(t)
			addr, accepted := peers(t, 1)
			l.request(proto.DoDial, proto.Dial{Addrs: []string{addr}, N: 1, Topics: 1, Dialect: centrifuge})
			p := collect(t, accepted, 1)[0]
			for _, reply := range []string{v.first, v.second} {
				if reply != "" {
					p.next(t)
					p.write(t, frame(final|opText, []byte(reply)))
				}
			}
			var d proto.Dialed
			if err := l.answer(proto.DoDial, &d); err != nil || d.Failed != 1 || !strings.Contains(d.FirstErr, v.want) {
				t.Errorf("dialed: %+v, %v", d, err)
			}
		})
	}
}

// TestCentrifugeLines feeds lines to client 4 of topic 0.
func TestCentrifugeLines(t *testing.T) {
	next := push(0, payload(size, 1, 0, 1))
	for _, v := range []struct {
		name, lines string
		want        proto.Window
	}{
		{"one", next, proto.Window{Frames: 1}},
		{"two", next + "\n" + push(0, payload(size, 1, 0, 2)) + "\n", proto.Window{Frames: 2}},
		{"with an offset", strings.TrimSuffix(next, "}}") + `,"offset":7}}`, proto.Window{Frames: 1}},
		{"long", push(0, payload(size+1, 1, 0, 1)), proto.Window{Damaged: 1}},
		{"short", push(0, payload(size-1, 1, 0, 1)), proto.Window{Damaged: 1}},
		{"cut", next[:100], proto.Window{Damaged: 1}},
		{"cut early", next[:50], proto.Window{Damaged: 1}},
		{"other window", push(0, payload(size, 2, 0, 1)), proto.Window{Stray: 1}},
		{"joined", `{"id":3,"subscribe":{}}`, proto.Window{}},
		{"not joined", `{"id":3,"error":{"code":1}}`, proto.Window{Damaged: 1}},
	} {
		l, far := bare(t, conn{id: 4, centrifuge: true})
		if err := l.beginWindow(proto.Begin{Window: 1, Size: size, Churn: 1}); err != nil {
			t.Fatal(err)
		}
		b := frame(final|opText, []byte(v.lines))
		for _, b := range b { // byte by byte: it has to keep the message
			l.frames(&l.conns[0], []byte{b}, 0)
		}
		if l.win.got != v.want {
			t.Errorf("%s: got %+v", v.name, l.win.got)
		}
		l.churn(0)
		l.churn(0)
		if got := sent(t, far[0]); len(got) != 2 || got[0] != `0x81 {"id":3,"unsubscribe":{"channel":"t0"}}` || got[1] != `0x81 {"id":3,"subscribe":{"channel":"t0"}}` {
			t.Errorf("sent %q", got)
		}
	}
}
