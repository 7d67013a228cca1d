package wshubtest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing/synctest"
	"time"
)

// Next waits for the next data message and takes it. ok is false when the connection ended, or the time was over, with
// no message left. It never fails the test.
func (c *Client) Next() (m Message, ok bool) {
	c.await(func() bool {
		if len(c.inbox) > 0 {
			m, ok = c.inbox[0], true
			c.inbox = c.inbox[1:]
		}
		return ok || c.closing
	})
	return m, ok
}

// Take takes the data messages that have come so far, without waiting. In a bubble, after synctest.Wait, that is all
// that the server has written.
func (c *Client) Take() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.inbox
	c.inbox = nil
	return all
}

// ExpectText wants the next data message to be this text.
func (c *Client) ExpectText(want string) {
	c.t.Helper()
	c.expect(Message{Data: []byte(want)})
}

// ExpectBinary wants the next data message to be binary, with this data.
func (c *Client) ExpectBinary(want []byte) {
	c.t.Helper()
	c.expect(Message{Binary: true, Data: want})
}

func (c *Client) expect(want Message) {
	c.t.Helper()
	got, ok := c.Next()
	if !ok {
		c.t.Fatalf("wshubtest: want %v: %s", want, c.state())
	}
	if got.Binary != want.Binary || !bytes.Equal(got.Data, want.Data) {
		c.t.Fatalf("wshubtest: got %v, want %v", got, want)
	}
}

// ExpectJSON wants the next data message to be a text that holds the same JSON value as want does when encoding/json
// writes it: the order of keys and white space do not count.
func (c *Client) ExpectJSON(want any) {
	c.t.Helper()
	text, err := json.Marshal(want)
	if err != nil {
		c.t.Fatalf("wshubtest: %v", err)
	}
	got, ok := c.Next()
	if !ok {
		c.t.Fatalf("wshubtest: want JSON %.200s: %s", text, c.state())
	}
	if got.Binary || !sameJSON(got.Data, text) {
		c.t.Fatalf("wshubtest: got %v, want JSON %.200s", got, text)
	}
}

func sameJSON(a, b []byte) bool {
	return reflect.DeepEqual(decodeJSON(a), decodeJSON(b))
}

// decodeJSON keeps numbers as they are written; text that is no JSON equals nothing but itself.
func decodeJSON(p []byte) any {
	d := json.NewDecoder(bytes.NewReader(p))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return p
	}
	return v
}

// ExpectPong waits for a pong with this payload. Pongs before it that nobody waited for are passed over.
func (c *Client) ExpectPong(payload string) {
	c.t.Helper()
	ok := c.await(func() bool {
		for i, p := range c.pongs {
			if p == payload {
				c.pongs = c.pongs[i+1:]
				return true
			}
		}
		return false
	})
	if !ok {
		c.t.Fatalf("wshubtest: want pong %q: %s", payload, c.state())
	}
}

// ExpectClose waits for the server's close frame, wants it to have this code (1005: none), and returns its reason.
// When it returns, the client has answered. Messages before the close frame stay for Next and Take.
func (c *Client) ExpectClose(code int) (reason string) {
	c.t.Helper()
	if !c.await(func() bool { return c.closing }) {
		c.t.Fatalf("wshubtest: want close %d: %s", code, c.state())
	}
	got, reason := c.peerClose()
	if got != code {
		c.t.Fatalf("wshubtest: closed with %d %q, want %d", got, reason, code)
	}
	c.flushReplies()
	return reason
}

// ExpectDropped waits until the connection has ended without a close frame from the server.
func (c *Client) ExpectDropped() {
	c.t.Helper()
	ended := c.await(func() bool { return c.closing || c.err != nil })
	if closing := c.has(func() bool { return c.closing }); !ended || closing {
		c.t.Fatalf("wshubtest: want the connection to drop: %s", c.state())
	}
}

// quiet is how long ExpectNothing waits on a real clock.
const quiet = 50 * time.Millisecond

// ExpectNothing wants no data message to be left: in a bubble when nothing moves any more (synctest.Wait), elsewhere
// after a short while, which is a hint and no proof.
func (c *Client) ExpectNothing() {
	c.t.Helper()
	if !settle() {
		time.Sleep(quiet)
	}
	c.mu.Lock()
	n := len(c.inbox)
	var first Message
	if n > 0 {
		first = c.inbox[0]
	}
	c.mu.Unlock()
	if n > 0 {
		c.t.Fatalf("wshubtest: want no message, got %d, the first %v", n, first)
	}
}

// settle is synctest.Wait; it returns false outside of a bubble, where Wait panics.
func settle() (inBubble bool) {
	defer func() { recover() }()
	synctest.Wait()
	return true
}
