package wshub

import (
	"errors"
	"fmt"
	"os"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/queue"
	"github.com/wshub-go/wshub/internal/wire"
)

// This file says what failures of the layers below are in the words of this package.

// badCode is the error of a close code that must not be sent.
func badCode(code StatusCode) error {
	return fmt.Errorf("wshub: close code %v must not be sent", code)
}

// slowError is the cause of a session that a policy gave up because of a topic; "" is everyone.
func slowError(topic string) error {
	if topic == "" {
		return ErrSlow
	}
	return fmt.Errorf("topic %q: %w", topic, ErrSlow)
}

// writeError is the cause of a session that could not be written to.
func writeError(err error) error {
	if errors.Is(err, fanout.ErrWriteTimeout) {
		return fmt.Errorf("%w: %w", ErrWriteTimeout, err)
	}
	return fmt.Errorf("wshub: connection lost: %w", err)
}

// protocolError is the cause of a session whose client broke the protocol.
func protocolError(broken *wire.ProtocolError) error {
	cause := error(broken)
	switch StatusCode(broken.Code) {
	case StatusMessageTooBig:
		cause = fmt.Errorf("%w: %w", ErrTooBig, broken)
	case StatusInvalidFramePayloadData:
		cause = fmt.Errorf("%w: %w", ErrUTF8, broken)
	}
	if errors.Is(broken, os.ErrDeadlineExceeded) {
		cause = fmt.Errorf("%w: %w", ErrMessageTimeout, broken)
	}
	return &CloseError{Code: StatusCode(broken.Code), Reason: broken.Reason, Err: cause}
}

// sendError says what a failed direct message or publish to everyone is.
func sendError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fanout.ErrStopped):
		return ErrSessionClosed
	case errors.Is(err, fanout.ErrRetired):
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrPendingFull, err) // the context's cause
}

// fill makes e an entry of m for the wire. The bytes are copied.
func (m Message) fill(e *queue.Entry) error {
	if err := m.validate(); err != nil {
		return err
	}
	op := wire.OpBinary
	if m.Kind == KindText {
		op = wire.OpText
	}
	e.Frame.Init(op, m.Data)
	e.Size = e.Frame.Len()
	return nil
}
