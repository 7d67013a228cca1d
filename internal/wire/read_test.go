package wire

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

func TestReadMessages(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{}, "", "")
		sizes := []int{0, 1, 125, 126, 1023, 4095, 4096, 4097, 65535, 65536, 512 << 10}
		go func() {
			for _, n := range sizes {
				p.send(text(repeat(n)), clientFrame(bitFin|byte(OpBinary), strings.Repeat("\xff", n)))
			}
			p.send(
				clientFrame(byte(OpText), "a"), clientFrame(byte(OpContinuation), ""),
				clientFrame(bitFin|byte(OpPing), "between"), clientFrame(bitFin|byte(OpPong), ""),
				clientFrame(bitFin|byte(OpContinuation), "é"))
		}()
		for _, n := range sizes {
			wantMessage(t, c, OpText, repeat(n))
			wantMessage(t, c, OpBinary, strings.Repeat("\xff", n))
		}
		wantMessage(t, c, OpText, "aé")
		if b, last := c.TakeControl(nil); string(b) != string(AppendFrame(nil, OpPong, []byte("between"))) || last {
			t.Errorf("the lane holds % x, want the pong", b)
		}
		if c.HasControl() {
			t.Error("the lane holds something after TakeControl")
		}
	})
}

func TestPitfall55EarlyBytes(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{}, "", string(text("first"))+string(text("second"))+"\x81")
		own(t, c)
		p.send(text("third")[1:], closing(1000, ""))
		for _, want := range []string{"first", "second", "third"} {
			wantMessage(t, c, OpText, want)
		}
		if _, _, err := c.ReadMessage(); !errors.As(err, new(*PeerClose)) {
			t.Errorf("ReadMessage: %v", err)
		}
		p.wantClose(1000)
	})
}

func TestPitfall54ViolationsReachThePeer(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		for _, tc := range violations {
			t.Run(tc.name, func(t *testing.T) {
				c, p := connect(t, kind, Options{ReadLimit: 1024}, "", "")
				own(t, c)
				go p.send([]byte(string(text("before")) + tc.sent))
				wantMessage(t, c, OpText, "before")
				wantViolation(t, c, tc.code)
				if !c.CloseQueued() {
					t.Error("no close frame was queued")
				}
				if reason := p.wantClose(tc.code); !utf8.ValidString(reason) {
					t.Errorf("the close frame says %q", reason)
				}
				p.wantEOF()
			})
		}
	})
}

func TestPitfall54InvalidText(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		for name, sent := range map[string]string{
			"whole":     string(text("a\xffb")),
			"fragments": string(clientFrame(byte(OpText), "\xc3")) + string(clientFrame(bitFin, "\x28")),
			"surrogate": string(text("\xed\xa0\x80")),
		} {
			t.Run(name, func(t *testing.T) {
				c, p := connect(t, kind, Options{}, "", "")
				own(t, c)
				p.send([]byte(sent))
				wantViolation(t, c, 1007)
				p.wantClose(1007)
			})
		}
	})
}

// deflated is what a client sends: compressed without context takeover.
func deflated(t testing.TB, payload string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	io.WriteString(w, payload)
	w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

func TestCompressedMessages(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{Compress: true, ReadLimit: 100_000}, offerDeflate, "")
		if ext := p.resp.Header.Get("Sec-WebSocket-Extensions"); !c.Compressed() || !strings.Contains(ext, "server_no_context_takeover") ||
			!strings.Contains(ext, "client_no_context_takeover") {
			t.Fatalf("Compressed %v, extensions %q", c.Compressed(), ext)
		}
		own(t, c)
		const first = bitFin | bitRSV1 | byte(OpText)
		exact := repeat(100_000)
		bomb := deflated(t, repeat(10_000_000))
		go p.send(
			clientFrame(first, deflated(t, "hello")),
			text("plain"),
			clientFrame(first&^bitFin, deflated(t, exact)[:20]), clientFrame(bitFin|byte(OpPing), ""), clientFrame(bitFin, deflated(t, exact)[20:]),
			clientFrame(first, bomb))
		wantMessage(t, c, OpText, "hello")
		wantMessage(t, c, OpText, "plain")
		wantMessage(t, c, OpText, exact)
		wantViolation(t, c, 1009)
		if reason := p.wantClose(1009); reason != "message over the limit" {
			t.Errorf("the close frame says %q", reason)
		}
	})
}

