package wshubtest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/wshubtest"
)

// both runs a test in memory inside a bubble, and over TCP.
func both(t *testing.T, f func(t *testing.T, dial func(http.Handler, ...wshubtest.DialOption) *wshubtest.Client)) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f(t, func(h http.Handler, opts ...wshubtest.DialOption) *wshubtest.Client {
				return wshubtest.Dial(t, h, opts...)
			})
		})
	})
	t.Run("tcp", func(t *testing.T) {
		f(t, func(h http.Handler, opts ...wshubtest.DialOption) *wshubtest.Client {
			return wshubtest.Server(t, h).DialTCP(opts...)
		})
	})
}

func TestEcho(t *testing.T) {
	both(t, func(t *testing.T, dial func(http.Handler, ...wshubtest.DialOption) *wshubtest.Client) {
		c := dial(raw(echo))
		c.SendText("")
		c.ExpectText("")
		for _, n := range []int{1, 125, 126, 65535, 65536, 300_000} {
			s := strings.Repeat("ж", n/2)
			c.SendText(s)
			c.ExpectText(s)
			c.SendBinary([]byte(s))
			c.ExpectBinary([]byte(s))
		}
		c.SendJSON(map[string]any{"b": 1, "a": []int{2}})
		c.ExpectJSON(struct {
			A []int `json:"a"`
			B int   `json:"b"`
		}{[]int{2}, 1})
		c.Ping("p")
		c.ExpectPong("p")
		c.SendFrame(false, wshubtest.OpText, []byte("one "))
		c.SendFrame(true, wshubtest.OpContinuation, []byte("two"))
		c.ExpectText("one two")
		c.ExpectNothing()
		if got := c.Received(); got.Text != 9 || got.Binary != 6 || got.Pong != 1 {
			t.Errorf("received %+v", got)
		}
		if got := c.Close(1000, "bye"); got != 1000 {
			t.Errorf("the echo's code is %d", got)
		}
		<-c.Done()
	})
}

// TestAnswers checks what the client does by itself.
func TestAnswers(t *testing.T) {
	both(t, func(t *testing.T, dial func(http.Handler, ...wshubtest.DialOption) *wshubtest.Client) {
		got := make(chan string, 3)
		c := dial(raw(func(c rawConn) {
			c.send(0x89, "ping 1")
			c.text("last words")
			c.close(4001, "enough")
			for range 3 {
				first, payload, err := c.read()
				got <- fmt.Sprintf("%x %s %v", first, payload, err)
			}
		}))
		if reason := c.ExpectClose(4001); reason != "enough" {
			t.Errorf("reason %q", reason)
		}
		for _, want := range []string{"8a ping 1 <nil>", "88 \x0f\xa1 <nil>"} {
			if got := <-got; got != want {
				t.Errorf("answered %q, want %q", got, want)
			}
		}
		c.ExpectText("last words") // what came before the close frame is still there
		c.Abort()
		if end := <-got; !strings.HasPrefix(end, "0 ") {
			t.Errorf("after the close frame: %s", end)
		}
	})
}

func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := wshubtest.Dial(t, raw(func(c rawConn) {
			c.send(0x89, "")
			c.close(1001, "")
			c.SetReadDeadline(time.Now().Add(time.Minute))
			if _, _, err := c.read(); err == nil {
				t.Error("the client answered")
			}
		}), wshubtest.WithoutPong(), wshubtest.WithoutCloseEcho())
		c.ExpectClose(1001)
		if got := c.Received(); got.Ping != 1 || got.Close != 1 {
			t.Errorf("received %+v", got)
		}
		time.Sleep(2 * time.Minute)
	})
}

