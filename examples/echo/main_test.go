package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/internal/leak"
	"github.com/wshub-go/wshub/wshubtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// serve is the program over TCP. It is shut down with the test.
func serve(t *testing.T, limit int64, compress bool) (*wshubtest.TCPServer, *wshub.Hub) {
	t.Helper()
	hub, err := newHub(limit, compress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return wshubtest.Server(t, hub.Handler(echo)), hub
}

const (
	cont = wshubtest.OpContinuation
	text = wshubtest.OpText
	bin  = wshubtest.OpBinary
	ping = wshubtest.OpPing
	pong = wshubtest.OpPong
	end  = wshubtest.OpClose
)

func fin(op wshubtest.Opcode, payload string) []byte {
	return wshubtest.Frame(true, op, []byte(payload))
}
func part(op wshubtest.Opcode, payload string) []byte {
	return wshubtest.Frame(false, op, []byte(payload))
}

// closing returns a close frame's payload.
func closing(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

// repeat is n times the same byte.
func repeat(n int) string { return strings.Repeat("*", n) }

// header is the beginning of a masked frame of any announced length.
func header(first byte, length ...byte) []byte {
	return append(append([]byte{first}, length...), 1, 2, 3, 4)
}

// κόσμε, ten bytes of text.
const cosme = "\xce\xba\xcf\x8c\xcf\x83\xce\xbc\xce\xb5"

// exchanges is what a client may send, in frames, and what has to come back.
var exchanges = []struct {
	name  string
	send  [][]byte
	want  []string // the messages echoed, binary ones with "b:" in front
	pongs []string // the pongs that have to come, in order
	code  int      // how the server closes; 0: it does not
}{
	// Messages.
	{"empty text", [][]byte{fin(text, "")}, []string{""}, nil, 0},
	{"empty binary", [][]byte{fin(bin, "")}, []string{"b:"}, nil, 0},
	{"empty fragments", [][]byte{part(text, ""), part(cont, ""), fin(cont, "")}, []string{""}, nil, 0},
	{"text in the middle of empty fragments", [][]byte{part(text, ""), part(cont, "x"), fin(cont, "")}, []string{"x"}, nil, 0},
	{"7 bits of length", [][]byte{fin(text, repeat(125)), fin(bin, repeat(125))}, []string{repeat(125), "b:" + repeat(125)}, nil, 0},
	{"16 bits of length", [][]byte{fin(text, repeat(126)), fin(bin, repeat(65535))}, []string{repeat(126), "b:" + repeat(65535)}, nil, 0},
	{"64 bits of length", [][]byte{fin(text, repeat(65536)), fin(bin, repeat(65536))}, []string{repeat(65536), "b:" + repeat(65536)}, nil, 0},
	{"all bytes", [][]byte{fin(bin, "\x00\xff\xfe\x80")}, []string{"b:\x00\xff\xfe\x80"}, nil, 0},
	{"text with a zero byte", [][]byte{fin(text, "a\x00b")}, []string{"a\x00b"}, nil, 0},
	{"two at once", [][]byte{fin(text, "1"), fin(bin, "2")}, []string{"1", "b:2"}, nil, 0},

	// Control frames.
	{"ping", [][]byte{fin(ping, "")}, nil, []string{""}, 0},
	{"ping with a payload", [][]byte{fin(ping, "hello")}, nil, []string{"hello"}, 0},
	{"ping with bytes", [][]byte{fin(ping, "\x00\xff\xfe\xfd")}, nil, []string{"\x00\xff\xfe\xfd"}, 0},
	{"longest ping", [][]byte{fin(ping, repeat(125))}, nil, []string{repeat(125)}, 0},
	{"too long a ping", [][]byte{fin(ping, repeat(126))}, nil, nil, 1002},
	{"fragmented ping", [][]byte{part(ping, "a"), fin(cont, "b")}, nil, nil, 1002},
	{"fragmented pong", [][]byte{part(pong, "a"), fin(cont, "b")}, nil, nil, 1002},
	{"fragmented close", [][]byte{part(end, closing(1000, "")), fin(cont, "")}, nil, nil, 1002},
	{"pong unasked", [][]byte{fin(pong, ""), fin(pong, "x"), fin(ping, "y")}, nil, []string{"y"}, 0},

	// Fragments.
	{"two fragments", [][]byte{part(text, "ab"), fin(cont, "cd")}, []string{"abcd"}, nil, 0},
	{"binary fragments", [][]byte{part(bin, "\xff"), part(cont, "\xfe"), fin(cont, "\xfd")}, []string{"b:\xff\xfe\xfd"}, nil, 0},
	{"ping between", [][]byte{part(text, "ab"), fin(ping, "p"), fin(cont, "cd")}, []string{"abcd"}, []string{"p"}, 0},
	{"pings and pongs between all", [][]byte{
		part(text, "1"), fin(ping, "p"), part(cont, "2"), fin(pong, "x"), part(cont, ""), fin(ping, "q"), fin(cont, "3"), fin(ping, "r"),
	}, []string{"123"}, []string{"p", "q", "r"}, 0},
	{"continuation of nothing", [][]byte{fin(cont, "x")}, nil, nil, 1002},
	{"continuation of nothing, not the last", [][]byte{part(cont, "x"), fin(text, "y")}, nil, nil, 1002},
	{"continuation after the last", [][]byte{part(text, "1"), fin(cont, "2"), part(cont, "3"), fin(text, "4")}, []string{"12"}, nil, 1002},
	{"text inside a text", [][]byte{part(text, "1"), fin(text, "2")}, nil, nil, 1002},
	{"binary inside a text", [][]byte{part(text, "1"), part(bin, "2"), fin(cont, "3")}, nil, nil, 1002},
	{"close inside a text", [][]byte{part(text, "1"), fin(end, closing(1000, "")), fin(cont, "2")}, nil, nil, 1000},

	// Reserved bits and opcodes.
	{"RSV1", [][]byte{fin(text|wshubtest.RSV1, "x")}, nil, nil, 1002},
	{"RSV2 after a message", [][]byte{fin(text, "x"), fin(text|wshubtest.RSV2, "y"), fin(ping, "")}, []string{"x"}, nil, 1002},
	{"RSV3 on a fragment", [][]byte{part(text, "x"), fin(cont|wshubtest.RSV3, "y")}, nil, nil, 1002},
	{"RSV1 on a continuation", [][]byte{part(text, "x"), fin(cont|wshubtest.RSV1, "y")}, nil, nil, 1002},
	{"RSV1 on a ping", [][]byte{fin(ping|wshubtest.RSV1, "x")}, nil, nil, 1002},
	{"RSV2 and 3 on a close", [][]byte{fin(end|wshubtest.RSV2|wshubtest.RSV3, closing(1000, ""))}, nil, nil, 1002},
	{"all reserved bits", [][]byte{fin(bin|wshubtest.RSV1|wshubtest.RSV2|wshubtest.RSV3, "x")}, nil, nil, 1002},
	{"opcode 3", [][]byte{fin(3, "")}, nil, nil, 1002},
	{"opcode 4 after a message", [][]byte{fin(text, "x"), fin(4, "y"), fin(ping, "")}, []string{"x"}, nil, 1002},
	{"opcode 7", [][]byte{part(7, "x")}, nil, nil, 1002},
	{"opcode 11", [][]byte{fin(11, "")}, nil, nil, 1002},
	{"opcode 15 after a message", [][]byte{fin(text, "x"), fin(15, "y"), fin(ping, "")}, []string{"x"}, nil, 1002},
	{"reserved opcode inside a message", [][]byte{part(text, "x"), fin(5, "y")}, nil, nil, 1002},

	// Lengths and masks.
	{"no mask", [][]byte{{0x81, 1, 'x'}}, nil, nil, 1002},
	{"16 bits for a short length", [][]byte{header(0x81, 0xfe, 0, 125)}, nil, nil, 1002},
	{"64 bits for a short length", [][]byte{header(0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff)}, nil, nil, 1002},
	{"64 bits for a ping", [][]byte{header(0x89, 0xff, 0, 0, 0, 0, 0, 0, 0, 1)}, nil, nil, 1002},
	{"length over 63 bits", [][]byte{header(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0)}, nil, nil, 1002},
	{"length over the limit", [][]byte{header(0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)}, nil, nil, 1009},

	// UTF-8.
	{"text of all lengths", [][]byte{fin(text, "a\u00e9\u20ac\U0001f600")}, []string{"a\u00e9\u20ac\U0001f600"}, nil, 0},
	{"ends of the ranges", [][]byte{fin(text, "\x7f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff")},
		[]string{"\x7f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"}, nil, 0},
	{"a code point over all fragments", [][]byte{part(text, "\xf0"), part(cont, "\x9f"), part(cont, ""), fin(ping, "p"), part(cont, "\x98"), fin(cont, "\x80")},
		[]string{"\U0001f600"}, []string{"p"}, 0},
	{"fragments of one byte", bytewise(text, cosme), []string{cosme}, nil, 0},
	{"not a byte of UTF-8", [][]byte{fin(text, "\xff")}, nil, nil, 1007},
	{"continuation byte alone", [][]byte{fin(text, "a\x80")}, nil, nil, 1007},
	{"overlong slash", [][]byte{fin(text, "\xc0\xaf")}, nil, nil, 1007},
	{"overlong of three", [][]byte{fin(text, "\xe0\x9f\xbf")}, nil, nil, 1007},
	{"surrogate", [][]byte{fin(text, "\xed\xa0\x80")}, nil, nil, 1007},
	{"over U+10FFFF", [][]byte{fin(text, "\xf4\x90\x80\x80")}, nil, nil, 1007},
	{"cut at the end", [][]byte{fin(text, "ok \xe2\x82")}, nil, nil, 1007},
	{"cut at the end of the last fragment", [][]byte{part(text, "ok "), fin(cont, "\xe2\x82")}, nil, nil, 1007},
	{"bad in the middle of fragments", [][]byte{part(text, cosme), part(cont, "\xed\xa0\x80"), fin(cont, "edited")}, nil, nil, 1007},
	{"bad across two fragments", [][]byte{part(text, "\xce"), fin(cont, "\xce")}, nil, nil, 1007},
	{"good before bad", [][]byte{fin(text, cosme), fin(text, "\xed\xa0\x80")}, []string{cosme}, nil, 1007},
	{"binary is no text", [][]byte{fin(bin, "\xed\xa0\x80")}, []string{"b:\xed\xa0\x80"}, nil, 0},

	// Closing.
	{"close without a code", [][]byte{fin(end, "")}, nil, nil, 1005},
	{"close with one byte", [][]byte{fin(end, "\x03")}, nil, nil, 1002},
	{"close with a reason", [][]byte{fin(end, closing(1000, "bye"))}, nil, nil, 1000},
	{"close with the longest reason", [][]byte{fin(end, closing(1000, repeat(123)))}, nil, nil, 1000},
	{"close too long", [][]byte{fin(end, closing(1000, repeat(124)))}, nil, nil, 1002},
	{"close with a reason that is no text", [][]byte{fin(end, closing(1000, "\xce\xba\xed\xa0\x80"))}, nil, nil, 1007},
	{"close after a message", [][]byte{fin(text, "Hello World!"), fin(end, closing(1000, ""))}, []string{"Hello World!"}, nil, 1000},
	{"close after many messages", append(slices.Repeat([][]byte{fin(text, "x")}, 100), fin(end, closing(1000, ""))),
		slices.Repeat([]string{"x"}, 100), nil, 1000},
	{"close after a long message", [][]byte{fin(text, repeat(256<<10)), fin(end, closing(1000, "")), fin(ping, "")}, []string{repeat(256 << 10)}, nil, 1000},
	{"close twice", [][]byte{fin(end, closing(1000, "")), fin(end, closing(3000, ""))}, nil, nil, 1000},
	{"ping after the close", [][]byte{fin(end, closing(1000, "")), fin(ping, "")}, nil, nil, 1000},
	{"text after the close", [][]byte{fin(end, closing(1000, "")), fin(text, "x")}, nil, nil, 1000},
	{"violation after the close", [][]byte{fin(end, closing(1000, "")), fin(3, "x")}, nil, nil, 1000},
}

// bytewise is a message in fragments of one byte.
func bytewise(op wshubtest.Opcode, s string) [][]byte {
	var frames [][]byte
	for i := range len(s) {
		frames = append(frames, wshubtest.Frame(i == len(s)-1, op, []byte{s[i]}))
		op = cont
	}
	return frames
}

// TestExchanges sends each of exchanges in one piece, frame by frame, and byte by byte, to a server that compresses and
// to one that does not.
func TestExchanges(t *testing.T) {
	for _, compress := range []bool{false, true} {
		for _, x := range exchanges {
			for _, pieces := range []string{"one piece", "frames", "bytes"} {
				stream := bytes.Join(x.send, nil)
				if pieces == "bytes" && len(stream) > 4096 {
					continue
				}
				t.Run(fmt.Sprintf("compress=%t/%s/%s", compress, x.name, pieces), func(t *testing.T) {
					srv, _ := serve(t, 16<<20, compress)
					var opts []wshubtest.DialOption
					if compress && !strings.HasPrefix(x.name, "RSV1") { // a compressed message may have that bit
						opts = append(opts, wshubtest.WithCompression())
					}
					c := srv.DialTCP(opts...)
					frames := x.send
					switch pieces {
					case "one piece":
						frames = [][]byte{stream}
					case "bytes":
						frames = slices.Collect(slices.Chunk(stream, 1))
					}
					for _, f := range frames {
						if err := c.TrySendRaw(f); err != nil && x.code == 0 {
							t.Fatal(err) // else it has closed by now, as it should
						}
					}
					for _, p := range x.pongs {
						c.ExpectPong(p)
					}
					for _, m := range x.want {
						if b, ok := strings.CutPrefix(m, "b:"); ok {
							c.ExpectBinary([]byte(b))
						} else {
							c.ExpectText(m)
						}
					}
					if x.code == 0 {
						if code := c.Close(1000, "done"); code != 1000 {
							t.Errorf("a close with 1000 was answered with %d", code)
						}
					} else {
						c.ExpectClose(x.code)
					}
					if left := c.Take(); len(left) > 0 {
						t.Errorf("came too: %v", left)
					}
				})
			}
		}
	}
}

func TestCloseCodes(t *testing.T) {
	for _, tt := range []struct {
		codes []int
		want  int // 0: the same
	}{
		{[]int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}, 0},
		{[]int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}, 1002},
	} {
		for _, code := range tt.codes {
			t.Run(fmt.Sprint(code), func(t *testing.T) {
				want := tt.want
				if want == 0 {
					want = code
				}
				srv, _ := serve(t, 1<<20, false)
				c := srv.DialTCP()
				c.SendRaw(fin(end, closing(code, "why")))
				reason := c.ExpectClose(want)
				if tt.want == 0 && reason != "why" {
					t.Errorf("the answer's reason is %q", reason)
				}
			})
		}
	}
}

