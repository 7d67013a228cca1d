package wshubtest

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"unicode/utf8"
)

// Opcode is the low half of a frame's first byte. [Client.SendFrame] also takes the reserved bits in it:
// RSV1|OpText begins a compressed message.
type Opcode byte

// The opcodes of RFC 6455, section 5.2, and the reserved bits beside them.
const (
	OpContinuation Opcode = 0x0
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xA

	RSV1 Opcode = 0x40
	RSV2 Opcode = 0x20
	RSV3 Opcode = 0x10
)

// maxMessage bounds what the client takes for one message: a length beyond it is a test gone wrong.
const maxMessage = 1 << 30

// Frame returns the bytes of one masked frame as a client sends it, for [Client.SendRaw] and [WithEarly]. It checks
// nothing, so that a test can build what a client must not send.
func Frame(fin bool, op Opcode, payload []byte) []byte {
	first := byte(op) & 0x7F
	if fin {
		first |= 0x80
	}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 0x80|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	var mask [4]byte
	binary.LittleEndian.PutUint32(mask[:], rand.Uint32())
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i&3])
	}
	return b
}

// Deflate returns the payload of a message compressed as RFC 7692 asks, without context takeover.
func Deflate(p []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed) // the level is valid, and a Buffer's writes do not fail
	w.Write(p)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xFF, 0xFF})
}

// closePayload returns the payload of a close frame; code 0 means no status.
func closePayload(code int, reason string) []byte {
	if code == 0 {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}

// parseClose splits a close frame's payload; a frame without a status is 1005, as RFC 6455 names it.
func parseClose(p []byte) (code int, reason string, err error) {
	if len(p) == 0 {
		return 1005, "", nil
	}
	if len(p) == 1 {
		return 0, "", errors.New("close frame with half a status code")
	}
	code = int(binary.BigEndian.Uint16(p))
	valid := code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006 || code >= 3000 && code <= 4999
	if !valid {
		return 0, "", fmt.Errorf("close frame with the reserved code %d", code)
	}
	if !utf8.Valid(p[2:]) {
		return 0, "", errors.New("close frame with a reason that is not UTF-8")
	}
	return code, string(p[2:]), nil
}

// frame is one frame as the server sent it.
type frame struct {
	fin     bool
	rsv1    bool
	op      Opcode
	payload []byte
}

func (f frame) control() bool { return f.op&0x8 != 0 }

// readFrame reads one frame and holds the server to the rules of RFC 6455, section 5.
func readFrame(r *bufio.Reader, compressed bool) (frame, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return frame{}, err
	}
	f := frame{fin: head[0]&0x80 != 0, rsv1: head[0]&0x40 != 0, op: Opcode(head[0] & 0x0F)}
	switch f.op {
	case OpContinuation, OpText, OpBinary, OpClose, OpPing, OpPong:
	default:
		return f, fmt.Errorf("frame with the reserved opcode %#x", byte(f.op))
	}
	switch {
	case head[0]&0x30 != 0, f.rsv1 && !compressed:
		return f, fmt.Errorf("frame with reserved bits set (first byte %#x)", head[0])
	case f.rsv1 && (f.control() || f.op == OpContinuation):
		return f, errors.New("compression bit on a frame that does not begin a message")
	case head[1]&0x80 != 0:
		return f, errors.New("masked frame from a server")
	}
	n := uint64(head[1])
	switch n {
	case 126:
		if err := readAll(r, head[:2]); err != nil {
			return f, err
		}
		if n = uint64(binary.BigEndian.Uint16(head[:2])); n < 126 {
			return f, fmt.Errorf("length %d not in its shortest form", n)
		}
	case 127:
		if err := readAll(r, head[:8]); err != nil {
			return f, err
		}
		if n = binary.BigEndian.Uint64(head[:8]); n < 1<<16 {
			return f, fmt.Errorf("length %d not in its shortest form", n)
		}
	}
	switch {
	case f.control() && (n > 125 || !f.fin):
		return f, errors.New("control frame that is fragmented or over 125 bytes")
	case n > maxMessage:
		return f, fmt.Errorf("frame of %d bytes", n)
	}
	f.payload = make([]byte, n)
	return f, readAll(r, f.payload)
}

// readAll fills p; an end inside a frame is not a plain end.
func readAll(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// inflate undoes the compression of one whole message, RFC 7692 section 7.2.2.
func inflate(p []byte) ([]byte, error) {
	tail := "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff" // the cut end of the flush, then an empty final block
	r := flate.NewReader(io.MultiReader(bytes.NewReader(p), bytes.NewReader([]byte(tail))))
	b, err := io.ReadAll(io.LimitReader(r, maxMessage))
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	return b, nil
}
