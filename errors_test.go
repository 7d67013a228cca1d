package wshub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestErrLimit(t *testing.T) {
	limits := []error{
		ErrTooManySessions, ErrTooManySessionsPerUser, ErrTooManySessionsPerAddr, ErrTooManyUpgrades,
		ErrTooManyTopics, ErrTopicFull, ErrPendingFull, ErrTooManyKeys,
	}
	for i, err := range limits {
		if !errors.Is(err, ErrLimit) {
			t.Errorf("%v does not match ErrLimit", err)
		}
		for j, other := range limits {
			if errors.Is(err, other) != (i == j) {
				t.Errorf("errors.Is(%v, %v) = %t", err, other, i != j)
			}
		}
	}
	for _, err := range []error{ErrClosed, ErrDraining, ErrSlow, ErrName, ErrTooBig} {
		if errors.Is(err, ErrLimit) {
			t.Errorf("%v matches ErrLimit", err)
		}
	}
}

func TestErrorPrefix(t *testing.T) {
	all := []error{
		ErrClosed, ErrDraining, ErrSlow, ErrSessionClosed, ErrNoSession, ErrTopicConflict, ErrAlreadyMember, ErrNotMember,
		ErrPolicy, ErrName, ErrKind, ErrUTF8, ErrDecode, ErrTooBig, ErrWriteTimeout, ErrKeepAlive, ErrMessageTimeout,
		ErrUnauthorized, ErrMemberData, ErrUpgrade, ErrPanic, ErrLimit, ErrTooManySessions, ErrTooManyKeys, ErrKey,
		ErrForbidden, ErrNotFound, ErrUnknownEvent,
		ErrNotAdmitted, ErrExpired, ErrUnexpectedMessage,
		&CloseError{}, &RejectError{},
	}
	seen := make(map[string]bool)
	for _, err := range all {
		if s := err.Error(); !strings.HasPrefix(s, "wshub: ") || seen[s] {
			t.Errorf("error text %q is not prefixed, or not its own", s)
		} else {
			seen[s] = true
		}
	}
}

func TestStatusFor(t *testing.T) {
	var v struct{ N int }
	badData := Text(`{"N":"x"}`).Decode(&v)
	badText := Text("\"\xff\"").Decode(&v)
	badTarget := Text(`{}`).Decode(v)
	tests := []struct {
		name   string
		err    error
		code   StatusCode
		reason string
		log    bool
	}{
		{"nil", nil, 1000, "", false},
		{"close error", &CloseError{Code: 4001, Reason: "bye"}, 4001, "bye", false},
		{"close error, wrapped", fmt.Errorf("chat: %w", &CloseError{Code: StatusTryAgainLater, Err: io.EOF}), 1013, "", false},
		{"close error before its cause", &CloseError{Code: StatusNormalClosure, Err: ErrSlow}, 1000, "", false},
		{"close error without a code", &CloseError{Reason: "secret"}, 1011, "internal error", true},
		{"close error of a code not to be sent", &CloseError{Code: StatusNoStatusRcvd}, 1011, "internal error", true},
		{"close error with a long reason", &CloseError{Code: 4000, Reason: strings.Repeat("a", 122) + "ü"}, 4000, strings.Repeat("a", 122), false},
		{"bad data", badData, 1007, "invalid message data", false},
		{"bad text", fmt.Errorf("chat: %w", badText), 1007, "invalid message data", false},
		{"bad target", badTarget, 1011, "internal error", true},
		{"JSON of the server's own", json.Unmarshal([]byte("{"), &v), 1011, "internal error", true},
		{"text of the server's own", Text("\xff").validate(), 1011, "internal error", true},
		{"refused join", fmt.Errorf("join %q: %w", "a", ErrUnauthorized), 1008, "not authorized", false},
		{"refused join with a reason", fmt.Errorf("join %q: %w", "a", &RejectError{Reason: "members only"}), 1008, "members only", false},
		{"forbidden", fmt.Errorf("app: %w", ErrForbidden), 1008, "forbidden", false},
		{"forbidden by Authorize", fmt.Errorf("%w: %w", ErrUnauthorized, ErrForbidden), 1008, "forbidden", false},
		{"not found by Authorize", fmt.Errorf("%w: %w", ErrUnauthorized, ErrNotFound), 1008, "not found", false},
		{"unknown event", ErrUnknownEvent, 1008, "unknown event", false},
		{"public changes nothing", Public(fmt.Errorf("room: %w", ErrNotFound)), 1008, "not found", false},
		{"bad name", validateName(""), 1008, "invalid name", false},
		{"a second join", fmt.Errorf("join %q: %w", "a", ErrAlreadyMember), 1008, "already a member", false},
		{"a limit", fmt.Errorf("join %q: %w", "a", ErrTopicFull), 1008, "topic is full", false},
		{"any limit", fmt.Errorf("app: %w", ErrLimit), 1008, "limit reached", false},
		{"slow", fmt.Errorf("send: %w", ErrSlow), 1013, "too slow", false},
		{"draining", ErrDraining, 1001, "going away", false},
		{"closed", fmt.Errorf("publish: %w", ErrClosed), 1001, "going away", false},
		{"the rest", errors.New("password is hunter2"), 1011, "internal error", true},
		{"panic", panicError("no"), 1011, "internal error", true},
		{"panic with a sentinel", panicError(fmt.Errorf("load: %w", ErrNotFound)), 1011, "internal error", true},
		{"panic with a close error", panicError(&CloseError{Code: 4001, Err: io.EOF}), 1011, "internal error", true},
		{"panic with a refusal", panicError(&RejectError{Reason: "secret"}), 1011, "internal error", true},
		{"close error made of a panic", &CloseError{Code: 4001, Err: panicError(ErrNotFound)}, 4001, "", false},
		{"several", errors.Join(io.EOF, ErrTooManyTopics), 1008, "too many topics", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, reason, log := statusFor(tt.err)
			if code != tt.code || reason != tt.reason || log != tt.log {
				t.Errorf("statusFor(%v) = %v, %q, %t; want %v, %q, %t", tt.err, code, reason, log, tt.code, tt.reason, tt.log)
			}
		})
	}
}

