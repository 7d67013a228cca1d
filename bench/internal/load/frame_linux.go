package load

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

const (
	final, rsv1, masked = 0x80, 0x40, 0x80

	opContinuation, opText, opBinary = 0, 1, 2
	opClose, opPing, opPong          = 8, 9, 10

	// maxMessage is far above what any scenario sends: more is a frame boundary that was lost.
	maxMessage = 16 << 20
)

// part is what a connection has received in part: a frame's header, a frame, or a message between two frames.
type part struct {
	header [10]byte
	have   int // bytes of header
	need   int // that the header takes, as far as is known
	left   int // bytes of the frame to come, once have is need

	first   byte   // of the message's first frame; 0 between messages
	size    int    // of the message so far
	last    byte   // its last byte so far
	kept    []byte // the message, or what of it is looked at
	control []byte // the payload of a control frame
}

// frames takes bytes off the socket, which it does not keep. Nearly all are messages that came whole.
func (l *load) frames(c *conn, b []byte, now int64) {
	for len(b) > 0 && c.fd >= 0 {
		if c.part == nil && len(b) >= 4 && (b[0]&^rsv1 == final|opText || b[0]&^rsv1 == final|opBinary) {
			header, size := 2, int(b[1])
			if size == 126 {
				header, size = 4, int(binary.BigEndian.Uint16(b[2:]))
			} else if size > 126 { // longer than any that matters, or masked
				size = maxMessage
			}
			if len(b)-header >= size {
				var last byte
				if size > 0 {
					last = b[header+size-1]
				}
				l.message(c, b[0], b[header:header+size], size, last, now)
				b = b[header+size:]
				continue
			}
		}
		b = l.some(c, b, now)
	}
}

// some takes at most the rest of one frame, and returns what follows it.
func (l *load) some(c *conn, b []byte, now int64) []byte {
	p := c.part
	if p == nil {
		p = l.newPart()
		c.part = p
	}
	for p.have < p.need {
		if len(b) == 0 {
			return nil
		}
		n := copy(p.header[p.have:p.need], b)
		p.have += n
		b = b[n:]
		if p.have < p.need {
			return nil
		}
		if err := p.parse(c.deflate); err != nil {
			l.broken(c, err)
			return nil
		}
	}
	n := min(p.left, len(b))
	p.left -= n
	op := p.header[0] & 0x0f
	if op >= opClose {
		p.control = append(p.control, b[:n]...)
	} else if n > 0 {
		p.size += n
		p.last = b[n-1]
		keep := n
		if !l.whole(c, p.first) {
			keep = min(n, proto.Head-len(p.kept))
		}
		p.kept = append(p.kept, b[:max(keep, 0)]...)
	}
	b = b[n:]
	if p.left > 0 {
		return nil
	}
	isFinal := p.header[0]&final != 0
	p.have, p.need = 0, 2
	switch {
	case op >= opClose:
		l.control(c, op, p.control)
		p.control = p.control[:0]
	case isFinal:
		first, size, last := p.first, p.size, p.last
		p.first, p.size, p.last = 0, 0, 0
		l.message(c, first, p.kept, size, last, now)
		p.kept = p.kept[:0]
	}
	if p.first == 0 && c.fd >= 0 {
		c.part = nil
		l.parts = append(l.parts, p)
	}
	return b
}

func (l *load) newPart() *part {
	if n := len(l.parts); n > 0 {
		p := l.parts[n-1]
		l.parts = l.parts[:n-1]
		return p
	}
	return &part{need: 2}
}

// parse looks at the header as far as it has come: it may need more.
func (p *part) parse(deflate bool) error {
	b0, op := p.header[0], p.header[0]&0x0f
	if p.have == 2 {
		switch size := p.header[1]; {
		case b0&0x30 != 0 || b0&rsv1 != 0 && (!deflate || op != opText && op != opBinary):
			return fmt.Errorf("a frame with the first byte %#x", b0)
		case size&masked != 0:
			return errors.New("a masked frame")
		case op >= opClose && (op > opPong || b0&final == 0 || size > 125):
			return fmt.Errorf("a control frame with the bytes %#x %#x", b0, size)
		case op < opClose && op > opBinary:
			return fmt.Errorf("a frame with the opcode %d", op)
		case op < opClose && (op == opContinuation) != (p.first != 0):
			return fmt.Errorf("a frame with the opcode %d out of turn", op)
		case size == 126:
			p.need = 4
			return nil
		case size == 127:
			p.need = 10
			return nil
		}
	}
	var size uint64
	switch p.have {
	case 4:
		size = uint64(binary.BigEndian.Uint16(p.header[2:]))
	case 10:
		size = binary.BigEndian.Uint64(p.header[2:])
	default:
		size = uint64(p.header[1])
	}
	if size > maxMessage || p.size+int(size) > maxMessage {
		return fmt.Errorf("a message of more than %d bytes", maxMessage)
	}
	p.left = int(size)
	if op == opText || op == opBinary {
		p.first = b0
	}
	return nil
}

// broken ends a connection whose bytes are no frames.
func (l *load) broken(c *conn, err error) {
	if l.win.active {
		l.win.got.Damaged++
	}
	l.end(c, fmt.Errorf("protocol: %w", err))
}

// control answers a control frame.
func (l *load) control(c *conn, op byte, payload []byte) {
	switch op {
	case opPing:
		l.sendFrame(c, opPong, payload)
	case opClose:
		if !c.closing {
			l.sendFrame(c, opClose, payload[:min(2, len(payload))])
		}
		if c.fd >= 0 {
			l.end(c, errEnded)
		}
	}
}

// sendFrame sends a masked frame. The payload is only read.
func (l *load) sendFrame(c *conn, op byte, payload []byte) {
	l.frame = appendFrame(l.frame[:0], op, payload, l.mask())
	l.send(c, l.frame)
}

// mask is the next of a sequence (xorshift) that need not be hard to guess: no proxy is in between.
func (l *load) mask() uint32 {
	l.random ^= l.random << 13
	l.random ^= l.random >> 7
	l.random ^= l.random << 17
	return uint32(l.random >> 16)
}

func appendFrame(dst []byte, op byte, payload []byte, mask uint32) []byte {
	dst = append(dst, final|op)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, masked|byte(n))
	case n <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, masked|127), uint64(n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, mask)
	at := len(dst)
	dst = append(dst, payload...)
	b := dst[at:]
	for wide := uint64(mask)<<32 | uint64(mask); len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
	}
	for i := range b {
		b[i] ^= byte(mask >> (8 * i % 32))
	}
	return dst
}
