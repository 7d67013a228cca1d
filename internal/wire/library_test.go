package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// The library closes after 5 s inside a control frame; with a close frame, all the same. That ends reading, and CloseNow does
// not wait for it.
func TestPitfall53LibraryClosesInsideControlFrame(t *testing.T) {
	for _, kind := range fakeKinds {
		for _, sent := range []string{"\x89\x85" + zeroMask + "pi", "\x8a\x85" + zeroMask + "po", "\x88\x85" + zeroMask + "\x03\xe8"} {
			t.Run(fmt.Sprintf("%s/%x", kind, sent[:1]), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, p := connect(t, kind, Options{}, "", "")
					go p.send([]byte(sent))
					start := time.Now()
					wantViolation(t, c, 1008)
					if b, last := c.TakeControl(nil); !last {
						t.Errorf("the lane holds % x", b)
					}
					c.CloseNow()
					if got := time.Since(start); got != 5*time.Second {
						t.Errorf("ended after %v, want 5s", got)
					}
				})
			})
		}
	}
}

// What the library writes goes nowhere, so that a peer that reads nothing cannot make it wait: it gives such a write 5 s and
// ends the connection then.
func TestPitfall53LibraryWritesNothing(t *testing.T) {
	for _, kind := range fakeKinds {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := connect(t, kind, Options{Compress: true, ReadLimit: 1000, SendBuffer: 4 << 10}, offerDeflate, "")
				full := fill(t, c)
				synctest.Wait() // a flusher has gone to write
				full += fill(t, c)
				start := time.Now()
				go p.send(
					clientFrame(bitFin|byte(OpPing), "1"), clientFrame(bitFin|byte(OpPing), "2"), text("hi"),
					clientFrame(bitFin|bitRSV1|byte(OpText), deflated(t, repeat(10_000))))
				wantMessage(t, c, OpText, "hi")
				if b, _ := c.TakeControl(nil); string(b) != "\x8a\x012" {
					t.Errorf("the lane holds % x, want the newest pong", b)
				}
				wantViolation(t, c, 1009) // the library's own verdict, which it tries to tell
				if got := time.Since(start); got != 0 {
					t.Errorf("it took %v", got)
				}
				b, last := c.TakeControl(nil)
				if !last {
					t.Errorf("the lane holds % x, want the close frame", b)
				}
				got := make(chan []byte)
				go func() {
					all, _ := io.ReadAll(p.br)
					got <- all
				}()
				if _, err := c.WriteAll(b, patience); err != nil {
					t.Fatal(err)
				}
				c.CloseSent()
				c.AwaitClose(patience)
				c.CloseNow()
				if all := <-got; len(all) < full || !bytes.Equal(all[full:], b) {
					t.Errorf("the peer got %d bytes, want %d and the close frame", len(all), full)
				}
			})
		})
	}
}

func TestPitfall53CloseNowEndsReading(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		for name, half := range map[string]string{
			"between frames":              "",
			"inside a header":             "\x81",
			"inside a frame":              "\x81\x85" + zeroMask + "he",
			"inside a ping":               "\x89\x85" + zeroMask + "pi",
			"inside a close frame":        "\x88\x85" + zeroMask + "\x03",
			"inside a compressed message": string(clientFrame(bitRSV1|byte(OpText), deflated(t, "hello"))),
		} {
			t.Run(name, func(t *testing.T) {
				c, p := connect(t, kind, Options{Compress: true}, offerDeflate, "")
				own(t, c)
				p.send([]byte(string(clientFrame(bitFin|byte(OpPing), "here")) + half))
				ended := make(chan error, 1)
				go func() {
					_, _, err := c.ReadMessage()
					ended <- err
				}()
				p.wantFrame(OpPong, "here")
				c.CloseNow()
				if err := <-ended; !errors.Is(err, net.ErrClosed) {
					t.Errorf("ReadMessage: %v", err)
				}
				if _, err := c.TryWrite([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("TryWrite: %v", err)
				}
				if err := c.CloseNow(); err != nil {
					t.Errorf("second CloseNow: %v", err)
				}
			})
		}
	})
}

// A ping that ends the session on the reader's own stack must not wait for the reader.
func TestCloseNowInsideWake(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{}, "", "")
		c.SetWake(func() { c.CloseNow() })
		p.send(clientFrame(bitFin|byte(OpPing), ""))
		if _, _, err := c.ReadMessage(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadMessage: %v", err)
		}
	})
}
