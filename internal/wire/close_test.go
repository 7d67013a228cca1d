package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The echo of a close frame is out before the connection is closed, also where writing only queues.
func TestPitfall53CloseIsEchoed(t *testing.T) {
	for _, tc := range []struct {
		name   string
		sent   []byte
		code   int
		reason string
		echo   int
	}{
		{"with a code", closing(1000, "bye"), 1000, "bye", 1000},
		{"private code", closing(4999, ""), 4999, "", 4999},
		{"without a code", clientFrame(bitFin|byte(OpClose), ""), 1005, "", 0},
		{"longest reason", closing(1001, repeat(123)), 1001, repeat(123), 1001},
		{"data behind it", append(closing(1000, "bye"), text("more")...), 1000, "bye", 1000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			over(t, writeKinds, func(t *testing.T, kind string) {
				c, p := connect(t, kind, Options{}, "", "")
				own(t, c)
				go p.send(append(text("last words"), tc.sent...))
				wantMessage(t, c, OpText, "last words")
				for range 2 {
					_, _, err := c.ReadMessage()
					var pc *PeerClose
					if !errors.As(err, &pc) || pc.Code != tc.code || pc.Reason != tc.reason {
						t.Fatalf("ReadMessage: %v", err)
					}
				}
				// AwaitClose returns once the echo is out, so that CloseNow cannot overtake it.
				seen := make(chan bool)
				go func() {
					ok := c.AwaitClose(patience)
					c.CloseNow()
					seen <- ok
				}()
				p.wantClose(tc.echo)
				p.wantEOF()
				if !<-seen {
					t.Error("AwaitClose did not see the close frame")
				}
			})
		})
	}
}

func TestServerCloses(t *testing.T) {
	for _, tc := range []struct {
		name string
		sent []byte // by the peer before its close frame
	}{
		{"idle", nil},
		{"in the middle of data", append(text(repeat(100_000)), text("x")...)},
		{"in the middle of a fragmented message", clientFrame(byte(OpText), "a")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			each(t, func(t *testing.T, kind string) {
				c, p := connect(t, kind, Options{ReadLimit: 10_000}, "", "")
				own(t, c)
				if !c.QueueClose(1001, "going") || c.QueueClose(1000, "second") {
					t.Error("the first close frame does not win")
				}
				c.Interrupt()
				seen := make(chan bool)
				go func() {
					c.ReadMessage()
					seen <- c.AwaitClose(patience)
				}()
				p.wantClose(1001)
				p.send(tc.sent, closing(1001, ""))
				if !<-seen {
					t.Error("AwaitClose did not see the close frame")
				}
				p.wantEOF()
			})
		})
	}
}

func TestAwaitCloseEnds(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		for name, end := range map[string]func(*Conn, *peer){
			"timeout":        func(*Conn, *peer) {},
			"peer vanishes":  func(_ *Conn, p *peer) { closePeer(p.Conn) },
			"CloseNow":       func(c *Conn, _ *peer) { c.CloseNow() },
			"late Interrupt": func(c *Conn, _ *peer) { c.Interrupt() },
		} {
			t.Run(name, func(t *testing.T) {
				c, p := connect(t, kind, Options{}, "", "")
				own(t, c)
				c.QueueClose(1001, "")
				p.wantClose(1001)
				limit := patience
				if name == "timeout" || name == "late Interrupt" {
					limit = 30 * time.Millisecond
				}
				start := time.Now()
				seen := make(chan bool)
				go func() { seen <- c.AwaitClose(limit) }()
				end(c, p)
				if <-seen {
					t.Error("a close frame was seen")
				}
				if took := time.Since(start); took < limit && limit < patience || took >= patience {
					t.Errorf("AwaitClose took %v", took)
				}
			})
		}
	})
}

func TestAwaitCloseInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, "mem", Options{}, "", "")
		own(t, c)
		c.QueueClose(1001, "")
		var sender sync.WaitGroup
		defer sender.Wait()
		defer p.Close()
		sender.Go(func() {
			for range 100 { // a peer that talks on does not prolong it
				time.Sleep(time.Second)
				if _, err := p.Write(text("more")); err != nil {
					return
				}
			}
		})
		start := time.Now()
		if c.AwaitClose(5*time.Second) || time.Since(start) != 5*time.Second {
			t.Errorf("AwaitClose took %v", time.Since(start))
		}
	})
}

