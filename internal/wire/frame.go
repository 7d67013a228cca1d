package wire

import (
	"encoding/binary"
	"sync"
)

// Opcode is the kind of a frame, RFC 6455 section 5.2.
type Opcode byte

// The opcodes of RFC 6455. All others are reserved and end the connection with 1002.
const (
	OpContinuation Opcode = 0
	OpText         Opcode = 1
	OpBinary       Opcode = 2
	OpClose        Opcode = 8
	OpPing         Opcode = 9
	OpPong         Opcode = 10
)

// control reports whether op is a close, ping or pong, or a control frame still reserved.
func (op Opcode) control() bool { return op&8 != 0 }

// Bits of the first two bytes of a frame.
const (
	bitFin  = 0x80
	bitRSV1 = 0x40
	bitsRSV = 0x70
	bitMask = 0x80
)

// maxHeader is the longest header of a frame without a mask.
const maxHeader = 10

// maxControl is the longest payload of a control frame, RFC 6455 section 5.5.
const maxControl = 125

// AppendFrame appends one final, unmasked frame with its length in the shortest form to dst and returns the longer
// slice. It does not retain payload and never blocks.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	return append(appendHeader(dst, bitFin|byte(op), len(payload)), payload...)
}

func appendHeader(dst []byte, first byte, n int) []byte {
	switch {
	case n <= 125:
		return append(dst, first, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
	}
}

// headerLen returns the length of the header of an unmasked frame with n bytes of payload.
func headerLen(n int) int {
	switch {
	case n <= 125:
		return 2
	case n <= 0xffff:
		return 4
	default:
		return maxHeader
	}
}

// A Frame is one message as it goes on the wire, encoded once and shared by everybody it is sent to. The zero value
// holds no frame. After Init it is immutable, safe for concurrent use, and must not be copied.
type Frame struct {
	buf      []byte    // header and payload; immutable after Init
	once     sync.Once // guards the making of deflated
	deflated []byte    // written inside once; nil: not smaller than buf
}

// Init makes f the frame of payload, which it copies: one allocation holds header and payload, or none after Reset. It
// must be called at most once, before f is shared.
func (f *Frame) Init(op Opcode, payload []byte) {
	if n := headerLen(len(payload)) + len(payload); cap(f.buf) < n {
		f.buf = make([]byte, 0, n)
	}
	f.buf = AppendFrame(f.buf, op, payload)
}

// maxReused bounds the bytes that Reset keeps.
const maxReused = 1 << 10

// Reset makes f the zero Frame again, for another Init that may use its bytes: nobody may have kept any of them.
func (f *Frame) Reset() {
	f.once, f.deflated = sync.Once{}, nil
	if f.buf = f.buf[:0]; cap(f.buf) > maxReused {
		f.buf = nil
	}
}

// IsZero reports whether f holds no frame.
func (f *Frame) IsZero() bool { return len(f.buf) == 0 }

// Op returns the opcode given to Init, and OpContinuation for the zero Frame.
func (f *Frame) Op() Opcode {
	if f.IsZero() {
		return OpContinuation
	}
	return Opcode(f.buf[0] & 0x0f)
}

// Payload returns the uncompressed payload. It is shared: read only.
func (f *Frame) Payload() []byte {
	if f.IsZero() {
		return nil
	}
	switch f.buf[1] {
	case 126:
		return f.buf[4:]
	case 127:
		return f.buf[maxHeader:]
	}
	return f.buf[2:]
}

// Len returns the bytes of the uncompressed form, header included, and 0 for the zero Frame.
func (f *Frame) Len() int { return len(f.buf) }

// Wire returns the uncompressed form, header included. It is shared: read only.
func (f *Frame) Wire() []byte { return f.buf }

// Deflated returns the permessage-deflate form (RFC 7692, without context takeover), header included, or Wire when
// the payload is shorter than threshold bytes or does not get smaller. It is made by the first call, from the bytes
// copied by Init; concurrent calls wait for that one. The result is shared: read only.
func (f *Frame) Deflated(threshold int) []byte {
	p := f.Payload()
	if len(p) == 0 || len(p) < threshold {
		return f.buf
	}
	f.once.Do(func() { f.deflated = deflate(f.Op(), p, len(f.buf)) })
	if f.deflated == nil {
		return f.buf
	}
	return f.deflated
}
