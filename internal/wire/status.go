package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Close codes this package itself sends or reports, RFC 6455 section 7.4.1.
const (
	codeNoStatus = 1005
	codeProtocol = 1002
	codeNotUTF8  = 1007
	codePolicy   = 1008
	codeTooBig   = 1009
	codeInternal = 1011
)

// maxReason is the longest reason of a close frame, in bytes: the code takes two.
const maxReason = maxControl - 2

// ErrInterrupted is what [Conn.ReadMessage] returns after [Conn.Interrupt].
var ErrInterrupted = errors.New("wire: reading was interrupted")

// A PeerClose says that the peer has sent a close frame. The frame that answers it is in the control lane, unless
// [Options] say to hold it.
type PeerClose struct {
	Code   int    // 1005 when the frame had none
	Reason string // valid UTF-8
}

// Error describes the close frame.
func (e *PeerClose) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("wire: peer closed with %d", e.Code)
	}
	return fmt.Sprintf("wire: peer closed with %d: %q", e.Code, e.Reason)
}

// A ProtocolError says that the peer did something that ends the connection. The close frame with Code and Reason is in
// the control lane, unless another one was there before or [Options] say to hold it.
type ProtocolError struct {
	Code   int    // 1002, 1007, 1008 or 1009
	Reason string // what was wrong, for the peer too
	Err    error  // the cause, when there is more to tell; may be nil
}

// Error describes the violation.
func (e *ProtocolError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("wire: %s (%d): %v", e.Reason, e.Code, e.Err)
	}
	return fmt.Sprintf("wire: %s (%d)", e.Reason, e.Code)
}

// Unwrap returns Err.
func (e *ProtocolError) Unwrap() error { return e.Err }

// ValidCloseCode reports whether code may travel in a close frame: 1000 to 1003, 1007 to 1014, and 3000 to 4999.
func ValidCloseCode(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

// TruncateReason returns s as it fits into a close frame: valid UTF-8, at most 123 bytes, cut between two runes.
func TruncateReason(s string) string {
	if len(s) > 4*maxReason {
		s = s[:4*maxReason] // bounds the work; the rest could matter only behind a long run of invalid bytes
	}
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= maxReason {
		return s
	}
	n := maxReason
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// closeFrame returns the frame that [Conn.QueueClose] promises for code and reason.
func closeFrame(code int, reason string) []byte {
	if code == 0 || code == codeNoStatus {
		return AppendFrame(nil, OpClose, nil)
	}
	if !ValidCloseCode(code) {
		code = codeInternal
	}
	reason = TruncateReason(reason)
	b := appendHeader(make([]byte, 0, 4+len(reason)), bitFin|byte(OpClose), 2+len(reason))
	return append(binary.BigEndian.AppendUint16(b, uint16(code)), reason...)
}

// parseClose reads the payload of a peer's close frame, unmasked.
func parseClose(p []byte) (code int, reason string, violation *ProtocolError) {
	switch {
	case len(p) == 0:
		return codeNoStatus, "", nil
	case len(p) == 1:
		return codeNoStatus, "", &ProtocolError{Code: codeProtocol, Reason: "close frame with half a status code"}
	}
	code = int(binary.BigEndian.Uint16(p))
	if !ValidCloseCode(code) {
		return codeNoStatus, "", &ProtocolError{Code: codeProtocol, Reason: "close frame with a reserved status code"}
	}
	if !utf8.Valid(p[2:]) {
		return codeNoStatus, "", &ProtocolError{Code: codeNotUTF8, Reason: "close reason is not UTF-8"}
	}
	return code, string(p[2:]), nil
}

func notUTF8() *ProtocolError {
	return &ProtocolError{Code: codeNotUTF8, Reason: "text is not UTF-8"}
}
