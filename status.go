package wshub

import (
	"strconv"

	"github.com/wshub-go/wshub/internal/wire"
)

// StatusCode is a WebSocket close code of RFC 6455, section 7.4, and of the
// IANA registry it founded.
//
// Codes 1000 to 1003, 1007 to 1014 and 3000 to 4999 may be sent; 3000 to 3999
// are for libraries and frameworks to register and 4000 to 4999 free for
// applications. All others are refused, whoever sends them.
type StatusCode int

// The registered codes.
const (
	StatusNormalClosure           StatusCode = 1000 // the work is done
	StatusGoingAway               StatusCode = 1001 // the server shuts down, or the page was left
	StatusProtocolError           StatusCode = 1002 // the peer broke the protocol
	StatusUnsupportedData         StatusCode = 1003 // the peer cannot take this kind of message
	StatusNoStatusRcvd            StatusCode = 1005 // never sent: the close frame had no code, as a browser's plain close()
	StatusAbnormalClosure         StatusCode = 1006 // never sent: the connection ended without a close frame
	StatusInvalidFramePayloadData StatusCode = 1007 // the message's data is not of its type, such as text that is not UTF-8
	StatusPolicyViolation         StatusCode = 1008 // a rule or a limit was broken
	StatusMessageTooBig           StatusCode = 1009 // the message is over the read limit
	StatusMandatoryExtension      StatusCode = 1010 // the client wanted an extension
	StatusInternalError           StatusCode = 1011 // the server failed
	StatusServiceRestart          StatusCode = 1012 // the server restarts
	StatusTryAgainLater           StatusCode = 1013 // the server is overloaded, or this client too slow
	StatusBadGateway              StatusCode = 1014 // an upstream server failed
	StatusTLSHandshake            StatusCode = 1015 // never sent: TLS failed
)

// String returns the number and, for a registered code, its name, such as
// "1001 going away".
func (c StatusCode) String() string {
	s := strconv.Itoa(int(c))
	if name := c.name(); name != "" {
		s += " " + name
	}
	return s
}

func (c StatusCode) name() string {
	switch c {
	case StatusNormalClosure:
		return "normal closure"
	case StatusGoingAway:
		return "going away"
	case StatusProtocolError:
		return "protocol error"
	case StatusUnsupportedData:
		return "unsupported data"
	case StatusNoStatusRcvd:
		return "no status received"
	case StatusAbnormalClosure:
		return "abnormal closure"
	case StatusInvalidFramePayloadData:
		return "invalid frame payload data"
	case StatusPolicyViolation:
		return "policy violation"
	case StatusMessageTooBig:
		return "message too big"
	case StatusMandatoryExtension:
		return "mandatory extension"
	case StatusInternalError:
		return "internal error"
	case StatusServiceRestart:
		return "service restart"
	case StatusTryAgainLater:
		return "try again later"
	case StatusBadGateway:
		return "bad gateway"
	case StatusTLSHandshake:
		return "TLS handshake"
	}
	return ""
}

// valid reports whether c may be in a close frame, ours or the peer's.
func (c StatusCode) valid() bool { return wire.ValidCloseCode(int(c)) }