// TestStall checks that a stalled client takes no byte, so that writes back up after exactly the buffer's size.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const buffer = 100
		var written, offered int
		step := make(chan struct{})
		c := wshubtest.Dial(t, raw(func(c rawConn) {
			<-step
			for range 50 {
				offered++
				if c.text("12345678") != nil { // 10 bytes with the header
					return
				}
				written++
			}
		}), wshubtest.WithBuffer(buffer))
		c.Stall()
		close(step)
		synctest.Wait()
		if written != 10 || offered != 11 {
			t.Errorf("written %d, offered %d; want 10 in a buffer of %d bytes", written, offered, buffer)
		}
		if got := c.Received().Text; got != 0 {
			t.Errorf("a stalled client received %d", got)
		}
		time.Sleep(time.Hour)
		c.Resume()
		synctest.Wait()
		if got := len(c.Take()); got != 50 {
			t.Errorf("after Resume: %d messages", got)
		}
		c.Stall()
		c.Stall()
		c.Resume()
		c.Resume()
	})
}

func TestStallOverTCP(t *testing.T) {
	srv := wshubtest.Server(t, raw(echo))
	c := srv.DialTCP()
	for range 20 {
		c.Stall()
		c.SendText("x")
		c.Resume()
		c.ExpectText("x")
	}
	c.Stall()
	c.SendText("y")
	if c.Received().Text != 20 {
		t.Error("a stalled client received")
	}
	c.Close(1000, "") // resumes
	if got := c.Take(); len(got) != 1 {
		t.Errorf("took %v", got)
	}
}

func TestEarly(t *testing.T) {
	both(t, func(t *testing.T, dial func(http.Handler, ...wshubtest.DialOption) *wshubtest.Client) {
		var buffered int
		big := strings.Repeat("x", 3000)
		early := wshubtest.Frame(true, wshubtest.OpText, []byte(big))
		c := dial(raw(func(c rawConn) {
			buffered = c.r.Buffered()
			echo(c)
		}), wshubtest.WithEarly(early))
		c.ExpectText(big)
		c.SendText("after")
		c.ExpectText("after")
		if strings.HasPrefix(t.Name(), "TestEarly/memory") && buffered != len(early) {
			t.Errorf("%d bytes were in net/http's buffer, want %d", buffered, len(early))
		}
	})
}

func TestCompression(t *testing.T) {
	both(t, func(t *testing.T, dial func(http.Handler, ...wshubtest.DialOption) *wshubtest.Client) {
		c := dial(raw(echo, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
			wshubtest.WithCompression())
		if !c.Compressed() {
			t.Fatal("not negotiated")
		}
		text := strings.Repeat("the same again and again; ", 1000)
		c.SendCompressed(text)
		c.ExpectText(text)
		c.SendCompressed("")
		c.ExpectText("")
		c.SendText("plain")
		c.ExpectText("plain")
		if got := c.Received(); got.Wire > got.Bytes/10 {
			t.Errorf("received %+v", got)
		}
		half := wshubtest.Deflate([]byte(text))
		c.SendFrame(false, wshubtest.OpText|wshubtest.RSV1, half[:5])
		c.SendFrame(true, wshubtest.OpContinuation, half[5:])
		c.ExpectText(text)
	})
}

// TestViolations lists what the client does not take from a server.
func TestViolations(t *testing.T) {
	raw1 := func(b string) func(rawConn) { return func(c rawConn) { io.WriteString(c, b) } }
	for _, tt := range []struct {
		name string
		send func(rawConn)
		want string
	}{
		{"masked", raw1("\x81\x81\x00\x00\x00\x00x"), "masked"},
		{"reserved bits", raw1("\xC1\x01x"), "reserved bits"},
		{"reserved opcode", raw1("\x83\x01x"), "reserved opcode"},
		{"16 bits too long", raw1("\x81\x7e\x00\x05"), "shortest"},
		{"64 bits too long", raw1("\x81\x7f\x00\x00\x00\x00\x00\x00\x00\xff"), "shortest"},
		{"enormous", raw1("\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), "frame of"},
		{"fragmented ping", raw1("\x09\x00"), "control frame"},
		{"long ping", raw1("\x89\x7e\x00\xff"), "control frame"},
		{"not UTF-8", raw1("\x81\x01\xff"), "UTF-8"},
		{"continuation of nothing", raw1("\x80\x00"), "without a message"},
		{"message in a message", raw1("\x01\x00\x81\x00"), "inside a message"},
		{"half a close code", raw1("\x88\x01\x03"), "half a status"},
		{"reserved close code", raw1("\x88\x02\x03\xee"), "reserved code 1006"},
		{"close reason not UTF-8", raw1("\x88\x03\x03\xe8\xff"), "UTF-8"},
		{"data after close", raw1("\x88\x02\x03\xe8\x81\x00"), "after the close frame"},
		{"cut frame", raw1("\x81\x05ab"), "unexpected EOF"},
		{"just the end", raw1(""), "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := wshubtest.Dial(t, raw(tt.send))
				<-c.Done()
				if err := c.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("ended with %v, want %q", err, tt.want)
				}
			})
		})
	}
}

