package wshub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub/wshubtest"
)

func TestSessionFuncResult(t *testing.T) {
	broken := errors.New("database on fire")
	for _, test := range []struct {
		name   string
		result error
		code   int
		reason string
		err    error // of Session.Err
		logged bool
	}{
		{"nil", nil, 1000, "", nil, false},
		{"close error", &CloseError{Code: 4001, Reason: "bye"}, 4001, "bye", &CloseError{Code: 4001}, false},
		{"normal close error", &CloseError{Code: StatusGoingAway}, 1001, "", nil, false},
		{"decode", Message{Kind: KindText, Data: []byte("{")}.Decode(new(int)), 1007, "invalid message data", ErrDecode, false},
		{"limit", ErrTooManyTopics, 1008, "too many topics", ErrTooManyTopics, false},
		{"refusal", ErrUnauthorized, 1008, "not authorized", ErrUnauthorized, false},
		{"slow", ErrSlow, 1013, "too slow", ErrSlow, false},
		{"closed", ErrClosed, 1001, "going away", nil, false},
		{"anything else", broken, 1011, "internal error", broken, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				var log record
				h := newHub(t, WithLogger(log.logger()))
				c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
					<-s.Messages()
					return test.result
				}))
				s := only(t, h)
				if s.Err() != nil {
					t.Errorf("open session's Err is %v", s.Err())
				}
				c.SendText("go")
				if reason := c.ExpectClose(test.code); reason != test.reason {
					t.Errorf("reason %q, want %q", reason, test.reason)
				}
				<-s.Done()
				if err := s.Err(); !errors.Is(err, test.err) {
					t.Errorf("Err is %v, want %v", err, test.err)
				}
				if got := strings.Contains(log.String(), "database on fire"); got != test.logged {
					t.Errorf("logged: %v, want %v\n%s", got, test.logged, &log)
				}
				if at, ended := s.Ended(); !ended || at.IsZero() {
					t.Errorf("Ended: %v, %v", at, ended)
				}
			})
		})
	}
}

func TestPanicCloses1011(t *testing.T) {
	in(t, func(t *testing.T) {
		var log record
		h := newHub(t, WithLogger(log.logger()))
		cause := errors.New("nil map")
		c := wshubtest.Dial(t, h.Handler(func(context.Context, *Session) error { panic(cause) }))
		c.ExpectClose(1011)
		synctest.Wait()
		if got := log.String(); !strings.Contains(got, "nil map") || !strings.Contains(got, "result_test.go") {
			t.Errorf("the log has no stack:\n%s", got)
		}
		// The process lives, and so does the hub.
		c = wshubtest.Dial(t, h.Handler(idle))
		s := only(t, h)
		c.Close(1000, "")
		<-s.Done()
	})
}

// A panic is the server's fault, whatever its value says when it is returned.
func TestPanicWithAnErrorOfOurs(t *testing.T) {
	for name, value := range map[string]error{
		"close error": &CloseError{Code: 4000, Reason: "secret"},
		"refusal":     &RejectError{Status: 403, Reason: "secret"},
		"not found":   fmt.Errorf("load: %w", ErrNotFound),
		"closed":      ErrClosed,
		"session":     ErrSessionClosed,
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t, WithLogger(nil))
				events := h.Events(t.Context(), Policy{})
				c := wshubtest.Dial(t, h.Handler(func(context.Context, *Session) error { panic(value) }))
				c.ExpectClose(1011)
				if got := taken(events, EventError); len(got) != 1 || !errors.Is(got[0].Cause, ErrPanic) {
					t.Errorf("events %v", got)
				}
			})
		})
	}
}

func TestGoexitCloses1011(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t)
		c := wshubtest.Dial(t, h.Handler(func(context.Context, *Session) error {
			new(testing.T).SkipNow()
			return nil
		}))
		c.ExpectClose(1011)
	})
}