// TestFailFast checks that text is refused when it cannot become valid any more, not when the message is whole.
func TestFailFast(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame []byte
	}{
		{"in a fragment", part(text, cosme+"\xf4\x90\x80\x80")},
		{"at the end of a fragment", part(text, cosme+"\xf4\x90")},
		{"compressed", wshubtest.Frame(false, text|wshubtest.RSV1, append(wshubtest.Deflate([]byte(cosme+"\xed\xa0\x80")), 0, 0, 0xff, 0xff))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv, _ := serve(t, 1<<20, true)
			c := srv.DialTCP(wshubtest.WithCompression())
			c.SendRaw(tt.frame)
			c.ExpectClose(1007)
		})
	}
	t.Run("in the second fragment", func(t *testing.T) {
		srv, _ := serve(t, 1<<20, false)
		c := srv.DialTCP()
		c.SendRaw(part(text, cosme+"\xe2\x82"))
		c.Ping("still there")
		c.ExpectPong("still there")
		c.SendRaw(part(cont, "\x28"))
		c.ExpectClose(1007)
	})
}

// TestSixteenMebibytes sends the longest messages, and one byte more.
func TestSixteenMebibytes(t *testing.T) {
	const size = 16 << 20
	words := []byte(strings.Repeat("κόσμε and more of it; ", size/27+1))[:size-4]
	words = append(bytes.ToValidUTF8(words, []byte("*")), "****"...)[:size]
	noise := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(noise)

	for _, compress := range []bool{false, true} {
		for _, m := range []struct {
			name string
			op   wshubtest.Opcode
			data []byte
		}{{"text", text, words}, {"binary", bin, noise}} {
			for _, fragment := range []int{size, 4 << 20, 64 << 10, 1 << 10} {
				for _, deflated := range []bool{false, true} {
					if deflated && !compress || race && fragment != 64<<10 {
						continue
					}
					t.Run(fmt.Sprintf("compress=%t/%s in %d/deflated=%t", compress, m.name, fragment, deflated), func(t *testing.T) {
						srv, _ := serve(t, size, compress)
						opts := []wshubtest.DialOption{wshubtest.WithTimeout(time.Minute)}
						if compress {
							opts = append(opts, wshubtest.WithCompression())
						}
						c := srv.DialTCP(opts...)
						data, op := m.data, m.op
						if deflated {
							data, op = wshubtest.Deflate(data), op|wshubtest.RSV1
						}
						for first := true; first || len(data) > 0; first = false {
							n := min(fragment, len(data))
							c.SendFrame(n == len(data), op, data[:n])
							data, op = data[n:], cont
						}
						if m.op == text {
							c.ExpectText(string(m.data))
						} else {
							c.ExpectBinary(m.data)
						}
						if code := c.Close(1000, ""); code != 1000 {
							t.Errorf("closed with %d", code)
						}
					})
				}
			}
		}
		t.Run(fmt.Sprintf("compress=%t/one more", compress), func(t *testing.T) {
			srv, _ := serve(t, size, compress)
			c := srv.DialTCP()
			c.SendRaw(header(0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 1))
			c.ExpectClose(1009)

			c = srv.DialTCP()
			c.SendFrame(false, bin, noise)
			c.SendFrame(true, cont, []byte{1})
			c.ExpectClose(1009)
		})
	}
	t.Run("a bomb", func(t *testing.T) {
		srv, _ := serve(t, size, true)
		c := srv.DialTCP(wshubtest.WithCompression())
		c.SendFrame(true, bin|wshubtest.RSV1, wshubtest.Deflate(make([]byte, size+1)))
		c.ExpectClose(1009)
	})
}

