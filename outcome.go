package wshub

import (
	"errors"
	"net/http"

	"github.com/wshub-go/wshub/internal/wire"
)

// outcome is what an error means to the client, wherever it comes up. The texts are ours: the text of other errors may
// tell what is none of the client's business.
type outcome struct {
	err    error
	status int        // answers a refused upgrade; 0: as if it were not in the table
	code   StatusCode // closes a session whose SessionFunc returns it
	event  string     // code of a Mux's error event
	reason string     // text of close frames and error events
}

// outcomes has the errors that a client may cause or is to know of. Of several that an error matches the first counts.
var outcomes = []outcome{
	// Not ErrUTF8: without ErrDecode it is about text of the server's own.
	{ErrDecode, 0, StatusInvalidFramePayloadData, codeBadMessage, "invalid message data"},
	{ErrUnknownEvent, 0, StatusPolicyViolation, codeUnknownEvent, "unknown event"},
	// Before ErrUnauthorized, which every refusal of Authorize matches too.
	{ErrForbidden, http.StatusForbidden, StatusPolicyViolation, codeForbidden, "forbidden"},
	{ErrNotFound, http.StatusNotFound, StatusPolicyViolation, codeNotFound, "not found"},
	{ErrUnauthorized, http.StatusUnauthorized, StatusPolicyViolation, codeUnauthorized, "not authorized"},
	// A name that the server made up would be its own fault, but names come from clients: rooms.Topic(c.Room).
	{ErrName, http.StatusBadRequest, StatusPolicyViolation, codeBadMessage, "invalid name"},
	// A client that asks twice, or for what it has left, is none of the server's faults.
	{ErrAlreadyMember, 0, StatusPolicyViolation, codeAlreadyMember, "already a member"},
	{ErrNotMember, 0, StatusPolicyViolation, codeNotMember, "not a member"},
	{ErrSlow, 0, StatusTryAgainLater, codeInternal, "too slow"},
	{ErrDraining, http.StatusServiceUnavailable, StatusGoingAway, codeInternal, "going away"},
	{ErrClosed, http.StatusServiceUnavailable, StatusGoingAway, codeInternal, "going away"},
	// Limits. Those of sessions say no more than that.
	{ErrTooManySessions, http.StatusTooManyRequests, StatusPolicyViolation, codeLimit, "too many sessions"},
	{ErrTooManySessionsPerUser, http.StatusTooManyRequests, StatusPolicyViolation, codeLimit, "too many sessions"},
	{ErrTooManySessionsPerAddr, http.StatusTooManyRequests, StatusPolicyViolation, codeLimit, "too many sessions"},
	{ErrTooManyUpgrades, http.StatusTooManyRequests, StatusPolicyViolation, codeLimit, "too many sessions"},
	{ErrTooManyTopics, http.StatusTooManyRequests, StatusPolicyViolation, codeLimit, "too many topics"},
	{ErrTopicFull, http.StatusTooManyRequests, StatusPolicyViolation, codeLimit, "topic is full"},
	{ErrPendingFull, http.StatusTooManyRequests, StatusPolicyViolation, codeLimit, "too much is pending"},
	{ErrTooManyKeys, http.StatusTooManyRequests, StatusPolicyViolation, codeLimit, "too many keys"},
	{ErrLimit, http.StatusTooManyRequests, StatusPolicyViolation, codeLimit, "limit reached"},
}

// otherwise is the outcome of all other errors: the server's fault, to be logged.
var otherwise = outcome{code: StatusInternalError, event: codeInternal, reason: "internal error"}

// outcomeOf returns the row that err matches, and whether there is one.
func outcomeOf(err error) (outcome, bool) {
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			return o, true
		}
	}
	return otherwise, false
}

// statusFor is how the result of a SessionFunc closes its session: the close code, a reason that fits into a close
// frame, and whether err is the server's fault and has to be logged. The reasons are ours, except where the user wrote
// one for the client to see. It is not asked about sessions that are closing already.
func statusFor(err error) (code StatusCode, reason string, fault bool) {
	var closeErr *CloseError
	var reject *RejectError
	switch {
	case err == nil:
		return StatusNormalClosure, "", false
	case errors.Is(err, ErrPanic) && !(errors.As(err, &closeErr) && errors.Is(closeErr.Err, ErrPanic)):
		// The value that somebody panicked with may match anything; only a *CloseError made of the panic decides.
		return otherwise.code, otherwise.reason, true
	case errors.As(err, &closeErr):
		if !closeErr.Code.valid() {
			return otherwise.code, otherwise.reason, true
		}
		return closeErr.Code, wire.TruncateReason(closeErr.Reason), false
	case errors.As(err, &reject):
		return StatusPolicyViolation, wire.TruncateReason(reject.reason()), false
	}
	o, known := outcomeOf(err)
	return o.code, o.reason, !known
}

// refusal is how an error of a check before the upgrade answers the request: the HTTP status, the text, and whether the
// client is told when to try again. A *RejectError is asked for its headers besides.
func refusal(err error) (status int, text string, later bool) {
	var reject *RejectError
	if errors.As(err, &reject) {
		return reject.status(), reject.reason(), false
	}
	status = http.StatusUnauthorized
	if o, _ := outcomeOf(err); o.status != 0 {
		status = o.status
	}
	later = status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	return status, http.StatusText(status), later
}
