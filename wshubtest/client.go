package wshubtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Message is a data message from the server, whole and inflated.
type Message struct {
	Binary bool
	Data   []byte // belongs to the receiver
}

// String returns the message as a failure shows it.
func (m Message) String() string {
	if m.Binary {
		return fmt.Sprintf("binary %.200x", m.Data)
	}
	return fmt.Sprintf("text %.200q", m.Data)
}

// Counts is what has come from the server so far. Bytes are those of data messages, inflated; Wire are those of their
// frames' payloads, as sent.
type Counts struct {
	Text, Binary, Ping, Pong, Close int
	Bytes, Wire                     int64
}

// Client is one connection, as its peer sees it. [Dial] and [TCPServer.DialTCP] make it. All methods but Stall and
// Resume may be called on any goroutines at once, with the care that package testing asks for where they fail the test.
type Client struct {
	// Immutable.
	t          testing.TB
	conn       net.Conn
	resp       *http.Response
	compressed bool
	timeout    time.Duration
	noPong     bool
	noEcho     bool
	onMessage  func(Message)

	br *bufio.Reader // the reader's

	writing  chan struct{}  // who has put its token in writes; a channel, since waiting on a Mutex stops fake time
	gone     chan struct{}  // closed when the client drops the connection
	goneOnce sync.Once      //
	done     chan struct{}  // closed when the reader has ended
	replies  sync.WaitGroup // the goroutine that writes pongs and the close echo, while there are any

	mu        sync.Mutex    // guards what follows; nothing blocks under it
	changed   chan struct{} // closed at the next change; nil while nobody waits
	inbox     []Message
	pongs     []string
	counts    Counts
	closing   bool // the server's close frame has come
	code      int
	reason    string
	err       error    // why the reader has ended
	toReply   [][]byte // frames for the replying goroutine
	replying  bool
	closeSent bool
	stalled   bool
	parked    bool          // the reader has seen stalled and takes nothing
	resume    chan struct{} // closed by Resume
}

// start makes the handshake's reading half on conn and then starts the client. On an error conn is closed.
func start(t testing.TB, conn net.Conn, req *http.Request, cfg *dialConfig) (*Client, *http.Response, error) {
	c := &Client{
		t:         t,
		conn:      conn,
		timeout:   cfg.timeout,
		noPong:    cfg.noPong,
		noEcho:    cfg.noEcho,
		onMessage: cfg.onMessage,
		writing:   make(chan struct{}, 1),
		gone:      make(chan struct{}),
		done:      make(chan struct{}),
	}
	c.br = bufio.NewReader(stallReader{c})
	conn.SetReadDeadline(time.Now().Add(c.timeout))
	resp, err := readResponse(c.br, req)
	if err != nil {
		conn.Close()
		return nil, resp, err
	}
	conn.SetReadDeadline(time.Time{})
	c.resp = resp
	c.compressed = resp.Header.Get("Sec-Websocket-Extensions") != ""
	go c.read() // owned by the client; ends with the connection, at the latest in the cleanup below
	t.Cleanup(c.Abort)
	return c, resp, nil
}

// Response is the server's answer to the handshake.
func (c *Client) Response() *http.Response { return c.resp }

// Subprotocol is the subprotocol that the server chose, or "".
func (c *Client) Subprotocol() string { return c.resp.Header.Get("Sec-Websocket-Protocol") }

// Compressed tells whether permessage-deflate was negotiated.
func (c *Client) Compressed() bool { return c.compressed }

// LocalAddr is the client's own address; in memory it is not the one that the handler sees.
func (c *Client) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// Received tells what has come so far, taken or not.
func (c *Client) Received() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// Done is closed when the connection has ended for the client: the server closed it, broke the protocol, or Abort or
// Close was called.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err tells why the connection ended, and nil before: io.EOF when the server closed it.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Stall stops the client from taking bytes off the connection and returns when it has stopped: what the server writes
// from then on stays in the connection's buffers. A client that is stalled answers nothing. It can still send.
func (c *Client) Stall() {
	c.mu.Lock()
	if !c.stalled {
		c.stalled, c.resume = true, make(chan struct{})
	}
	c.mu.Unlock()
	c.conn.SetReadDeadline(time.Unix(1, 0)) // ends a Read under way, without taking anything
	c.await(func() bool { return c.parked })
}

// Resume undoes Stall. On a client that is not stalled it does nothing.
func (c *Client) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stalled {
		return
	}
	c.conn.SetReadDeadline(time.Time{}) // the reader is parked: no Read sees the old deadline any more
	c.stalled, c.parked = false, false
	close(c.resume)
}

// Abort drops the connection without a close frame (over TCP with a reset) and waits for the client's goroutines. It
// may be called twice, and after Close.
func (c *Client) Abort() {
	c.goneOnce.Do(func() { close(c.gone) })
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.conn.Close()
	<-c.done
	c.replies.Wait()
}

// Close makes the closing handshake: it sends a close frame, waits for the server's, and drops the connection. It
// returns the server's code; the test ends if none comes. A stalled client resumes. Code 0 sends a frame without a
// status. On a connection that the server has closed it only drops it.
func (c *Client) Close(code int, reason string) int {
	c.t.Helper()
	c.Resume()
	err := c.write(Frame(true, OpClose, closePayload(code, reason)), true)
	if err != nil && !c.has(func() bool { return c.closing }) {
		c.t.Fatalf("wshubtest: close: %v", err)
	}
	if !c.await(func() bool { return c.closing }) {
		c.t.Fatalf("wshubtest: no close frame in answer to ours: %s", c.state())
	}
	got, _ := c.peerClose()
	c.flushReplies()
	c.goneOnce.Do(func() { close(c.gone) })
	c.conn.Close() // no reset: the server may still be reading
	<-c.done
	c.replies.Wait()
	return got
}

// has evaluates cond under mu.
func (c *Client) has(cond func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cond()
}

// await waits until cond, evaluated under mu, holds. It gives up when the reader has ended or the time is over.
func (c *Client) await(cond func() bool) bool {
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	for {
		c.mu.Lock()
		if cond() {
			c.mu.Unlock()
			return true
		}
		ended := c.err != nil && !c.replying
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		if ended {
			return false
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}

func (c *Client) notifyLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

func (c *Client) peerClose() (code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.reason
}

// state describes the connection for a failure.
func (c *Client) state() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	switch {
	case c.closing:
		fmt.Fprintf(&b, "closed by the server with %d %q", c.code, c.reason)
	case errors.Is(c.err, io.EOF):
		b.WriteString("ended by the server without a close frame (1006)")
	case c.err != nil:
		fmt.Fprintf(&b, "ended: %v", c.err)
	case c.stalled:
		b.WriteString("the client is stalled")
	default:
		b.WriteString("the connection is open")
	}
	n := c.counts
	fmt.Fprintf(&b, "; received %d text, %d binary, %d pings, %d pongs", n.Text, n.Binary, n.Ping, n.Pong)
	return b.String()
}
