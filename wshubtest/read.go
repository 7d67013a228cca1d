package wshubtest

import (
	"errors"
	"io"
	"net"
	"os"
	"unicode/utf8"
)

// read is the client's reading goroutine.
func (c *Client) read() {
	err := c.readMessages()
	c.mu.Lock()
	c.err = err
	closed := c.closing
	c.notifyLocked()
	c.mu.Unlock()
	if !errors.Is(err, io.EOF) || !c.noEcho {
		// A half-closed connection ends with the echo; the server of a client without one shall run into its time limit.
		if closed {
			c.replies.Wait()
		}
		c.conn.Close()
	}
	close(c.done)
}

func (c *Client) readMessages() error {
	var (
		message  []byte
		op       Opcode // of the message under way; 0 between messages
		deflated bool
		closed   bool
	)
	for {
		f, err := readFrame(c.br, c.compressed)
		if err != nil {
			return err
		}
		if closed {
			return errors.New("frame after the close frame")
		}
		switch {
		case f.op == OpClose:
			if err := c.gotClose(f.payload); err != nil {
				return err
			}
			closed = true
			continue
		case f.control():
			c.gotControl(f)
			continue
		case f.op == OpContinuation && op == 0:
			return errors.New("continuation without a message")
		case f.op != OpContinuation && op != 0:
			return errors.New("message inside a message")
		case f.op != OpContinuation:
			op, deflated, message = f.op, f.rsv1, f.payload
		default:
			message = append(message, f.payload...)
		}
		if !f.fin {
			continue
		}
		onWire := len(message)
		if deflated {
			if message, err = inflate(message); err != nil {
				return err
			}
		}
		if op == OpText && !utf8.Valid(message) {
			return errors.New("text message that is not UTF-8")
		}
		c.gotMessage(Message{Binary: op == OpBinary, Data: message}, onWire)
		op, message = 0, nil
	}
}

func (c *Client) gotMessage(m Message, onWire int) {
	c.mu.Lock()
	if m.Binary {
		c.counts.Binary++
	} else {
		c.counts.Text++
	}
	c.counts.Bytes += int64(len(m.Data))
	c.counts.Wire += int64(onWire)
	if c.onMessage == nil {
		c.inbox = append(c.inbox, m)
	}
	c.notifyLocked()
	c.mu.Unlock()
	if c.onMessage != nil {
		c.onMessage(m)
	}
}

func (c *Client) gotControl(f frame) {
	c.mu.Lock()
	if f.op == OpPing {
		c.counts.Ping++
	} else {
		c.counts.Pong++
		c.pongs = append(c.pongs, string(f.payload))
	}
	c.notifyLocked()
	c.mu.Unlock()
	if f.op == OpPing && !c.noPong {
		c.reply(Frame(true, OpPong, f.payload))
	}
}

func (c *Client) gotClose(payload []byte) error {
	code, reason, err := parseClose(payload)
	if err != nil {
		return err
	}
	if !c.noEcho { // queued before anyone learns of the close, so that flushReplies waits for it
		if code == 1005 {
			c.reply(Frame(true, OpClose, nil))
		} else {
			c.reply(Frame(true, OpClose, closePayload(code, "")))
		}
	}
	c.mu.Lock()
	c.counts.Close++
	c.closing, c.code, c.reason = true, code, reason
	c.notifyLocked()
	c.mu.Unlock()
	return nil
}

// stallReader is the reader's way to the connection.
type stallReader struct{ c *Client }

func (r stallReader) Read(p []byte) (int, error) {
	c := r.c
	for {
		c.mu.Lock()
		stalled, resume := c.stalled, c.resume
		if stalled {
			c.parked = true
			c.notifyLocked()
		}
		c.mu.Unlock()
		if stalled {
			select {
			case <-resume:
				continue
			case <-c.gone:
				return 0, net.ErrClosed
			}
		}
		n, err := c.conn.Read(p)
		if n > 0 {
			return n, nil // an error comes again
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && c.has(func() bool { return c.stalled }) {
			continue
		}
		return 0, err
	}
}
