package wshub

import (
	"errors"
	"net/http"
)

// Codes of error events. [PublicError] may add others.
const (
	codeUnknownEvent  = "unknown_event"
	codeBadMessage    = "bad_message"
	codeInternal      = "internal"
	codeUnauthorized  = "unauthorized"
	codeForbidden     = "forbidden"
	codeNotFound      = "not_found"
	codeLimit         = "limit"
	codeAlreadyMember = "already_member"
	codeNotMember     = "not_member"
	codeFailed        = "failed"
)

// errorEvent is the event of an error's answer, which no handler and no topic may have.
const errorEvent = "error"

// PublicError is an error whose text the client may see: a [Mux] answers it with Code and the text of Err. Outside of a
// Mux it is as Err.
type PublicError struct {
	Code string // "" is the code of what Err matches, and "failed" when that has none
	Err  error
}

// Error returns the text of e.Err.
func (e *PublicError) Error() string {
	if e.Err == nil {
		return "wshub: public error " + e.code()
	}
	return e.Err.Error()
}

// Unwrap returns e.Err.
func (e *PublicError) Unwrap() error { return e.Err }

func (e *PublicError) code() string {
	if e.Code != "" {
		return e.Code
	}
	if o, known := outcomeOf(e.Err); known && o.event != codeInternal {
		return o.event
	}
	return codeFailed
}

// text is what the client sees. It is not what wraps e.
func (e *PublicError) text() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Public marks err as one whose text the client may see, see [PublicError]. Nil stays nil.
func Public(err error) error {
	if err == nil {
		return nil
	}
	return &PublicError{Err: err}
}

// errorAnswer returns code and text of the error event that answers err, and whether err is the server's fault and has
// to be logged.
func errorAnswer(err error) (code, text string, fault bool) {
	var public *PublicError
	var reject *RejectError
	switch {
	case errors.As(err, &public):
		return public.code(), public.text(), false
	case errors.As(err, &reject):
		return rejectCode(reject.status()), reject.reason(), false
	}
	o, known := outcomeOf(err)
	switch {
	case known && o.event != codeInternal:
		return o.event, o.reason, false
	case errors.Is(err, ErrNoSession), errors.Is(err, ErrSessionClosed):
		// The client whose message this is has a session: it is about somebody who has gone.
		return codeNotFound, "not found", false
	}
	return otherwise.event, otherwise.reason, true
}

// rejectCode returns the code that an HTTP status stands for.
func rejectCode(status int) string {
	switch status {
	case http.StatusBadRequest:
		return codeBadMessage
	case http.StatusUnauthorized:
		return codeUnauthorized
	case http.StatusForbidden:
		return codeForbidden
	case http.StatusNotFound:
		return codeNotFound
	case http.StatusTooManyRequests:
		return codeLimit
	}
	return codeFailed
}
