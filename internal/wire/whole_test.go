package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// pieces is an inlet that brings the pieces one by one, and counts the shared buffers it has handed out.
type pieces struct {
	left [][]byte
	lent int
}

func (in *pieces) read(p []byte) ([]byte, int, error) {
	if len(in.left) == 0 {
		return nil, 0, io.EOF
	}
	if p == nil {
		p = buffers.Get().(*buffer)[:]
		in.lent++
	}
	n := copy(p, in.left[0])
	if in.left[0] = in.left[0][n:]; len(in.left[0]) == 0 {
		in.left = in.left[1:]
	}
	return p, n, nil
}

// cut cuts b at these places.
func cut(b []byte, at ...int) (list [][]byte) {
	from := 0
	for _, to := range append(at, len(b)) {
		if to = min(max(to, from), len(b)); to > from {
			list = append(list, bytes.Clone(b[from:to]))
		}
		from = to
	}
	return list
}

// fed returns a connection on which these pieces come.
func fed(t testing.TB, compress bool, limit int64, list [][]byte) *Conn {
	t.Helper()
	server, _ := Pipe(4 << 10)
	r := upgradeRequest()
	r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate")
	c, err := Accept(&hijackable{conn: server, br: bufio.NewReader(server), header: http.Header{}}, r, Options{Compress: compress, ReadLimit: limit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	c.in = &pieces{left: list}
	return c
}

// outcome is what a read has brought, and what it has left in the lane.
func outcome(c *Conn, op Opcode, data []byte, err error) string {
	var peer *PeerClose
	var violation *ProtocolError
	what := fmt.Sprintf("%d %q", op, clip(data))
	switch {
	case errors.As(err, &peer):
		what = fmt.Sprint("close ", peer.Code, peer.Reason)
	case errors.As(err, &violation):
		what = fmt.Sprint("violation ", violation.Code)
	case err != nil:
		what = err.Error()
	}
	b, last := c.TakeControl(nil)
	return fmt.Sprintf("%s; lane % x %v", what, b, last)
}

// A message in one frame does not go through the library. Everything comes out as if it did, wherever the bytes are cut.
func TestWholeFramesAsTheLibrary(t *testing.T) {
	stream := bytes.Join([][]byte{
		text("first"), clientFrame(bitFin|byte(OpPing), "one"), text(""),
		clientFrame(byte(OpText), "frag"), clientFrame(bitFin|byte(OpPing), "two"), clientFrame(byte(OpContinuation), ""),
		clientFrame(bitFin, "ments"), clientFrame(bitFin|byte(OpPong), ""), clientFrame(bitFin|byte(OpBinary), "\xff\x00"),
		clientFrame(bitFin|bitRSV1|byte(OpText), deflated(t, "compressed")), text(repeat(200)), closing(1000, "bye"),
	}, nil)
	const messages = 6
	var places [][]int
	for i := range stream {
		places = append(places, []int{i}, []int{i, i + 1}, []int{i, i + 7})
	}
	every := make([]int, len(stream))
	for i := range every {
		every[i] = i
	}
	for _, at := range append(places, every) {
		c, lib := fed(t, true, 0, cut(stream, at...)), fed(t, true, 0, cut(stream, at...))
		for n := range messages + 1 {
			op, data, err := c.ReadMessage()
			got := outcome(c, op, data, err)
			op, data, err = lib.readLibrary()
			if want := outcome(lib, op, data, err); got != want {
				t.Fatalf("cut at %v, message %d: %s, the library has %s", at, n, got, want)
			}
			if (err != nil) != (n == messages) {
				t.Fatalf("cut at %v, message %d: %v", at, n, err)
			}
		}
	}
}

// Between two messages that have come whole, a connection with an inlet holds no buffer.
func TestIdleConnHasNoBuffer(t *testing.T) {
	frame := text(repeat(300))
	c := fed(t, false, 0, [][]byte{frame, append(bytes.Clone(frame), frame[:100]...), frame[100:], frame, text(repeat(3 * bufferSize)), frame})
	for n, waits := range []bool{false, true, false, false, false, false} {
		if _, _, err := c.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		if (c.buf != nil) != waits {
			t.Errorf("after message %d: a buffer %v, want %v", n, c.buf != nil, waits)
		}
	}
	if _, _, err := c.ReadMessage(); err != io.EOF || c.buf != nil {
		t.Errorf("%v, with a buffer %v", err, c.buf != nil)
	}
	if c.in.(*pieces).lent == 0 {
		t.Error("no shared buffer was used")
	}
}

// FuzzReadWhole reads the same bytes in the same pieces with and without the library.
func FuzzReadWhole(f *testing.F) {
	for i, tc := range violations {
		f.Add([]byte(string(text("before"))+tc.sent), i, 2*i, false)
		f.Add([]byte(string(clientFrame(byte(OpText), "before"))+tc.sent), i, 3*i, true)
	}
	f.Add(append(text("one"), text("two")...), 3, 11, false)
	f.Add(append(clientFrame(bitFin|bitRSV1|byte(OpText), deflated(f, "hello hello")), text("x")...), 5, 19, true)
	f.Add(append(clientFrame(byte(OpText), "a"), append(text("b"), clientFrame(bitFin, "c")...)...), 1, 2, false)
	f.Fuzz(func(t *testing.T, data []byte, a, b int, compress bool) {
		c, lib := fed(t, compress, 1000, cut(data, a, b)), fed(t, compress, 1000, cut(data, a, b))
		for {
			op, data, err := c.ReadMessage()
			got := outcome(c, op, data, err)
			op, data, errLib := lib.readLibrary()
			if want := outcome(lib, op, data, errLib); got != want {
				if compress && err != nil && errLib != nil {
					return // whether the inflater asks for more before it finds out that it has garbage depends on its last use
				}
				t.Fatalf("%s, the library has %s", got, want)
			}
			if err != nil {
				return
			}
		}
	})
}
