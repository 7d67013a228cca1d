package wire

import (
	"net"
	"sync/atomic"
	"time"
)

// Options are the settings of one connection. See [Accept] for the defaults.
type Options struct {
	Subprotocols      []string      // in order of preference; the answer is always one of these, byte for byte
	Compress          bool          // accept permessage-deflate, without context takeover
	CompressThreshold int           // payloads shorter than this many bytes go out uncompressed
	HoldClose         bool          // ReadMessage queues no close frame: its caller does, when the time has come
	ReadLimit         int64         // bytes of one message after inflation; default 512 KiB
	MessageTimeout    time.Duration // from the first to the last byte of one message; 0: none
	SendBuffer        int           // bytes accepted and not yet sent; default 32 KiB
	WriteTimeout      time.Duration // of Accept's answer, and of one write of the flusher on TLS, pipes and other systems; 0: none
}

const (
	defaultReadLimit  = 512 << 10
	defaultSendBuffer = 32 << 10
)

// A Conn is the server's end of one WebSocket connection. The package comment says who may call what.
type Conn struct {
	state atomic.Uint32 // its bits are below; with what else a write looks at in one cache line

	// Immutable after Accept, wake after SetWake.
	holdClose   bool // as the options of these names, with threshold and messageTimeout
	compressed  bool
	threshold   int
	out         outlet
	raw         net.Conn // the hijacked connection; only the outlet writes to it
	in          inlet    // nil: reading needs a buffer to wait with
	wake        func()   // may be nil
	subprotocol string

	messageTimeout time.Duration

	// Read state, owned by the goroutine in ReadMessage, later by the one in AwaitClose.
	early    []byte // read by net/http before the hijack, not yet scanned
	buf      []byte // of buffers; on a connection without an inlet its own; nil while nothing waits in it
	at, end  int32  // buf[at:end] was read and scanned, and is not taken yet
	lib      library
	scan     scanner
	seen     time.Time // as lastSeen, with the monotonic clock
	deadline time.Time
	armed    bool           // deadline is that of a message, and the read deadline
	fault    *ProtocolError // ends reading at the next Read: a flood of pings
	cause    error          // why the transport has stopped; set once
	ended    error          // what ReadMessage returned last, for good

	lastSeen     atomic.Int64          // unix ns of the last whole message or control frame; stored by the reader
	readingSince atomic.Int64          // unix ns of the start of the ReadMessage under way, 0: none; stored by the reader
	brokenBy     atomic.Pointer[error] // stored before stBroken is set, once

	lane lane

	settled atomic.Bool                   // the close frame has left, or never will
	settle  atomic.Pointer[chan struct{}] // made by AwaitClose; closed once settled
}

// Bits of Conn.state. They are only ever set, except stReading.
const (
	stReading     = 1 << iota // a ReadMessage is under way; it closes the library when it finds stClosed at its end
	stInterrupted             // Interrupt was called
	stBroken                  // the flusher failed; brokenBy says how
	stLibClosed               // the library has closed its side, on its own or for CloseNow
	stClosed                  // CloseNow was called
)

// stEnded are the bits that end reading.
const stEnded = stInterrupted | stBroken | stLibClosed | stClosed

// past is a deadline that wakes a read at once.
var past = time.Unix(1, 0)

func (o Options) withDefaults() Options {
	if o.ReadLimit <= 0 {
		o.ReadLimit = defaultReadLimit
	}
	if o.SendBuffer <= 0 {
		o.SendBuffer = defaultSendBuffer
	}
	return o
}

// SetWake sets the function that is called whenever something was put into the control lane. It is called by
// any goroutine, and never under a lock of Conn; it must not call ReadMessage or AwaitClose. SetWake must be called
// before the first ReadMessage and before Conn is shared.
func (c *Conn) SetWake(f func()) { c.wake = f }

// TryWrite hands b to the connection as far as there is room, and never waits: n < len(b) with a nil error says that
// there was none for the rest. It does not retain b, and allocates nothing on TCP. Any error is final. Only the write owner
// calls it.
func (c *Conn) TryWrite(b []byte) (n int, err error) {
	if c.state.Load()&stClosed != 0 {
		return 0, net.ErrClosed
	}
	if n, err = c.out.tryWrite(b); err != nil {
		c.setSettled()
	}
	return n, err
}

