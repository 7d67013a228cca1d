package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// libBuffer is the size of the library's buffers, the least that bufio has: what it reads is buffered already, and what it
// writes is dropped.
const libBuffer = 16

// Headers as net/http keeps them. It makes a string of any other spelling, at each use.
const (
	headerExtensions = "Sec-Websocket-Extensions"
	headerProtocol   = "Sec-Websocket-Protocol"
)

// library is the WebSocket library's connection, which reads what is more than a whole frame; nil until there is such a
// thing. No other file knows it. It belongs to the goroutine in ReadMessage.
type library struct {
	conn *websocket.Conn
	br   *bufio.Reader // what it reads through
	at   *scanner      // of what it was given: it gets nothing beyond the frame it is at
}

// closeNow frees what the library holds. Without it a finalizer in a cycle keeps about 20 KB for good.
func (l library) closeNow() {
	if l.conn != nil {
		l.conn.CloseNow()
	}
}

// mid reports whether the library has not taken all of the message it has returned: the inflater stops at a final block,
// whatever the frame has behind it. What comes next would be read out of the middle of a frame.
func (l library) mid() bool { return l.at.mid() || l.br.Buffered() > 0 }

// Accept upgrades the request. The caller has checked the origin: this does not. w is any ResponseWriter whose Hijacker
// net/http.ResponseController finds. Accept blocks for as long as it takes to write the answer, at most for the
// WriteTimeout. With an error a response was written, or the connection is closed; without one the caller owns the
// connection and must end it with CloseNow. A ReadLimit below 1 means 512 KiB, a SendBuffer below 1 means 32 KiB.
func Accept(w http.ResponseWriter, r *http.Request, o Options) (*Conn, error) {
	o = o.withDefaults()
	if !canHijack(w) {
		http.Error(w, http.StatusText(http.StatusNotImplemented), http.StatusNotImplemented)
		return nil, errors.New("wire: the response writer cannot be hijacked")
	}
	c := &Conn{messageTimeout: o.MessageTimeout, threshold: o.CompressThreshold, holdClose: o.HoldClose}
	c.lastSeen.Store(time.Now().UnixNano())

	// The library would answer with the client's spelling of a subprotocol, so it is not told any: it takes over what it
	// finds in the header.
	h := w.Header()
	h.Del(headerExtensions)
	h.Del(headerProtocol)
	if c.subprotocol = selectSubprotocol(r, o.Subprotocols); c.subprotocol != "" {
		h.Set(headerProtocol, c.subprotocol)
	}
	up := &upgrade{ResponseWriter: w, conn: c, timeout: o.WriteTimeout}
	lib, err := websocket.Accept(up, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		CompressionMode:    compressionMode(o.Compress),
		OnPingReceived:     c.onPing,
	})
	if err != nil {
		if c.raw != nil {
			socket(c.raw).Close()
		}
		return nil, fmt.Errorf("wire: %w", err)
	}
	lib.CloseNow() // it has done the handshake; most connections never need it again, see attach
	c.compressed = strings.HasPrefix(h.Get(headerExtensions), "permessage-deflate")
	c.scan.limit, c.scan.compress = o.ReadLimit, c.compressed
	c.out, c.in = newSides(c.raw, o, c.setBroken)
	return c, nil
}

func compressionMode(on bool) websocket.CompressionMode {
	if on {
		return websocket.CompressionNoContextTakeover
	}
	return websocket.CompressionDisabled
}

// selectSubprotocol returns the first of the server's that the client offers, compared byte for byte.
func selectSubprotocol(r *http.Request, ours []string) string {
	for _, p := range ours {
		for _, line := range r.Header.Values(headerProtocol) {
			for offer := range strings.SplitSeq(line, ",") {
				if strings.TrimSpace(offer) == p && p != "" {
					return p
				}
			}
		}
	}
	return ""
}

// canHijack follows Unwrap as ResponseController does. It is asked first because the library writes 101 before it hijacks.
func canHijack(w http.ResponseWriter) bool {
	for {
		switch v := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return false
		}
	}
}

// upgrade is the ResponseWriter the library sees. Its Hijack keeps the connection and hands out nothing.
type upgrade struct {
	http.ResponseWriter
	conn    *Conn
	timeout time.Duration
}

// WriteHeader drops what belongs to an upgrade when there is none.
func (u *upgrade) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols {
		u.Header().Del(headerProtocol)
	}
	u.ResponseWriter.WriteHeader(status)
}

