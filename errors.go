package wshub

import (
	"errors"
	"fmt"
	"net/http"
)

// Errors a caller may branch on with [errors.Is]. Functions return them
// wrapped with what was attempted.
var (
	// ErrClosed says that the hub is closed, or that a Topic or another handle
	// is the zero value and so belongs to no hub.
	ErrClosed = errors.New("wshub: hub is closed")

	// ErrDraining says that the hub is being drained or shut down and takes no
	// new sessions.
	ErrDraining = errors.New("wshub: hub is draining")

	// ErrSlow is the cause of a session or stream that a policy evicted: too
	// much was pending for it for too long. Sessions are closed with code 1013.
	ErrSlow = errors.New("wshub: subscriber is too slow")

	// ErrSessionClosed says that the session has ended or is closing. Its
	// cause is what Session.Err returns.
	ErrSessionClosed = errors.New("wshub: session is closed")

	// ErrNoSession says that no session is meant: an audience is nobody, or a
	// session is nil or of another hub. In a cluster an audience that may have
	// sessions on other nodes is not nobody.
	ErrNoSession = errors.New("wshub: no such session")

	// ErrTopicConflict says that a name is in use by a topic or family with
	// another type or policy.
	ErrTopicConflict = errors.New("wshub: topic is defined differently")

	// ErrAlreadyMember says that a session joins a topic it is in.
	ErrAlreadyMember = errors.New("wshub: already a member")

	// ErrNotMember says that a session is not in the topic.
	ErrNotMember = errors.New("wshub: not a member")

	// ErrKey: the key of a value cannot stand for anything, since it is not
	// equal to itself (a NaN is in it) or cannot be compared. Nothing was
	// published.
	ErrKey = errors.New("wshub: invalid key")

	// ErrPolicy says that a policy cannot be parsed, or cannot work where it is
	// used. The error names the parts in conflict.
	ErrPolicy = errors.New("wshub: invalid policy")

	// ErrName says that a topic's or family's name is empty, not UTF-8, or too
	// long.
	ErrName = errors.New("wshub: invalid name")

	// ErrKind says that a message to be sent is neither text nor binary.
	ErrKind = errors.New("wshub: invalid message kind")

	// ErrUTF8 says that text is not valid UTF-8.
	ErrUTF8 = errors.New("wshub: text is not valid UTF-8")

	// ErrDecode says that a received message is not what it was decoded as.
	// A SessionFunc that returns it closes the session with code 1007.
	ErrDecode = errors.New("wshub: cannot decode message")

	// ErrTooBig is the cause of a session whose client sent a message over the
	// read limit. It is closed with code 1009.
	ErrTooBig = errors.New("wshub: message is too big")

	// ErrWriteTimeout is the cause of a session whose client did not take a
	// frame within the write timeout.
	ErrWriteTimeout = errors.New("wshub: write timed out")

	// ErrKeepAlive is the cause of a session whose client gave no sign of life
	// within the keep-alive timeout.
	ErrKeepAlive = errors.New("wshub: peer is gone")

	// ErrMessageTimeout is the cause of a session whose client began a message
	// and did not finish it in time.
	ErrMessageTimeout = errors.New("wshub: message was not finished in time")

	// ErrUnauthorized says that an upgrade, a join or a session is not allowed,
	// or no longer. Whoever it is may try again with better credentials: 401
	// before the upgrade, 1008 after it.
	ErrUnauthorized = errors.New("wshub: not authorized")

	// ErrForbidden is for checks of yours to return: it is known who asks, and
	// this is not for them. 403 before the upgrade, 1008 after it.
	ErrForbidden = errors.New("wshub: forbidden")

	// ErrNotFound is for checks of yours to return: there is no such thing, or
	// they must not learn that there is. 404 before the upgrade, 1008 after it.
	ErrNotFound = errors.New("wshub: not found")

	// ErrUnknownEvent says that a [Mux] has no handler for a message's event. A
	// fallback may return it for what it does not know either.
	ErrUnknownEvent = errors.New("wshub: unknown event")

	// ErrMemberData says that what WithMember told of a session cannot be
	// encoded as JSON, is not UTF-8, or has more than 1 KiB. The session did not
	// join.
	ErrMemberData = errors.New("wshub: invalid member data")

	// ErrUpgrade says that a request could not be upgraded to a WebSocket. The
	// answer has been written.
	ErrUpgrade = errors.New("wshub: upgrade failed")

	// ErrBus says that something went wrong with the bus of a cluster, see
	// WithBus. It is the error of Publish under RequireBus, and the cause of
	// events. The error of package cluster that it wraps tells more.
	ErrBus = errors.New("wshub: bus failed")

	// ErrNodeConflict is the cause of an EventBus: another node of the cluster
	// has the id of this one. Messages to sessions reach either of them then.
	ErrNodeConflict = errors.New("wshub: two nodes have one id")

	// ErrNoDecode says that a topic's codec cannot decode, which a stream, a
	// filter or a key needs in a cluster. See DecodingCodec.
	ErrNoDecode = errors.New("wshub: codec cannot decode")

	// ErrPanic is the cause of a session, or the error of a call, in which a
	// callback of the user panicked. The stack is logged.
	ErrPanic = errors.New("wshub: panic in a callback")
)