// WriteAll is TryWrite that waits for room, at most for the timeout (without a bound when it is not positive). After
// that it returns how much was accepted and an error that matches os.ErrDeadlineExceeded. It leaves no deadline behind.
// CloseNow ends it. Only the write owner calls it.
func (c *Conn) WriteAll(b []byte, timeout time.Duration) (n int, err error) {
	if c.state.Load()&stClosed != 0 {
		return 0, net.ErrClosed
	}
	if n, err = c.out.writeAll(b, timeout); err != nil {
		c.setSettled()
	}
	return n, err
}

// QueuePing puts a ping into the control lane, unless one is there. It never blocks.
func (c *Conn) QueuePing() {
	if c.lane.putPing() {
		c.callWake()
	}
}

// QueueClose puts the close frame into the control lane and reports whether it did: the first one wins. What else
// was in the lane is discarded, and nothing can follow. Codes 0 and 1005 stand for a frame without a code; one that
// must not be sent becomes 1011; the reason is cut by [TruncateReason]. It never blocks.
func (c *Conn) QueueClose(code int, reason string) bool {
	queued := c.lane.putClose(code, reason)
	if queued {
		c.callWake()
	}
	return queued
}

// HasControl reports whether the control lane holds anything. It costs one atomic load.
func (c *Conn) HasControl() bool { return c.lane.waiting() }

// TakeControl appends the frames in the control lane to dst and empties the lane. last says that the close
// frame was among them: nothing may be written after it, and the lane stays empty. Only the write owner calls it.
func (c *Conn) TakeControl(dst []byte) (frames []byte, last bool) { return c.lane.take(dst) }

// CloseSent tells that the last byte of the close frame was accepted. The connection is half-closed as soon as it has
// left. Only the write owner calls it; it never blocks.
func (c *Conn) CloseSent() { c.out.finish(c.setSettled) }

// CloseNow ends the connection and every call under way, without a close frame. Every Conn must end in it. It is
// idempotent, never waits for the peer, and returns the error of closing the socket the first time.
func (c *Conn) CloseNow() error {
	old := c.state.Or(stClosed)
	if old&stClosed != 0 {
		return nil
	}
	// Not through tls.Conn: its Close sends an alert, and waits up to 5 s for a peer that does not read.
	err := socket(c.raw).Close()
	c.out.abort()
	c.setSettled()
	// The library's CloseNow waits for its reader. The reader may be below us on this very stack (a ping wakes the
	// session, which ends): then the end of its ReadMessage does it.
	if old&stReading == 0 {
		c.lib.closeNow()
	}
	return err
}

// Complete returns when the message that ReadMessage has returned last was complete. Who calls ReadMessage calls it.
func (c *Conn) Complete() time.Time { return c.seen }

// Idle returns for how long the peer has shown no life while somebody was reading: the time since the last whole message
// or control frame, or since the ReadMessage under way began when that is later. It is 0 while nobody reads.
func (c *Conn) Idle(now time.Time) time.Duration {
	since := c.readingSince.Load()
	if since == 0 {
		return 0
	}
	return max(time.Duration(now.UnixNano()-max(since, c.lastSeen.Load())), 0)
}

// Compressed reports whether permessage-deflate was negotiated: frames may be sent in their [Frame.Deflated] form.
func (c *Conn) Compressed() bool { return c.compressed }

// CompressThreshold returns the option of this name.
func (c *Conn) CompressThreshold() int { return c.threshold }

// Subprotocol returns the negotiated subprotocol, or "".
func (c *Conn) Subprotocol() string { return c.subprotocol }

// RemoteAddr returns the peer's address as the connection tells it.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

func (c *Conn) callWake() {
	if c.wake != nil {
		c.wake()
	}
}

// setBroken ends reading after a write has failed in the flusher: otherwise a session that only reads would not notice.
func (c *Conn) setBroken(err error) {
	c.brokenBy.CompareAndSwap(nil, &err)
	c.setSettled()
	c.endRead(stBroken)
}

// setSettled tells AwaitClose that the close frame has left, or never will.
func (c *Conn) setSettled() {
	if c.settled.Swap(true) {
		return
	}
	// AwaitClose stores settle before it looks at settled: one of the two sees the other.
	if ch := c.settle.Swap(nil); ch != nil {
		close(*ch)
	}
}

// awaitSettled waits until the close frame has left or never will, or until the deadline.
func (c *Conn) awaitSettled(deadline time.Time) {
	if !c.lane.closed() || c.settled.Load() {
		return
	}
	ch := make(chan struct{})
	c.settle.Store(&ch)
	if c.settled.Load() {
		return
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-ch:
	case <-t.C:
	}
}
