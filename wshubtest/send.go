package wshubtest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"
)

// SendText sends a text message in one frame and waits until the connection has taken it.
func (c *Client) SendText(s string) {
	c.t.Helper()
	c.SendFrame(true, OpText, []byte(s))
}

// SendBinary sends a binary message in one frame.
func (c *Client) SendBinary(p []byte) {
	c.t.Helper()
	c.SendFrame(true, OpBinary, p)
}

// SendJSON sends v, as encoding/json writes it, as a text message.
func (c *Client) SendJSON(v any) {
	c.t.Helper()
	p, err := json.Marshal(v)
	if err != nil {
		c.t.Fatalf("wshubtest: send: %v", err)
	}
	c.SendFrame(true, OpText, p)
}

// SendCompressed sends a text message compressed, which the client must have negotiated.
func (c *Client) SendCompressed(s string) {
	c.t.Helper()
	c.SendFrame(true, OpText|RSV1, Deflate([]byte(s)))
}

// Ping sends a ping; see [Client.ExpectPong].
func (c *Client) Ping(payload string) {
	c.t.Helper()
	c.SendFrame(true, OpPing, []byte(payload))
}

// SendFrame sends one masked frame, which may be one that no client should send.
func (c *Client) SendFrame(fin bool, op Opcode, payload []byte) {
	c.t.Helper()
	c.SendRaw(Frame(fin, op, payload))
}

// SendRaw sends bytes as they are.
func (c *Client) SendRaw(p []byte) {
	c.t.Helper()
	if err := c.write(p, false); err != nil {
		c.t.Fatalf("wshubtest: send: %v; %s", err, c.state())
	}
}

// TrySend is SendText with an error, for goroutines that are not the test's.
func (c *Client) TrySend(s string) error { return c.write(Frame(true, OpText, []byte(s)), false) }

// TrySendRaw is SendRaw with an error, also for a server that may have gone by now.
func (c *Client) TrySendRaw(p []byte) error { return c.write(p, false) }

// write sends p whole, and nothing between its bytes. A close frame goes out once.
func (c *Client) write(p []byte, closing bool) error {
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-c.gone:
		return net.ErrClosed
	case <-timer.C:
		return fmt.Errorf("another send has not finished: %w", os.ErrDeadlineExceeded)
	}
	if closing {
		c.mu.Lock()
		sent := c.closeSent
		c.closeSent = true
		c.mu.Unlock()
		if sent {
			return nil
		}
	}
	c.conn.SetWriteDeadline(time.Now().Add(c.timeout))
	_, err := c.conn.Write(p)
	c.conn.SetWriteDeadline(time.Time{})
	return err
}

// reply sends a frame from the reader, which must not wait for room: the server may be waiting for it to read.
func (c *Client) reply(f []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.toReply = append(c.toReply, f)
	if c.replying {
		return
	}
	c.replying = true
	c.replies.Add(1)
	go c.writeReplies() // owned by the client; ends when there is nothing to reply
}

func (c *Client) writeReplies() {
	defer c.replies.Done()
	for {
		c.mu.Lock()
		if len(c.toReply) == 0 {
			c.replying = false
			c.notifyLocked()
			c.mu.Unlock()
			return
		}
		f := c.toReply[0]
		c.toReply = c.toReply[1:]
		c.mu.Unlock()
		c.write(f, Opcode(f[0]&0x0F) == OpClose) // an error ends the reader as well
	}
}

func (c *Client) flushReplies() { c.await(func() bool { return !c.replying }) }
