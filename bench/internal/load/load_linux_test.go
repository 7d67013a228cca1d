package load

import (
	"encoding/binary"
	"slices"
	"strings"
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
	for i, p := range all {
		if p.topic != i%2 {
			t.Errorf("client %d asked for topic %d", i, p.topic)
		}
	}
	for window := range uint32(2) {
		l.begin(proto.Begin{Window: window, Size: size})
		for n := range uint32(10) {
			for _, p := range all {
				p.write(t, frame(final|opText, payload(size, window, uint32(p.topic), n+1)))
			}
		}
		w := l.end(proto.End{Frames: 40})
		if w.Frames != 40 || w.Bytes != 40*(size+4) || w.Missing+w.Disorder+w.Damaged+w.Stray != 0 || w.Lost != 0 {
			t.Errorf("got %+v", w)
		}
		if q := w.Latency; q.N != 40 || q.P50 <= 0 || q.P50 > q.P99 || q.P99 > q.P999 || q.P999 > q.Max {
			t.Errorf("latency: %+v", q)
		}
		if w.Seconds <= 0 || w.CPU < 0 {
			t.Errorf("%v seconds, %v of CPU", w.Seconds, w.CPU)
		}
	}
}

// A client in several topics counts the numbers of each.
func TestPlaces(t *testing.T) {
	l := newLoader(t)
	addr, accepted := peers(t, 2)
	l.dial(proto.Dial{Addrs: []string{addr}, N: 2, Topics: 6, Places: 3})
	all := collect(t, accepted, 2)
	for i, p := range all {
		for _, want := range []string{"+t2", "+t4"} {
			if i == 1 {
				want = map[string]string{"+t2": "+t3", "+t4": "+t5"}[want]
			}
			if _, got := p.next(t); string(got) != want {
				t.Errorf("client %d sent %q instead of %q", i, got, want)
			}
		}
	}
	for window := range uint32(2) { // numbers begin again
		l.begin(proto.Begin{Window: window, Size: size})
		for i, p := range all {
			for n := range uint32(5) {
				for k := range uint32(3) {
					p.write(t, frame(final|opText, payload(size, window, uint32(i)+2*k, n+1)))
				}
			}
		}
		if w := l.end(proto.End{Frames: 30}); w.Frames != 30 || w.Missing+w.Disorder+w.Damaged+w.Stray != 0 {
			t.Errorf("got %+v", w)
		}
	}
	l.begin(proto.Begin{Window: 2, Size: size})
	for _, x := range []struct{ topic, number uint32 }{
		{3, 1}, {3, 4}, // two are missing
		{5, 2}, {5, 1}, // one is missing and one in disorder
		{0, 1}, {7, 1}, // not its topic, and none at all
		{1, 1},
	} {
		all[1].write(t, frame(final|opText, payload(size, 2, x.topic, x.number)))
	}
	if w := l.end(proto.End{Frames: 5}); w.Frames != 5 || w.Missing != 3 || w.Disorder != 1 || w.Stray != 2 {
		t.Errorf("got %+v", w)
	}
}

func TestServers(t *testing.T) {
	l := newLoader(t)
	a, acceptedA := peers(t, 2)
	b, acceptedB := peers(t, 4)
	l.dial(proto.Dial{Addrs: []string{a, b, b}, N: 6, Topics: 3})
	for range 2 {
		if p := <-acceptedA; p.topic != 0 {
			t.Errorf("the first server has a client of topic %d", p.topic)
		}
	}
	for range 4 {
		if p := <-acceptedB; p.topic == 0 {
			t.Error("another server has a client of topic 0")
		}
	}
}