// WriteHeaderNow sends the header on writers that hold it back until the first byte of a body.
func (u *upgrade) WriteHeaderNow() {
	if w, ok := u.ResponseWriter.(interface{ WriteHeaderNow() }); ok {
		w.WriteHeaderNow()
	}
}

// Hijack takes the connection over. Bytes that net/http has read already (clients may send with their request) are
// the first that are read.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	rc := http.NewResponseController(u.ResponseWriter)
	if u.timeout > 0 {
		// net/http writes the answer in here. Writers that know no deadlines have theirs below.
		rc.SetWriteDeadline(time.Now().Add(u.timeout))
	}
	raw, brw, err := rc.Hijack()
	if err != nil {
		return nil, nil, err
	}
	u.conn.raw = raw
	if n := brw.Reader.Buffered(); n > 0 {
		b, _ := brw.Reader.Peek(n)
		u.conn.early = slices.Clone(b)
	}
	if u.timeout > 0 {
		raw.SetWriteDeadline(time.Now().Add(u.timeout))
		defer raw.SetWriteDeadline(time.Time{})
	}
	if err := brw.Writer.Flush(); err != nil {
		socket(raw).Close() // as CloseNow
		return nil, nil, err
	}
	return nothing{}, brw, nil
}

// nothing is the connection of a library that has done its handshake.
type nothing struct{ net.Conn }

func (nothing) Close() error { return nil }

// attach has the library read from here on. It knows no other way than a handshake, so it gets one that nobody sees. A
// connection of its own for each of ours from the start cost 1.7 KB, of 5 KB that an idle one had in the heap.
func (c *Conn) attach() error {
	if c.lib.conn != nil {
		return nil
	}
	r := &http.Request{Method: http.MethodGet, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}}
	if c.compressed {
		r.Header[headerExtensions] = []string{"permessage-deflate"}
	}
	a := &attachment{conn: c, header: http.Header{}}
	lib, err := websocket.Accept(a, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		CompressionMode:    compressionMode(c.compressed),
		OnPingReceived:     c.onPing,
	})
	if err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	lib.SetReadLimit(c.scan.limit)
	c.lib = library{lib, a.br, &scanner{lenient: true, limit: math.MaxInt64}}
	return nil
}

// attachment is the ResponseWriter of attach: its Hijack hands out the transport.
type attachment struct {
	conn   *Conn
	header http.Header
	br     *bufio.Reader
}

func (a *attachment) Header() http.Header         { return a.header }
func (a *attachment) WriteHeader(int)             {}
func (a *attachment) Write(p []byte) (int, error) { return len(p), nil }

func (a *attachment) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	t := (*transport)(a.conn)
	a.br = bufio.NewReaderSize(t, libBuffer)
	return t, bufio.NewReadWriter(a.br, bufio.NewWriterSize(t, libBuffer)), nil
}

// onPing answers through the lane. Called by the library in ReadMessage; payload is its own buffer.
func (c *Conn) onPing(_ context.Context, payload []byte) bool {
	c.pinged(payload)
	return false
}

// pinged queues the answer to a ping. Called in ReadMessage; payload is not kept.
func (c *Conn) pinged(payload []byte) {
	queued, flood := c.lane.putPong(payload)
	if flood && c.fault == nil {
		c.fault = &ProtocolError{Code: codePolicy, Reason: "too many pings and no answer read"}
	}
	if queued {
		c.callWake()
	}
}

// ReadMessage waits for the next data message and returns it whole; data belongs to the caller, and text is valid UTF-8. One
// goroutine at a time may call it. Pings, pongs and the peer's close frame are dealt with while it waits, and only then.
//
// Every error is final: *[PeerClose] after the peer's close frame; *[ProtocolError] after a violation, an oversize
// message or the message timeout; [ErrInterrupted]; net.ErrClosed after CloseNow; else the error of the network, io.EOF when
// the peer has vanished between two frames. Messages that arrived before any of this are returned first, except after
// Interrupt and CloseNow.
func (c *Conn) ReadMessage() (op Opcode, data []byte, err error) {
	c.state.Or(stReading)
	c.readingSince.Store(time.Now().UnixNano())
	err = c.begin()
	for more := true; more && err == nil; {
		if op, data, more, err = c.readWhole(); more {
			// Here, and not in what works on the bytes: in it an idle connection waits, with a small stack.
			_, err = c.more(nil)
		}
	}
	if err == errNotWhole {
		op, data, err = c.readLibrary()
	}
	c.ended = err
	c.readingSince.Store(0)
	if c.state.And(^uint32(stReading))&stClosed != 0 {
		c.lib.closeNow() // CloseNow has left it to us
	}
	return op, data, err
}