// A close frame's payload is at most 125 bytes, two of them the code.
func TestStatusForReasonFits(t *testing.T) {
	for n := range 130 {
		for _, r := range []string{"a", "ü", "€", "😀"} {
			long := strings.Repeat("x", n) + strings.Repeat(r, 40)
			_, reason, _ := statusFor(&CloseError{Code: 4000, Reason: long})
			if len(reason) > 123 || len(reason) < 120 || !utf8.ValidString(reason) || !strings.HasPrefix(long, reason) {
				if len(long) <= 123 && reason == long {
					continue
				}
				t.Fatalf("reason of %d bytes is cut to %q, %d bytes", len(long), reason, len(reason))
			}
		}
	}
}

func TestStatusCode(t *testing.T) {
	for code := StatusCode(-10); code < 6000; code++ {
		want := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
		if code.valid() != want {
			t.Errorf("valid(%d) = %t", code, !want)
		}
		named := strings.Contains(code.String(), " ")
		if wantName := code >= 1000 && code <= 1015 && code != 1004; named != wantName {
			t.Errorf("StatusCode(%d).String() = %q", int(code), code)
		}
	}
	if got := StatusGoingAway.String(); got != "1001 going away" {
		t.Errorf("String() = %q", got)
	}
	if got := StatusCode(4001).String(); got != "4001" {
		t.Errorf("String() = %q", got)
	}
}

func TestCloseError(t *testing.T) {
	err := error(&CloseError{Code: 1013, Reason: "later", Err: fmt.Errorf("join: %w", ErrSlow)})
	if got, want := err.Error(), `wshub: closed with 1013 try again later "later": join: wshub: subscriber is too slow`; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	wrapped := fmt.Errorf("app: %w", err)
	tests := []struct {
		target error
		want   bool
	}{
		{ErrSlow, true},
		{&CloseError{Code: 1013}, true},
		{&CloseError{Code: 1013, Reason: "later"}, true},
		{&CloseError{Code: 1013, Reason: "now"}, false},
		{&CloseError{Code: 1001}, false},
		{io.EOF, false},
	}
	for _, tt := range tests {
		if got := errors.Is(wrapped, tt.target); got != tt.want {
			t.Errorf("errors.Is(err, %v) = %t", tt.target, got)
		}
	}
	if got := (&CloseError{Code: 4000}).Error(); got != "wshub: closed with 4000" {
		t.Errorf("Error() = %q", got)
	}
}

func TestRejectError(t *testing.T) {
	tests := []struct {
		err    RejectError
		status int
		text   string
	}{
		{RejectError{}, 401, "wshub: rejected with 401: Unauthorized"},
		{RejectError{Status: http.StatusForbidden, Reason: "banned"}, 403, "wshub: rejected with 403: banned"},
		{RejectError{Status: http.StatusFound}, 302, "wshub: rejected with 302: Found"},
		{RejectError{Status: http.StatusSwitchingProtocols}, 401, "wshub: rejected with 401: Unauthorized"},
		{RejectError{Status: http.StatusOK, Reason: "fine"}, 401, "wshub: rejected with 401: fine"},
		{RejectError{Status: -1}, 401, "wshub: rejected with 401: Unauthorized"},
		{RejectError{Status: 1000}, 401, "wshub: rejected with 401: Unauthorized"},
	}
	for _, tt := range tests {
		if got := tt.err.status(); got != tt.status {
			t.Errorf("%+v: status is %d, want %d", tt.err, got, tt.status)
		}
		if got := tt.err.Error(); got != tt.text {
			t.Errorf("Error() = %q, want %q", got, tt.text)
		}
		if !errors.Is(fmt.Errorf("app: %w", &tt.err), ErrUnauthorized) {
			t.Errorf("%v does not match ErrUnauthorized", &tt.err)
		}
	}
}