// TestCounts sends payloads of window 2 to client 0 of topic 0, as pairs of a number and what is wrong with it.
func TestCounts(t *testing.T) {
	type in struct {
		number uint32
		how    string
	}
	for _, v := range []struct {
		name   string
		direct bool
		in     []in
		want   proto.Window
	}{
		{name: "in order", in: []in{{1, ""}, {2, ""}}, want: proto.Window{Frames: 2}},
		{name: "missing", in: []in{{1, ""}, {4, ""}, {5, ""}}, want: proto.Window{Frames: 3, Missing: 2}},
		{name: "missing first", in: []in{{3, ""}}, want: proto.Window{Frames: 1, Missing: 2}},
		{name: "twice", in: []in{{1, ""}, {1, ""}, {2, ""}}, want: proto.Window{Frames: 3, Disorder: 1}},
		{name: "late", in: []in{{1, ""}, {3, ""}, {2, ""}, {4, ""}}, want: proto.Window{Frames: 4, Missing: 1, Disorder: 1}},
		{name: "short", in: []in{{1, ""}, {2, "short"}}, want: proto.Window{Frames: 1, Damaged: 1}},
		{name: "long", in: []in{{1, ""}, {2, "long"}}, want: proto.Window{Frames: 1, Damaged: 1}},
		{name: "other end", in: []in{{1, ""}, {2, "end"}}, want: proto.Window{Frames: 1, Damaged: 1}},
		{name: "other start", in: []in{{1, "start"}, {1, ""}}, want: proto.Window{Frames: 1, Damaged: 1}},
		{name: "no digits", in: []in{{1, "digits"}, {1, ""}}, want: proto.Window{Frames: 1, Damaged: 1}},
		{name: "empty", in: []in{{1, ""}, {0, "empty"}}, want: proto.Window{Frames: 1, Damaged: 1}},
		{name: "other window", in: []in{{7, "window"}, {1, ""}}, want: proto.Window{Frames: 1, Stray: 1}},
		{name: "other topic", in: []in{{1, "topic"}, {1, ""}}, want: proto.Window{Frames: 1, Stray: 1}},
		{name: "echo of nobody", in: []in{{1, "echo"}, {1, ""}}, want: proto.Window{Frames: 1, Stray: 1}},
		{name: "direct", direct: true, in: []in{{1, "topic"}, {2, "topic"}, {4, "topic"}, {1, ""}}, want: proto.Window{Frames: 3, Missing: 1, Stray: 1}},
	} {
		t.Run(v.name, func(t *testing.T) {
			l, _ := bare(t, conn{id: 5, topic: 0})
			if err := l.beginWindow(proto.Begin{Window: 2, Size: size, Direct: v.direct}); err != nil {
				t.Fatal(err)
			}
			for _, in := range v.in {
				p := payload(size, 2, 0, in.number)
				set := func(window, key uint32) { proto.Set(p, window, key, in.number, proto.Now()) }
				switch in.how {
				case "short":
					p = append(p[:100], `"}`...)
				case "long":
					p = append(p[:size-2], `x"}`...)
				case "end":
					p[size-1] = 'x'
				case "start":
					p[0] = 'x'
				case "digits":
					p[10] = 'x'
				case "empty":
					p = nil
				case "window":
					set(1, 0)
				case "topic":
					set(2, 5)
				case "echo":
					set(2|echoBit, 6)
				}
				l.frames(&l.conns[0], frame(final|opText, p), proto.Now())
			}
			if v.want.Bytes = 0; l.win.got != v.want {
				t.Errorf("got %+v", l.win.got)
			}
		})
	}
}

// TestOutside has payloads come before the first window and after the last.
func TestOutside(t *testing.T) {
	l, _ := bare(t, conn{})
	b := frame(final|opText, payload(size, 1, 0, 9))
	l.frames(&l.conns[0], b, 0)
	if err := l.beginWindow(proto.Begin{Window: 1, Size: size}); err != nil {
		t.Fatal(err)
	}
	end, err := l.endWindow(proto.End{}, proto.Now())
	if err != nil {
		t.Fatal(err)
	}
	if w, done := end(proto.Now()); !done || w.(proto.Window).Frames != 0 {
		t.Errorf("got %+v, %v", w, done)
	}
	l.frames(&l.conns[0], b, 0)
	if l.win.got.Frames+l.win.got.Damaged+l.win.got.Stray+l.win.got.Missing != 0 {
		t.Errorf("got %+v", l.win.got)
	}
}

