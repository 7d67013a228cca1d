package wire

import (
	"encoding/binary"
	"math"
)

// A scanner follows the frames of a client's byte stream without copying it. It looks at headers and at the
// payload of close frames; what it refuses never reaches the library. Its verdict does not depend on how the
// stream is cut into chunks. It belongs to the goroutine that reads.
//
// After a violation it keeps looking for the peer's close frame, with every rule but the framing itself off.
type scanner struct {
	limit    int64 // bytes of one message
	compress bool  // permessage-deflate was negotiated
	lenient  bool  // rules are off: only the close frame matters now

	// The frame under way.
	hdr       [maxHeader + 4]byte
	have      uint8 // bytes of hdr that are there; 0: between two frames
	need      uint8 // bytes of hdr this frame has; known once have is 2
	payload   bool  // the header is complete, left bytes of payload are to come
	masked    bool
	fin       bool
	op        Opcode
	left      uint64
	closeBody []byte // payload so far of a close frame

	// The message under way.
	frag     bool  // a fragment was read, the final one was not
	deflated bool  // its first frame had RSV1
	total    int64 // payload bytes announced so far

	// What was found.
	began  bool           // a message or control frame began in the latest scan, outside another one
	done   int            // messages and control frames that became complete in the latest scan
	closed bool           // the peer's close frame was read to its end
	lost   bool           // the framing cannot be followed any more
	code   int            // of the close frame
	reason string         // of the close frame
	err    *ProtocolError // the first violation
}

// mid reports whether the stream is in the middle of a frame or of a fragmented message.
func (s *scanner) mid() bool { return s.have > 0 || s.frag }

// rest returns how many bytes more, at least one, certainly belong to the frame that comes or is under way.
func (s *scanner) rest() uint64 {
	switch {
	case s.payload:
		return s.left
	case s.have < 2:
		return uint64(2 - s.have)
	}
	return uint64(s.need - s.have)
}

// inControl reports whether the stream is in the middle of a control frame.
func (s *scanner) inControl() bool { return s.have > 0 && s.op.control() }

// scan looks at the next bytes of the stream. It returns how many of them may go on: all, or those before a violation
// or before the last byte of the close frame.
func (s *scanner) scan(p []byte) (pass int) {
	s.began, s.done = false, 0
	stopped := s.err != nil || s.closed
	refuse := func(at int, v *ProtocolError) {
		if v == nil || s.lenient {
			return
		}
		s.err, s.lenient, stopped, pass = v, true, true, at
	}
	i := 0
	for i < len(p) && !s.closed && !s.lost {
		if !s.payload {
			if s.have == 0 {
				s.began = s.began || !s.frag
			}
			s.hdr[s.have] = p[i]
			s.have++
			refuse(i, s.header())
			i++
		} else {
			n := int(min(s.left, uint64(len(p)-i)))
			if s.op == OpClose {
				s.closeBody = append(s.closeBody, p[i:i+min(n, maxControl-len(s.closeBody))]...)
			}
			s.left -= uint64(n)
			i += n
		}
		if s.payload && s.left == 0 {
			// The last byte of a frame that ends the stream is held back, so that the library does not see it whole.
			refuse(i-1, s.end())
			if s.closed && !stopped {
				stopped, pass = true, i-1
			}
		}
	}
	if stopped {
		return pass
	}
	return i
}

// header checks the header as far as it is there, and starts the payload after its last byte.
func (s *scanner) header() *ProtocolError {
	switch s.have {
	case 1:
		return s.first(s.hdr[0])
	case 2:
		return s.second(s.hdr[1])
	}
	var v *ProtocolError
	if ext := s.extended(); ext > 0 && s.have == 2+ext {
		v = s.length(ext)
	}
	s.start()
	return v
}

func (s *scanner) first(b byte) *ProtocolError {
	s.fin, s.op = b&bitFin != 0, Opcode(b&0x0f)
	data := s.op == OpText || s.op == OpBinary
	rsv := b & bitsRSV
	began := rsv == bitRSV1 && data
	switch {
	case s.op > OpBinary && s.op < OpClose || s.op > OpPong:
		return violation("reserved opcode")
	case rsv != 0 && !(began && s.compress):
		return violation("reserved bits are set")
	case s.op.control() && !s.fin:
		return violation("fragmented control frame")
	case s.op == OpContinuation && !s.frag:
		return violation("continuation of nothing")
	case data && s.frag:
		return violation("new message inside a fragmented one")
	}
	if data {
		s.deflated, s.total = began, 0
	}
	return nil
}

func (s *scanner) second(b byte) *ProtocolError {
	s.masked = b&bitMask != 0
	n := b &^ bitMask
	s.left = uint64(n)
	s.need = 2
	switch n {
	case 126:
		s.need += 2
	case 127:
		s.need += 8
	}
	if s.masked {
		s.need += 4
	}
	var v *ProtocolError
	switch {
	case !s.masked:
		v = violation("frame without a mask")
	case s.op.control() && n > maxControl:
		v = violation("control frame over 125 bytes")
	case n <= 125:
		v = s.size()
	}
	s.start()
	return v
}

// extended returns the length of the extended length: 0, 2 or 8.
func (s *scanner) extended() uint8 {
	switch s.hdr[1] &^ bitMask {
	case 126:
		return 2
	case 127:
		return 8
	}
	return 0
}

func (s *scanner) length(ext uint8) *ProtocolError {
	if ext == 2 {
		s.left = uint64(binary.BigEndian.Uint16(s.hdr[2:]))
		if s.left <= 125 {
			return violation("length not in its shortest form")
		}
	} else {
		s.left = binary.BigEndian.Uint64(s.hdr[2:])
		if s.left > math.MaxInt64 {
			s.lost = true
			return violation("length over 63 bits")
		}
		if s.left <= 0xffff {
			return violation("length not in its shortest form")
		}
	}
	return s.size()
}

// size counts the frame into its message.
func (s *scanner) size() *ProtocolError {
	if s.op.control() {
		return nil
	}
	limit := s.limit
	if s.deflated {
		// Counted after inflation, by the library. This bounds what deflates to nothing, and leaves room for what
		// deflate makes longer.
		limit = min(limit, math.MaxInt64/4)*2 + 1024
	}
	if s.left > uint64(limit-s.total) {
		// Nothing is added: total never passes limit, so that the subtraction above is safe for lenient scans too.
		return &ProtocolError{Code: codeTooBig, Reason: "message over the limit"}
	}
	s.total += int64(s.left)
	return nil
}

// start begins the payload when the header is complete.
func (s *scanner) start() {
	if s.have == s.need && !s.lost {
		s.payload = true
		s.closeBody = s.closeBody[:0]
	}
}

// end finishes the frame.
func (s *scanner) end() *ProtocolError {
	s.have, s.need, s.payload = 0, 0, false
	if !s.op.control() {
		s.frag = !s.fin
		if s.fin {
			s.done++
		}
		return nil
	}
	s.done++
	if s.op != OpClose {
		return nil
	}
	s.closed = true
	body := s.closeBody
	s.closeBody = nil
	if s.masked {
		for i := range body {
			body[i] ^= s.hdr[2+int(s.extended())+i%4]
		}
	}
	var v *ProtocolError
	s.code, s.reason, v = parseClose(body)
	return v
}

func violation(reason string) *ProtocolError {
	return &ProtocolError{Code: codeProtocol, Reason: reason}
}
