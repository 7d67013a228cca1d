package cluster

import (
	"context"
	"errors"
	"fmt"
)

// Errors of a Bus. Those of a broker's client are wrapped beside them, so that both can be told with errors.Is.
var (
	// ErrClosed means that Close was called, or that the bus has given up for good.
	ErrClosed = errors.New("cluster: bus is closed")
	// ErrDown means that the broker cannot be reached now. The bus goes on trying.
	ErrDown = errors.New("cluster: bus is down")
	// ErrTooLarge means that one message is larger than the broker takes. It says nothing about the next one.
	ErrTooLarge = errors.New("cluster: message is too large for the bus")
	// ErrSubject means that a subject is empty, longer than MaxSubject, or has a byte other than A-Z a-z 0-9 _ - and ".",
	// or an empty token between dots.
	ErrSubject = errors.New("cluster: bad subject")
)

// MaxSubject is how long a subject may be, in bytes.
const MaxSubject = 512

// Message is what a bus carries.
type Message struct {
	Subject string
	Data    []byte
}

// Bus carries messages between the nodes of a cluster: from whoever publishes to those nodes that have subscribed to the
// subject. It may lose messages, most of all around the end of a connection, and need not say so. It must not change
// them, invent them, or swap two of one publisher on one subject.
//
// All methods may be called by any goroutine at any time, also after Close.
type Bus interface {
	// Publish sends messages in their order. It returns how many the bus has taken, and why it took no more: n is
	// len(m) exactly when err is nil, and m[n] is otherwise the one that was refused. An error that matches [ErrTooLarge]
	// or [ErrSubject] is about m[n] alone, and those behind it can be tried; any other is about the bus. Taken does not
	// mean received. While the broker cannot be reached Publish fails soon, with [ErrDown]; it does not save messages up
	// for later. The messages and their bytes are the caller's again when it returns.
	//
	// Whether a bus hears what it has itself published is its own matter; nodes skip it.
	Publish(ctx context.Context, m ...Message) (n int, err error)

	// Subscribe adds subjects to those the bus listens to. It returns nil once the broker has them all: what anybody
	// publishes from then on is received. Subjects that the bus listens to already are none to add. After an error, but
	// one that matches [ErrClosed] or [ErrSubject], the bus keeps trying by itself, as it does after each loss of its
	// connection, until Unsubscribe: the caller need not call again. With ErrSubject it has added none.
	Subscribe(ctx context.Context, subjects ...string) error

	// Unsubscribe takes subjects away; those that the bus does not listen to are none to take. Messages that were under
	// way may still be received.
	Unsubscribe(ctx context.Context, subjects ...string) error

	// Receive returns the channel of everything that is received, always the same. The bytes are the receiver's. Close
	// closes it. A reader that is too slow loses messages rather than the connection; how many, Status tells.
	Receive() <-chan Message

	// Status returns the channel on which the bus tells how it is, always the same: the state it is in when it is made,
	// and each change. It never waits for its reader: of states that were not read the last one stays, and what was lost
	// is added up. Close closes it, after [StateClosed].
	Status() <-chan Status

	// Close ends the bus: its connection, its goroutines, its channels. Calls that wait return. It may be called more
	// than once; the error is that of the first call.
	Close() error
}

// State is whether a bus can be used.
type State uint8

// The states of a bus.
const (
	StateDown   State = iota // no connection; the bus is trying
	StateUp                  // connected
	StateClosed              // for good
)

var stateNames = [...]string{StateDown: "down", StateUp: "up", StateClosed: "closed"}

// String returns the state's name in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", s)
}

// Status is what a bus tells about itself.
type Status struct {
	State State
	Err   error  // why, nil when there is nothing to say
	Lost  uint64 // messages that the bus knows it lost since the last Status that was read: for a slow reader, or as the broker's client says
}

// CheckSubject returns an error that matches [ErrSubject] unless every bus can carry the subject: tokens of A-Z a-z 0-9
// _ and -, with single dots between them, of [MaxSubject] bytes at most. A Bus checks with it what it is given.
func CheckSubject(subject string) error {
	if len(subject) > MaxSubject {
		return fmt.Errorf("%w: %q... has %d bytes, at most %d are allowed", ErrSubject, subject[:32], len(subject), MaxSubject)
	}
	token := 0
	for i := range len(subject) {
		switch c := subject[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			token++
		case c == '.' && token > 0:
			token = 0
		default:
			return fmt.Errorf("%w: %q", ErrSubject, subject)
		}
	}
	if token == 0 {
		return fmt.Errorf("%w: %q", ErrSubject, subject)
	}
	return nil
}