// TestEnds asks an End for a while that only the test knows.
func TestEnds(t *testing.T) {
	l, _ := bare(t, conn{})
	if err := l.beginWindow(proto.Begin{Window: 1, Size: size}); err != nil {
		t.Fatal(err)
	}
	asked := proto.Now()
	second := int64(1e9)
	ends := func(ask proto.End, after int64) bool {
		end, err := l.endWindow(ask, asked)
		if err != nil {
			t.Fatal(err)
		}
		_, done := end(asked + after)
		l.win.active = true
		return done
	}
	if ends(proto.End{Frames: 2}, second) || !ends(proto.End{Frames: 2}, 2*second+1) {
		t.Error("it does not end after two quiet seconds")
	}
	l.frames(&l.conns[0], frame(final|opText, payload(size, 1, 0, 1)), asked+second)
	if ends(proto.End{Frames: 2}, 2*second+1) || !ends(proto.End{Frames: 2}, 3*second+1) {
		t.Error("it does not end two seconds after the last payload")
	}
	if !ends(proto.End{Frames: 1}, 0) {
		t.Error("it does not end with the payload asked for")
	}
	if ends(proto.End{Frames: 2, Quiet: 100, Timeout: 50}, 49*second) || !ends(proto.End{Frames: 2, Quiet: 100, Timeout: 50}, 50*second) {
		t.Error("it does not end at its time")
	}
	l.win.got.Sent = 1
	if ends(proto.End{Frames: 1}, second) {
		t.Error("it ends although an echo is due")
	}
}

func TestControl(t *testing.T) {
	l := newLoader(t)
	addr, accepted := peers(t, 2)
	l.dial(proto.Dial{Addrs: []string{addr}, N: 2, Topics: 1})
	all := collect(t, accepted, 2)
	l.begin(proto.Begin{Window: 1, Size: size})
	all[0].write(t, frame(final|opPing, []byte("are you there?")))
	if first, b := all[0].next(t); first != final|opPong || string(b) != "are you there?" {
		t.Errorf("a ping was answered with %#x %q", first, b)
	}
	bye := append(binary.BigEndian.AppendUint16(nil, 1001), "bye"...)
	all[1].write(t, frame(final|opClose, bye))
	if first, b := all[1].next(t); first != final|opClose || !slices.Equal(b, bye[:2]) {
		t.Errorf("a close frame was answered with %#x %q", first, b)
	}
	all[0].Close()
	if w := l.end(proto.End{Frames: 1, Quiet: 0.01}); w.Lost != 2 {
		t.Errorf("got %+v", w)
	}
}

func TestRequests(t *testing.T) {
	l := newLoader(t)
	for _, v := range []struct {
		do   string
		args any
		want string
	}{
		{"fly", nil, "fly"},
		{proto.DoDial, proto.Dial{N: 1, Topics: 1}, "addresses"},
		{proto.DoDial, proto.Dial{N: 1, Topics: 0, Addrs: []string{"127.0.0.1:1"}}, "topics"},
		{proto.DoDial, proto.Dial{N: 1, Topics: 1, Addrs: []string{"localhost:1"}}, "localhost"},
		{proto.DoDial, proto.Dial{N: 1, Topics: 5, Places: 2, Addrs: []string{"127.0.0.1:1"}}, "2 of 5 topics"},
		{proto.DoDial, proto.Dial{N: 1, Topics: 1, Addrs: []string{"127.0.0.1:1"}, Dialect: "latin"}, "latin"},
		{proto.DoDial, 7, "arguments"},
		{proto.DoBegin, proto.Begin{Stalled: 1}, "too few"},
		{proto.DoBegin, proto.Begin{Window: echoBit}, "highest bit"},
		{proto.DoBegin, proto.Begin{Echo: -1}, "below zero"},
		{proto.DoBegin, proto.Begin{Echo: 1, Each: 1}, "at once"},
	} {
		l.request(v.do, v.args)
		if err := l.answer(v.do, nil); err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s %+v: %v", v.do, v.args, err)
		}
	}
	l = newLoader(t)
	l.request(proto.DoEnd, proto.End{})
	if err := l.answer(proto.DoEnd, nil); err == nil || !strings.Contains(err.Error(), "no window") {
		t.Errorf("an end without a window: %v", err)
	}
}

// TestInEnds ends the requests while one of them waits for an hour.
func TestInEnds(t *testing.T) {
	l := newLoader(t)
	l.begin(proto.Begin{Window: 1})
	l.request(proto.DoEnd, proto.End{Frames: 1, Quiet: 3600, Timeout: 3600})
}

func TestNoRequest(t *testing.T) {
	if err := Run(strings.NewReader("{}}"), new(strings.Builder)); err == nil || !strings.HasPrefix(err.Error(), "load: ") {
		t.Errorf("it ended with %v", err)
	}
}