// begin says why nothing can be read any more, or continues the time of a message that has begun to arrive with the one
// before it: what its receiver took does not count.
func (c *Conn) begin() error {
	if c.ended != nil {
		return c.ended
	}
	if err := c.halted(); err != nil {
		return err
	}
	if c.armed {
		c.arm()
	}
	return nil
}

// readLibrary reads a message through the library.
func (c *Conn) readLibrary() (Opcode, []byte, error) {
	if err := c.attach(); err != nil {
		return 0, nil, err
	}
	// Not a context that can be cancelled: the library would allocate for each frame.
	typ, r, err := c.lib.conn.Reader(context.Background())
	var data []byte
	if err == nil {
		data, err = readAll(r, typ == websocket.MessageText)
	}
	if err == nil && c.cause != nil {
		// A compressed message that the connection's end has cut short looks complete to the library.
		err = c.cause
	}
	if err == nil && c.lib.mid() {
		err = errBehindFinal
	}
	if err != nil {
		return 0, nil, c.reason(err)
	}
	op := OpBinary
	if typ == websocket.MessageText {
		op = OpText
	}
	return op, data, nil
}

// halted returns why no message may be returned any more, not even one that is there; nil: none.
func (c *Conn) halted() error {
	switch state := c.state.Load(); {
	case state&stClosed != 0:
		return net.ErrClosed
	case state&stInterrupted != 0:
		return ErrInterrupted
	}
	return nil
}

// reason translates an error of the library.
func (c *Conn) reason(err error) error {
	switch {
	case c.cause != nil:
		return c.cause
	case c.state.Load()&stClosed != 0:
		return net.ErrClosed
	case err == errNotUTF8:
		return c.violated(notUTF8())
	case errors.Is(err, websocket.ErrMessageTooBig):
		return c.violated(&ProtocolError{Code: codeTooBig, Reason: "message over the limit"})
	case errors.Is(err, net.ErrClosed):
		if stop := c.stopped(); stop != nil {
			return stop
		}
		return net.ErrClosed
	}
	// The scanner leaves nothing else to object to than the compressed data itself.
	return c.violated(&ProtocolError{Code: codeNotUTF8, Reason: "message cannot be inflated", Err: err})
}

// readAll reads a message. Short ones, nearly all, cost one allocation of their own length; io.ReadAll makes 512 bytes
// for each and grows from there. Nothing is made for a length that was only announced. Text is refused with errNotUTF8
// by the first fragment, or the first few KiB of a long one, after which it cannot become valid any more.
func readAll(r io.Reader, text bool) ([]byte, error) {
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	n, valid := 0, 0
	for n < len(buf) {
		k, err := r.Read(buf[n:])
		n += k
		if text && !validText(buf[:n], &valid, err == io.EOF) {
			return nil, errNotUTF8
		}
		if err == io.EOF {
			return slices.Clone(buf[:n:n]), nil
		}
		if err != nil {
			return nil, err
		}
	}
	data := append(make([]byte, 0, 4*len(buf)), buf[:]...)
	for {
		k, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+k]
		if text && !validText(data, &valid, err == io.EOF) {
			return nil, errNotUTF8
		}
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
}

var (
	errNotUTF8     = errors.New("wire: text is not UTF-8")
	errBehindFinal = errors.New("wire: more behind the final block of a compressed message")
)

// validText reports whether p is valid UTF-8, or the beginning of it unless p is whole. The first *valid bytes were found
// valid before, and are not looked at again; it moves *valid on, to the start of a code point.
func validText(p []byte, valid *int, whole bool) bool {
	end := len(p)
	if !whole {
		for i := end - 1; i >= *valid && i > end-utf8.UTFMax; i-- {
			if utf8.RuneStart(p[i]) {
				if !utf8.FullRune(p[i:]) { // what is invalid already counts as full
					end = i
				}
				break
			}
		}
	}
	ok := utf8.Valid(p[*valid:end])
	*valid = end
	return ok
}