// TestCompressed sends compressed messages of all sizes, whole and in fragments, among plain ones and pings.
func TestCompressed(t *testing.T) {
	srv, _ := serve(t, 16<<20, true)
	c := srv.DialTCP(wshubtest.WithCompression())
	if !c.Compressed() {
		t.Fatal("not negotiated")
	}
	r := rand.New(rand.NewPCG(1, 2))
	var want int64
	for i, n := range []int{0, 1, 2, 16, 64, 125, 126, 127, 128, 1024, 4095, 4096, 4097, 65535, 65536, 131072, 1 << 20} {
		m := strings.Repeat(string(rune('a'+i)), n)
		want += int64(n)
		c.SendCompressed(m)
		c.ExpectText(m)

		z := wshubtest.Deflate([]byte(m))
		op := text | wshubtest.RSV1
		for len(z) > 1 {
			k := 1 + r.IntN(len(z)-1)
			c.SendFrame(false, op, z[:k])
			c.Ping("p")
			c.ExpectPong("p")
			z, op = z[k:], cont
		}
		c.SendFrame(true, op, z)
		c.ExpectText(m)
		c.SendText(m)
		c.ExpectText(m)
	}
	if got := c.Received(); got.Bytes != 3*want || got.Wire > got.Bytes/20 {
		t.Errorf("%d bytes in %d on the wire, want %d in much less", got.Bytes, got.Wire, 3*want)
	}
	c.SendFrame(true, text|wshubtest.RSV1, []byte("\xff\xff not deflate"))
	c.ExpectClose(1007)
}

