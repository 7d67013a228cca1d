package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// bare is a load without its loop, with a window and clients whose sockets end in the test.
func bare(t testing.TB, clients ...conn) (l *load, far []int) {
	l, err := newLoad()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		c.fd = int32(pair[0])
		l.conns = append(l.conns, c)
		if err := l.watch(len(l.conns)-1, unix.EPOLL_CTL_ADD, interest); err != nil {
			t.Fatal(err)
		}
		far = append(far, pair[1])
	}
	t.Cleanup(func() {
		l.close()
		for _, fd := range far {
			unix.Close(fd)
		}
	})
	return l, far
}

// sent is what a client has sent, unmasked.
func sent(t testing.TB, fd int) (frames []string) {
	b := make([]byte, 8<<10)
	n, err := unix.Read(fd, b)
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for b = b[:n]; len(b) > 0; {
		size := int(b[1] &^ masked)
		mask, payload := b[2:6], b[6:6+size]
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		frames = append(frames, fmt.Sprintf("%#x %s", b[0], payload))
		b = b[6+size:]
	}
	return frames
}

// stream has messages of all shapes: whole, in fragments, long, with control frames in between.
func stream(window uint32) (b []byte, messages, longest int) {
	add := func(first byte, p []byte) { b = append(b, frame(first, p)...) }
	for n := range uint32(3) {
		add(final|opText, payload(130, window, 0, n+1))
	}
	add(final|opPing, []byte("a"))
	p := payload(130, window, 0, 4)
	add(opText, p[:10])
	add(opContinuation, nil)
	add(final|opPing, []byte("b"))
	add(opContinuation, p[10:129])
	add(final|opContinuation, p[129:])
	add(final|opPong, []byte("not asked for"))
	add(final|opBinary, payload(130, window, 0, 5))
	long := payload(130, window, 0, 6)
	b = append(b, final|opText, 127, 0, 0, 0, 0, 0, 0, 0, 130)
	b = append(b, long...)
	return b, 6, 130
}

func TestPieces(t *testing.T) {
	b, messages, size := stream(1)
	check := func(t *testing.T, l *load, far int) {
		t.Helper()
		w := l.win.got
		if w.Frames != int64(messages) || w.Missing+w.Disorder+w.Damaged+w.Stray != 0 || w.Lost != 0 {
			t.Fatalf("got %+v", w)
		}
		if got, want := sent(t, far), []string{"0x8a a", "0x8a b"}; !slices.Equal(got, want) {
			t.Fatalf("sent %q", got)
		}
		if l.conns[0].part != nil {
			t.Fatal("something is still to come")
		}
	}
	l, far := bare(t, conn{})
	run := func(t *testing.T, pieces ...[]byte) {
		t.Helper()
		if err := l.beginWindow(proto.Begin{Window: 1, Size: size}); err != nil {
			t.Fatal(err)
		}
		for _, p := range pieces {
			l.frames(&l.conns[0], bytes.Clone(p), proto.Now())
		}
		check(t, l, far[0])
	}
	run(t, b)
	var single [][]byte
	for i := range b {
		single = append(single, b[i:i+1])
	}
	run(t, single...)
	for i := range b {
		run(t, b[:i], b[i:])
	}
	for range 200 {
		cuts := []int{0, len(b)}
		for range rand.IntN(20) {
			cuts = append(cuts, rand.IntN(len(b)))
		}
		slices.Sort(cuts)
		var pieces [][]byte
		for i := range cuts[1:] {
			pieces = append(pieces, b[cuts[i]:cuts[i+1]])
		}
		run(t, pieces...)
	}
}

func TestLongMessage(t *testing.T) {
	const size = 3*bufSize + 17
	for _, shape := range []string{"one frame", "two frames"} {
		t.Run(shape, func(t *testing.T) {
			l := newLoader(t)
			addr, accepted := peers(t, 1)
			l.dial(proto.Dial{Addrs: []string{addr}, N: 1, Topics: 1})
			p := collect(t, accepted, 1)[0]
			l.begin(proto.Begin{Window: 1, Size: size})
			m := payload(size, 1, 0, 1)
			if shape == "one frame" {
				p.write(t, frame(final|opText, m))
			} else {
				p.write(t, frame(opText, m[:bufSize]))
				p.write(t, frame(final|opContinuation, m[bufSize:]))
			}
			if w := l.end(proto.End{Frames: 1}); w.Frames != 1 || w.Damaged != 0 || w.Latency.N != 1 {
				t.Errorf("got %+v", w)
			}
		})
	}
}

func TestBroken(t *testing.T) {
	whole := frame(final|opText, payload(size, 1, 0, 1))
	for _, v := range []struct {
		name string
		b    []byte
	}{
		{"masked", append([]byte{final | opText, masked}, 0, 0, 0, 0)},
		{"opcode", frame(final|3, nil)},
		{"control opcode", frame(final|11, nil)},
		{"reserved bit", frame(final|0x20|opText, []byte("x"))},
		{"compressed", frame(final|rsv1|opText, []byte("x"))},
		{"compressed control", frame(final|rsv1|opPing, []byte("x"))},
		{"long ping", frame(final|opPing, make([]byte, 126))},
		{"ping in fragments", frame(opPing, nil)},
		{"continues nothing", frame(final|opContinuation, nil)},
		{"new message in a message", slices.Concat(frame(opText, []byte("x")), whole)},
		{"too long", []byte{final | opText, 127, 0, 0, 0, 1, 0, 0, 0, 0}},
		{"far too long", []byte{final | opText, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	} {
		t.Run(v.name, func(t *testing.T) {
			l, _ := bare(t, conn{})
			if err := l.beginWindow(proto.Begin{Window: 1, Size: size}); err != nil {
				t.Fatal(err)
			}
			l.frames(&l.conns[0], slices.Concat(whole, v.b, whole), proto.Now())
			if w := l.win.got; w.Frames != 1 || w.Damaged != 1 || w.Lost != 1 || l.conns[0].fd != -1 {
				t.Errorf("got %+v", w)
			}
		})
	}
}

// FuzzFrames takes bytes in two ways: at once, and cut in three. Both have to count the same.
func FuzzFrames(f *testing.F) {
	b, _, _ := stream(1)
	f.Add(b, 5, 100)
	f.Add(frame(final|rsv1|opText, []byte("\x4a\x04\x00")), 1, 2)
	f.Add([]byte{final | opText, 0, final | opClose, 2, 3, 0xe8}, 1, 3)
	l, _ := bare(f, conn{}) // one for all: making it costs more than the frames
	f.Fuzz(func(t *testing.T, b []byte, i, j int) {
		i, j = min(max(i, 0), len(b)), min(max(j, 0), len(b))
		i, j = min(i, j), max(i, j)
		count := func(pieces ...[]byte) proto.Window {
			fd, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0) // for what is sent
			if err != nil {
				t.Fatal(err)
			}
			c := &l.conns[0]
			if c.fd >= 0 {
				unix.Close(int(c.fd))
			}
			*c = conn{fd: int32(fd), deflate: true, sampled: true}
			if err := l.beginWindow(proto.Begin{Window: 1, Size: 130}); err != nil {
				t.Fatal(err)
			}
			for _, p := range pieces {
				l.frames(c, bytes.Clone(p), 0)
			}
			return l.win.got
		}
		if whole, cut := count(b), count(b[:i], b[i:j], b[j:]); whole != cut {
			t.Errorf("whole %+v, cut %+v", whole, cut)
		}
	})
}
