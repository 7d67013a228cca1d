package mesh

import (
	"encoding/binary"
	"errors"
)

// Causes for which a message of the bus is refused. See [Host.Refused].
var (
	// ErrMalformed means that bytes are no envelope.
	ErrMalformed = errors.New("mesh: malformed message")
	// ErrVersion means that an envelope is of a version, or has parts, that this node does not know.
	ErrVersion = errors.New("mesh: message of another version")
)

// An envelope is what the bus carries, in bytes:
//
//	magic, version, kind, flags          1 each
//	origin, time                         8 each, big endian; time is unix nanoseconds
//	epoch, number                        uvarints, of the least length
//	key                                  with flagKey: its length in one byte, at most MaxKey, and its bytes
//	payload                              the rest, but for
//	sequence, mac                        with flagSigned: 8 and 16 bytes, see signer
//
// An envelope that was parsed shares the bytes it was parsed from.
type envelope struct {
	kind          kind
	binary        bool
	origin        Origin
	time          int64
	epoch, number uint64
	key           []byte // nil: none
	payload       []byte

	signed   bool // the rest is set by parse alone: the sender signs when the message leaves
	sequence uint64
}

// kind is what an envelope is about. Those below firstControl are for sessions, the others are the nodes' own business.
type kind uint8

const (
	kindValue    kind = iota + 1 // a value of a topic or of everyone; numbered
	kindSend                     // a message to a user or a session
	kindKick                     // two bytes of code, and the reason
	kindLeave                    // the topic
	firstControl kind = 32
)

const (
	magic   = 0xF5 // no UTF-8 text has it
	version = 1

	flagBinary = 1 << 0
	flagSigned = 1 << 1
	flagKey    = 1 << 2
	flagsKnown = flagBinary | flagSigned | flagKey

	fixedBytes = 4 + 8 + 8
	// maxOverhead is how much longer than its payload an envelope may be that is not signed.
	maxOverhead = fixedBytes + 2*binary.MaxVarintLen64 + 1 + MaxKey
)

// size returns the length of what append appends.
func (e *envelope) size() int {
	n := fixedBytes + uvarintLen(e.epoch) + uvarintLen(e.number) + len(e.payload)
	if e.key != nil {
		n += 1 + len(e.key)
	}
	return n
}

// append appends the envelope without a signature. The key has at most MaxKey bytes.
func (e *envelope) append(dst []byte) []byte {
	var flags byte
	if e.binary {
		flags |= flagBinary
	}
	if e.key != nil {
		flags |= flagKey
	}
	dst = append(dst, magic, version, byte(e.kind), flags)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.origin))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.time))
	dst = binary.AppendUvarint(dst, e.epoch)
	dst = binary.AppendUvarint(dst, e.number)
	if e.key != nil {
		dst = append(dst, byte(len(e.key)))
		dst = append(dst, e.key...)
	}
	return append(dst, e.payload...)
}

// parse reads an envelope. It allocates nothing, and does not verify the signature. Every envelope has one form, so what it
// takes is what append makes.
func (e *envelope) parse(data []byte) error {
	if len(data) < 2 || data[0] != magic {
		return ErrMalformed
	}
	if data[1] != version {
		return ErrVersion
	}
	if len(data) < fixedBytes {
		return ErrMalformed
	}
	flags := data[3]
	if flags&^flagsKnown != 0 {
		return ErrVersion
	}
	*e = envelope{
		kind:   kind(data[2]),
		binary: flags&flagBinary != 0,
		signed: flags&flagSigned != 0,
		origin: Origin(binary.BigEndian.Uint64(data[4:])),
		time:   int64(binary.BigEndian.Uint64(data[12:])),
	}
	switch {
	case e.kind == 0 || e.origin == 0:
		return ErrMalformed
	case e.kind > kindLeave && e.kind < firstControl:
		return ErrVersion
	}
	rest := data[fixedBytes:]
	if e.signed {
		if len(rest) < trailerBytes {
			return ErrMalformed
		}
		e.sequence = binary.BigEndian.Uint64(rest[len(rest)-trailerBytes:])
		rest = rest[:len(rest)-trailerBytes]
	}
	var ok bool
	if e.epoch, rest, ok = cutUvarint(rest); !ok {
		return ErrMalformed
	}
	if e.number, rest, ok = cutUvarint(rest); !ok {
		return ErrMalformed
	}
	if flags&flagKey != 0 {
		if e.key, rest, ok = cutBytes(rest, MaxKey); !ok {
			return ErrMalformed
		}
	}
	e.payload = rest
	return nil
}

// cutUvarint takes an uvarint of the least length from the front of b.
func cutUvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, b, false
	}
	return v, b[n:], true
}

// cutBytes takes up to limit bytes from the front of b, with their length in one byte before them. They share b, and are
// not nil.
func cutBytes(b []byte, limit int) (v, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) > limit || int(b[0]) > len(b)-1 {
		return nil, b, false
	}
	end := 1 + int(b[0])
	return b[1:end:end], b[end:], true
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
