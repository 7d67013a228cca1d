package wire

import (
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"
)

// errNotWhole says that what comes next is for the library.
var errNotWhole = errors.New("wire: not a whole frame")

// readWhole returns the next message if it is one whole frame, uncompressed and no longer than the buffer, as nearly all
// are. Pings and pongs before it are dealt with. With more the bytes in the buffer do not make a frame yet. It leaves
// everything else to the library, by errNotWhole: what is compressed, in fragments or long, and control frames of which
// only a part came. The scanner has looked at every byte.
//
// The library takes five calls into its reader for such a message, each with a lock that is a channel; see
// BenchmarkReadMessage.
func (c *Conn) readWhole() (op Opcode, data []byte, more bool, err error) {
	for {
		b := c.buf[c.at:c.end]
		head, size := frameSize(b)
		if len(b) < size {
			if len(b) > 0 && c.scan.err == nil && !c.scan.closed && (!simple(b[0]) || size > len(c.buf)) {
				return 0, nil, false, errNotWhole
			}
			return 0, nil, true, nil // or the reason why none will come
		}
		op = Opcode(b[0] & 0x0f)
		if op.control() { // no close frame: the scanner keeps its last byte
			c.control(op, b[head-4:size])
			c.take(size)
			if err := c.halted(); err != nil { // who was woken may have ended it
				return 0, nil, false, err
			}
			continue
		}
		if !simple(b[0]) {
			return 0, nil, false, errNotWhole
		}
		data = make([]byte, size-head)
		unmask(data, b[head:size], [4]byte(b[head-4:]))
		c.take(size)
		if op == OpText && !utf8.Valid(data) {
			return 0, nil, false, c.violated(notUTF8())
		}
		return op, data, false, nil
	}
}

// simple reports whether a frame with this first byte is a whole message, uncompressed.
func simple(first byte) bool { return first == bitFin|byte(OpText) || first == bitFin|byte(OpBinary) }

// control deals with a ping or a pong; b is its mask and its payload.
func (c *Conn) control(op Opcode, b []byte) {
	if op == OpPing {
		var payload [maxControl]byte
		n := len(b) - 4
		unmask(payload[:n], b[4:], [4]byte(b))
		c.pinged(payload[:n])
	}
}

// frameSize returns the length of the header of the frame that b begins with, mask included, and of all of it. While that
// is not known yet, and beyond what a buffer may hold, size is more than len(b).
func frameSize(b []byte) (head, size int) {
	if len(b) < 2 {
		return 0, 2
	}
	switch n := int(b[1] &^ bitMask); {
	case n < 126:
		return 6, 6 + n
	case n == 127:
		return 14, math.MaxInt
	case len(b) < 4:
		return 8, 8
	}
	return 8, 8 + int(binary.BigEndian.Uint16(b[2:]))
}

// unmask writes the payload that src is with its mask on into dst, which is as long.
func unmask(dst, src []byte, mask [4]byte) {
	word := binary.LittleEndian.Uint32(mask[:])
	wide := uint64(word)<<32 | uint64(word)
	for len(src) >= 8 {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src)^wide)
		dst, src = dst[8:], src[8:]
	}
	for i := range src {
		dst[i] = src[i] ^ mask[i&3]
	}
}
