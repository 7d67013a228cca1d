package contender

import (
	"encoding/binary"
	"errors"
)

const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// appendFrame appends a whole message of a server, in one frame.
func appendFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

var errFrame = errors.New("not a frame that the load sends")

// cutFrame takes a client's frame off the front of b, and unmasks its payload in place. It returns a nil rest as long as
// the frame is not whole. Frames that no load sends, of 64 KiB or in parts, are errors.
func cutFrame(b []byte) (op byte, payload, rest []byte, err error) {
	if len(b) < 2 {
		return 0, nil, nil, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 == 0 || b[1] == 0xff {
		return 0, nil, nil, errFrame
	}
	n, at := int(b[1]&0x7f), 2
	if n == 126 {
		if len(b) < 4 {
			return 0, nil, nil, nil
		}
		n, at = int(binary.BigEndian.Uint16(b[2:])), 4
	}
	if len(b) < at+4+n {
		return 0, nil, nil, nil
	}
	key := b[at : at+4]
	payload = b[at+4 : at+4+n]
	for i := range payload {
		payload[i] ^= key[i&3]
	}
	return b[0] & 0x0f, payload, b[at+4+n:], nil
}