// TestPings sends pings faster than they are answered; the last one always is.
func TestPings(t *testing.T) {
	srv, _ := serve(t, 1<<20, false)
	c := srv.DialTCP()
	for i := range 10 {
		c.Ping(fmt.Sprint(i))
	}
	for i := range 10 {
		c.ExpectPong(fmt.Sprint(i)) // one that reads gets them all
	}
	c.Close(1000, "")
}

// TestSlowReader sends much more than all buffers hold before it reads: everything comes back, in order.
func TestSlowReader(t *testing.T) {
	srv, _ := serve(t, 16<<20, false)
	c := srv.DialTCP(wshubtest.WithTimeout(time.Minute))
	c.Stall()
	const n, size = 24, 1 << 20
	sent := make(chan error, 1)
	go func() { // ends when all was sent, at the latest with the connection
		for i := range n {
			if err := c.TrySend(fmt.Sprintf("%02d", i) + repeat(size-2)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	c.Resume()
	for i := range n {
		m, ok := c.Next()
		if !ok || len(m.Data) != size || string(m.Data[:2]) != fmt.Sprintf("%02d", i) {
			t.Fatalf("message %d: %.10q, %t", i, m.Data, ok)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	c.Close(1000, "")
}

// TestShutdown sends while the server goes down: every client sees 1001, and what is echoed until then is in order.
func TestShutdown(t *testing.T) {
	srv, hub := serve(t, 16<<20, false)
	clients := make([]*wshubtest.Client, 8)
	stopped := make(chan struct{}, len(clients))
	for i := range clients {
		c := srv.DialTCP(wshubtest.WithTimeout(time.Minute))
		clients[i] = c
		go func() { // ends when the server has closed
			defer func() { stopped <- struct{}{} }()
			for k := 0; c.TrySend(fmt.Sprint(k)) == nil; k++ {
			}
		}()
		c.ExpectText("0")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := hub.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for _, c := range clients {
		c.ExpectClose(1001)
		for k, m := range c.Take() {
			if string(m.Data) != fmt.Sprint(k+1) {
				t.Errorf("message %d is %q", k+1, m.Data)
				break
			}
		}
		c.Abort()
		<-stopped
	}
}

// TestRun starts the program as main does and ends it as a signal does.
func TestRun(t *testing.T) {
	if err := run(t.Context(), "256.0.0.1:0", 1, false); err == nil {
		t.Error("no error for an address that is none")
	}
	if err := run(t.Context(), "127.0.0.1:0", 0, false); err == nil {
		t.Error("no error for a limit of nothing")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, "127.0.0.1:0", 1, true); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