// ErrExpired is the cause of a session whose identity has expired, and the error of an upgrade or [Session.Renew] with
// one that has. It matches [ErrUnauthorized]; the session is closed with 1008.
var ErrExpired = fmt.Errorf("%w: identity expired", ErrUnauthorized)

// Errors of limits. All of them match [ErrLimit].
var (
	// ErrLimit says that one of the hub's Limits is reached; the error also
	// matches the limit's own sentinel below.
	ErrLimit = errors.New("wshub: limit reached")

	// ErrTooManySessions: Limits.Sessions of the hub.
	ErrTooManySessions = fmt.Errorf("%w: too many sessions", ErrLimit)

	// ErrTooManySessionsPerUser: Limits.SessionsPerUser of one user.
	ErrTooManySessionsPerUser = fmt.Errorf("%w: too many sessions of the user", ErrLimit)

	// ErrTooManySessionsPerAddr: Limits.SessionsPerAddr of one remote address.
	ErrTooManySessionsPerAddr = fmt.Errorf("%w: too many sessions of the address", ErrLimit)

	// ErrTooManyUpgrades: Limits.Upgrades under way at once.
	ErrTooManyUpgrades = fmt.Errorf("%w: too many upgrades at once", ErrLimit)

	// ErrTooManyTopics: Limits.TopicsPerSession.
	ErrTooManyTopics = fmt.Errorf("%w: too many topics of the session", ErrLimit)

	// ErrTopicFull: Limits.SessionsPerTopic.
	ErrTopicFull = fmt.Errorf("%w: topic is full", ErrLimit)

	// ErrPendingFull: Limits.Pending of one topic, or the bound on direct
	// messages of one session, for as long as the call's context allowed.
	// Nothing was published or sent.
	ErrPendingFull = fmt.Errorf("%w: too much is pending", ErrLimit)

	// ErrTooManyKeys: Limits.Keys of one topic. Nothing was published.
	ErrTooManyKeys = fmt.Errorf("%w: too many keys", ErrLimit)
)

// CloseError closes a session with a code and a reason of the caller's choice
// when a SessionFunc or a handler returns it. It is also the cause of a session
// that was closed with a code, by either side.
type CloseError struct {
	// Code is sent to the peer. One that must not be sent, see [StatusCode],
	// becomes 1011.
	Code StatusCode

	// Reason is sent to the peer, cut to 123 bytes on a rune boundary. It may
	// be empty.
	Reason string

	// Err is the cause, for Unwrap. It is not sent. It may be nil.
	Err error
}

// Error returns code, reason and cause.
func (e *CloseError) Error() string {
	s := "wshub: closed with " + e.Code.String()
	if e.Reason != "" {
		s += fmt.Sprintf(" %q", e.Reason)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns e.Err.
func (e *CloseError) Unwrap() error { return e.Err }

// Is reports whether target is a *CloseError with e's code and, when target
// has a reason, e's reason, so that
//
//	errors.Is(err, &wshub.CloseError{Code: wshub.StatusGoingAway})
//
// asks for a code anywhere in a chain of errors.
func (e *CloseError) Is(target error) bool {
	t, ok := target.(*CloseError)
	return ok && t.Code == e.Code && (t.Reason == "" || t.Reason == e.Reason)
}

// RejectError chooses the answer to a refused upgrade when Authenticate or
// another check before the upgrade returns it. It matches [ErrUnauthorized].
// Returned by a SessionFunc, or by Authorize and then the SessionFunc, it
// closes the session with code 1008 and its Reason.
type RejectError struct {
	// Status is the HTTP status, from 300 to 599; any other one becomes 401.
	Status int

	// Header is added to the answer, such as a WWW-Authenticate, Retry-After or
	// Location. It may be nil. The hub does not change it.
	Header http.Header

	// Reason is the text the client is shown; "" is the status text.
	Reason string
}

// Error returns status and reason.
func (e *RejectError) Error() string {
	return fmt.Sprintf("wshub: rejected with %d: %s", e.status(), e.reason())
}

// Is reports whether target is ErrUnauthorized.
func (e *RejectError) Is(target error) bool { return target == ErrUnauthorized }

// status is the HTTP status to answer with. A 1xx or 2xx would tell the client
// that it has been upgraded or served.
func (e *RejectError) status() int {
	if e.Status < 300 || e.Status > 599 {
		return http.StatusUnauthorized
	}
	return e.Status
}

func (e *RejectError) reason() string {
	if e.Reason != "" {
		return e.Reason
	}
	return http.StatusText(e.status())
}