// The close frame of a peer that does not read is not waited for longer than allowed.
func TestAwaitCloseBehindStalledWrite(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{}, "", "")
		fill(t, c)
		p.send(closing(1000, ""))
		if _, _, err := c.ReadMessage(); !errors.As(err, new(*PeerClose)) {
			t.Fatalf("ReadMessage: %v", err)
		}
		start := time.Now()
		if !c.AwaitClose(30 * time.Millisecond) {
			t.Error("the close frame was not seen")
		}
		if took := time.Since(start); took < 30*time.Millisecond {
			t.Errorf("AwaitClose took %v, but the close frame is not out", took)
		}
	})
}

func TestLane(t *testing.T) {
	c := new(Conn)
	wakes := 0
	c.SetWake(func() { wakes++ })
	step := func(name string, f func(), wantWakes int, want string, wantLast bool) {
		t.Helper()
		wakes = 0
		f()
		if wakes != wantWakes {
			t.Errorf("%s: %d wakes, want %d", name, wakes, wantWakes)
		}
		if has := c.HasControl(); has != (want != "") {
			t.Errorf("%s: HasControl %v", name, has)
		}
		if got, last := c.TakeControl([]byte("dst")); string(got) != "dst"+want || last != wantLast {
			t.Errorf("%s: took % x, last %v; want % x, %v", name, got, last, want, wantLast)
		}
	}
	step("nothing", func() {}, 0, "", false)
	step("pings", func() { c.QueuePing(); c.QueuePing() }, 1, "\x89\x00", false)
	step("pongs", func() {
		payload := []byte{0, 'x'}
		for i := range 100 {
			payload[0] = byte(i)
			c.onPing(t.Context(), payload)
		}
		clear(payload) // the library's buffer, which it uses again
	}, 100, "\x8a\x02\x63x", false)
	step("pong and ping", func() { c.QueuePing(); c.onPing(t.Context(), nil) }, 2, "\x8a\x00\x89\x00", false)
	step("close", func() {
		c.QueuePing()
		c.onPing(t.Context(), nil)
		if !c.QueueClose(1001, "x") {
			t.Error("not queued")
		}
	}, 3, "\x88\x03\x03\xe9x", true)
	step("after close", func() {
		c.QueuePing()
		c.onPing(t.Context(), nil)
		if c.QueueClose(1000, "") {
			t.Error("queued twice")
		}
	}, 0, "", false)
	if !c.CloseQueued() {
		t.Error("CloseQueued is false")
	}
}

// A close frame may come between the frames of a message, which the library is inflating just then: it must not give
// back to its pool what it still uses. The race detector is the judge.
func TestPeerClosesInsideMessage(t *testing.T) {
	random := make([]byte, 20_000)
	rand.NewChaCha8([32]byte{}).Read(random)
	whole := deflated(t, string(random))
	const first = bitRSV1 | byte(OpBinary)
	each(t, func(t *testing.T, kind string) {
		var wg sync.WaitGroup
		for i := range 20 {
			c, p := connect(t, kind, Options{Compress: true}, offerDeflate, "")
			own(t, c)
			wg.Go(func() {
				if i%2 == 0 {
					p.send(clientFrame(first, whole[:9000]))
				} else {
					p.send(clientFrame(bitFin|first, whole))
				}
				p.send(closing(4000, "bye"))
			})
			wg.Go(func() {
				_, data, err := c.ReadMessage()
				if i%2 != 0 {
					if err != nil || !bytes.Equal(data, random) {
						t.Errorf("ReadMessage: %d bytes, %v", len(data), err)
					}
					_, _, err = c.ReadMessage()
				}
				var pc *PeerClose
				if !errors.As(err, &pc) || pc.Code != 4000 || pc.Reason != "bye" {
					t.Errorf("ReadMessage: %v, want the peer's close", err)
				}
				c.AwaitClose(patience)
				c.CloseNow()
			})
			wg.Go(func() {
				p.wantClose(4000)
				p.wantEOF()
			})
		}
		wg.Wait()
	})
}

func TestPingFlood(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{}, "", "")
		for _, n := range []int{1, 1000} {
			for i := range n {
				p.send(clientFrame(bitFin|byte(OpPing), string(rune('a'+i%26))))
			}
			p.send(text("done"))
			wantMessage(t, c, OpText, "done")
			want := string(AppendFrame(nil, OpPong, []byte{byte('a' + (n-1)%26)}))
			if b, _ := c.TakeControl(nil); string(b) != want {
				t.Errorf("after %d pings the lane held %d bytes, want the newest pong", n, len(b))
			}
		}
		go func() {
			for range 2 * maxUnanswered {
				if _, err := p.Write(clientFrame(bitFin|byte(OpPing), "")); err != nil {
					return
				}
			}
		}()
		wantViolation(t, c, 1008)
		c.CloseNow()
	})
}