// TestFailures checks that what should end a test does, and with which words.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server func(rawConn)
		client func(*wshubtest.Client)
		want   string
	}{
		{"other text", func(c rawConn) { c.text("b") }, func(c *wshubtest.Client) { c.ExpectText("a") }, `got text "b", want text "a"`},
		{"other kind", func(c rawConn) { c.send(0x82, "a") }, func(c *wshubtest.Client) { c.ExpectText("a") }, `got binary 61, want text "a"`},
		{"other JSON", func(c rawConn) { c.text(`{"a":2}`) }, func(c *wshubtest.Client) { c.ExpectJSON(map[string]int{"a": 1}) }, `want JSON {"a":1}`},
		{"silence", echo, func(c *wshubtest.Client) { c.ExpectText("a") }, "the connection is open"},
		{"closed", func(c rawConn) { c.close(1013, "slow") }, func(c *wshubtest.Client) { c.ExpectText("a") }, `closed by the server with 1013 "slow"`},
		{"other close", func(c rawConn) { c.close(1013, "slow") }, func(c *wshubtest.Client) { c.ExpectClose(1000) }, `closed with 1013 "slow", want 1000`},
		{"no close", func(c rawConn) {}, func(c *wshubtest.Client) { c.ExpectClose(1000) }, "without a close frame"},
		{"unwanted", func(c rawConn) { c.text("b"); echo(c) }, func(c *wshubtest.Client) { c.ExpectNothing() }, `got 1, the first text "b"`},
		{"no pong", echo, func(c *wshubtest.Client) { c.ExpectPong("x") }, `want pong "x"`},
		{"no drop", echo, func(c *wshubtest.Client) { c.ExpectDropped() }, "want the connection to drop"},
		{"no echo", func(c rawConn) { io.Copy(io.Discard, c) }, func(c *wshubtest.Client) { c.Close(1000, "") }, "no close frame in answer"},
		{"stuck send", func(c rawConn) { time.Sleep(time.Minute) }, func(c *wshubtest.Client) { c.SendBinary(make([]byte, 1<<20)) }, "send: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failed := &failing{TB: t}
				ended := make(chan struct{})
				go func() { // a goroutine that Fatalf may end
					defer close(ended)
					tt.client(wshubtest.Dial(failed, raw(tt.server)))
				}()
				<-ended
				if !strings.Contains(failed.message, tt.want) {
					t.Errorf("failed with %q, want %q", failed.message, tt.want)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

// failing records Fatalf instead of failing.
type failing struct {
	testing.TB
	message string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	f.SkipGoexit()
}

// SkipGoexit ends the goroutine without a word to the real test.
func (f *failing) SkipGoexit() { goexit() }

func TestTrySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := wshubtest.Dial(t, raw(echo))
		if err := c.TrySend("a"); err != nil {
			t.Error(err)
		}
		c.ExpectText("a")
		c.Abort()
		if err := c.TrySend("b"); err == nil {
			t.Error("no error after Abort")
		}
		if _, ok := c.Next(); ok {
			t.Error("a message after Abort")
		}
		if err := c.Err(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("Err is %v", err)
		}
		c.Abort()
	})
}

func TestOnMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		c := wshubtest.Dial(t, raw(echo), wshubtest.WithOnMessage(func(m wshubtest.Message) { got = append(got, string(m.Data)) }))
		c.SendText("a")
		c.SendText("b")
		synctest.Wait()
		if fmt.Sprint(got) != "[a b]" || len(c.Take()) != 0 {
			t.Errorf("got %v", got)
		}
	})
}