func TestCompressedGarbage(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{Compress: true}, offerDeflate, "")
		own(t, c)
		p.send(clientFrame(bitFin|bitRSV1|byte(OpText), "\xff\xff\xff\xff"))
		wantViolation(t, c, 1007)
		p.wantClose(1007)
	})
}

// Blocks that inflate to nothing would otherwise pass the limit for ever.
func TestCompressedNothing(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{Compress: true, ReadLimit: 1000}, offerDeflate, "")
		own(t, c)
		go func() {
			p.send(clientFrame(bitRSV1|byte(OpText), ""))
			empty := clientFrame(0, strings.Repeat("\x00\x00\x00\xff\xff", 20))
			for range 40 {
				p.send(empty)
			}
		}()
		wantViolation(t, c, 1009)
		p.wantClose(1009)
	})
}

// The library takes a final frame that the network has cut short for a whole one, compressed or not.
func TestMessageCutShort(t *testing.T) {
	long := make([]byte, 20_000)
	rand.NewChaCha8([32]byte{}).Read(long)
	for _, tc := range []struct {
		name  string
		frame []byte
		at    int
	}{
		{"plain, behind the header", text("hello"), 6},
		{"plain", text("hello"), 8},
		{"plain and long", text(repeat(20_000)), 8 + 4096},
		{"compressed, behind the header", clientFrame(bitFin|bitRSV1|byte(OpText), deflated(t, "hello")), 6},
		{"compressed", clientFrame(bitFin|bitRSV1|byte(OpText), deflated(t, "hello, hello, hello")), 10},
		{"compressed and long", clientFrame(bitFin|bitRSV1|byte(OpBinary), deflated(t, string(long))), 8 + 4096},
	} {
		t.Run(tc.name, func(t *testing.T) {
			each(t, func(t *testing.T, kind string) {
				c, p := connect(t, kind, Options{Compress: true}, offerDeflate, "")
				p.send(tc.frame[:tc.at])
				closePeer(p.Conn)
				if _, data, err := c.ReadMessage(); err == nil {
					t.Errorf("ReadMessage = %q, want an error", clip(data))
				}
				if c.CloseQueued() {
					t.Error("a close frame for a peer that has vanished")
				}
			})
		})
	}
}

func TestNetworkErrors(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{}, "", "")
		p.send(text("last"))
		closePeer(p.Conn)
		wantMessage(t, c, OpText, "last")
		_, _, err := c.ReadMessage()
		if want := io.EOF; kind != "tls" && err != want || err == nil {
			t.Errorf("ReadMessage: %v, want %v", err, want)
		}
		if c.CloseQueued() {
			t.Error("a close frame for a peer that has vanished")
		}
	})
}

func TestMessageTimeout(t *testing.T) {
	for name, sent := range map[string]string{
		"one byte":        "\x81",
		"half a header":   "\x81\xfe\x01",
		"half a payload":  string(text("hello")[:8]),
		"a fragment":      string(clientFrame(byte(OpText), "a")),
		"half a ping":     "\x89\x85" + zeroMask + "pi",
		"after a message": string(text("whole")) + "\x81",
		"pings between":   string(clientFrame(byte(OpText), "a")) + string(clientFrame(bitFin|byte(OpPing), "")),
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, kind string) {
				c, p := connect(t, kind, Options{MessageTimeout: 50 * time.Millisecond}, "", "")
				own(t, c)
				p.send([]byte(sent))
				if strings.HasPrefix(name, "after") {
					wantMessage(t, c, OpText, "whole")
				}
				wantViolation(t, c, 1008)
				p.wantClose(1008)
			})
		})
	}
}

func TestMessageTimeoutInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, "mem", Options{MessageTimeout: 3 * time.Second}, "", "")
		start := time.Now()
		var sender sync.WaitGroup
		defer sender.Wait()
		defer p.Close()
		sender.Go(func() {
			time.Sleep(time.Minute) // silence between two messages is no offence
			half := text("slow")
			p.send(half[:4])
			time.Sleep(2 * time.Second)
			p.send(half[4:])
			time.Sleep(2 * time.Second)
			p.send(text(repeat(1000))[:3])
			for range 100 { // nor do bytes, or empty fragments, buy time
				time.Sleep(100 * time.Millisecond)
				if _, err := p.Write([]byte{'n'}); err != nil {
					return
				}
			}
		})
		wantMessage(t, c, OpText, "slow")
		seen := c.LastSeen()
		if seen.Sub(start) != 62*time.Second {
			t.Errorf("life at %v, want 1m2s", seen.Sub(start))
		}
		wantViolation(t, c, 1008)
		if got := time.Since(start); got != 67*time.Second {
			t.Errorf("ended after %v, want 1m7s", got)
		}
		if !c.LastSeen().Equal(seen) {
			t.Error("mere bytes count as life")
		}
	})
}

func TestEmptyFragmentsInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, "mem", Options{MessageTimeout: 3 * time.Second}, "", "")
		start := time.Now()
		var sender sync.WaitGroup
		defer sender.Wait()
		defer p.Close()
		sender.Go(func() {
			p.send(clientFrame(byte(OpText), ""))
			for range 50 {
				time.Sleep(100 * time.Millisecond)
				p.send(clientFrame(0, ""))
			}
		})
		wantViolation(t, c, 1008)
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("ended after %v, want 3s", got)
		}
	})
}

// What one chunk ends with has its own time, also when what the chunk begins with was late.
func TestMessageTimeoutStartsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, "mem", Options{MessageTimeout: 3 * time.Second}, "", "")
		start := time.Now()
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			ping := clientFrame(bitFin|byte(OpPing), "")
			p.send(ping[:1])
			time.Sleep(2 * time.Second)
			p.send(append(ping[1:], 0x81))
		})
		wantViolation(t, c, 1008)
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("ended after %v, want 5s", got)
		}
	})
}

// The time a handler takes is not the client's.
func TestMessageTimeoutWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, "mem", Options{MessageTimeout: 3 * time.Second}, "", "")
		second := text("second")
		p.send(append(text("first"), second[:5]...))
		wantMessage(t, c, OpText, "first")
		p.send(second[5:])
		time.Sleep(time.Hour)
		if idle := c.Idle(time.Now()); idle != 0 {
			t.Errorf("idle for %v while nobody reads", idle)
		}
		wantMessage(t, c, OpText, "second")
	})
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, "mem", Options{}, "", "")
		time.Sleep(time.Hour)
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.ReadMessage()
		}()
		wantIdle := func(want time.Duration) {
			t.Helper()
			synctest.Wait()
			if got := c.Idle(time.Now()); got != want {
				t.Errorf("idle for %v, want %v", got, want)
			}
		}
		wantIdle(0)
		time.Sleep(7 * time.Second)
		wantIdle(7 * time.Second)
		p.send([]byte("\x8a"))
		wantIdle(7 * time.Second)
		p.send([]byte("\x80" + zeroMask))
		wantIdle(0)
		time.Sleep(time.Second)
		wantIdle(time.Second)
		p.send(text("x"))
		<-done
		wantIdle(0)
	})
}

func TestInterrupt(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		for _, tc := range []struct {
			name string
			sent string
		}{
			{"between frames", ""},
			{"inside a frame", "\x81\x85" + zeroMask + "he"},
		} {
			t.Run(tc.name, func(t *testing.T) {
				c, p := connect(t, kind, Options{MessageTimeout: patience}, "", "")
				own(t, c)
				p.send([]byte(string(clientFrame(bitFin|byte(OpPing), "here")) + tc.sent))
				ended := make(chan error, 1)
				go func() {
					_, _, err := c.ReadMessage()
					ended <- err
				}()
				p.wantFrame(OpPong, "here") // it reads
				c.Interrupt()
				c.Interrupt()
				if err := <-ended; err != ErrInterrupted {
					t.Errorf("ReadMessage under way: %v", err)
				}
				if _, _, err := c.ReadMessage(); err != ErrInterrupted {
					t.Errorf("ReadMessage after: %v", err)
				}
				if c.CloseQueued() {
					t.Error("a close frame was queued")
				}
				// The rest of the frame still arrives; the close frame behind it is found.
				c.QueueClose(1001, "")
				p.wantClose(1001)
				rest := ""
				if tc.sent != "" {
					rest = "llo"
				}
				p.send([]byte(rest + string(closing(1001, ""))))
				if !c.AwaitClose(patience) {
					t.Error("the peer's close frame was not seen")
				}
			})
		}
	})
}

func TestInterruptBeforeReading(t *testing.T) {
	c, p := connect(t, "tcp", Options{}, "", string(text("early")))
	_ = p
	c.Interrupt()
	if _, _, err := c.ReadMessage(); err != ErrInterrupted {
		t.Errorf("ReadMessage: %v", err)
	}
}
