package wshub

import (
	"context"
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
	}
	return fmt.Errorf("%w: %w", ErrPendingFull, err) // the context's cause
}

// publishError says what a failed publish to a topic is.
func publishError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, queue.ErrKeys):
		return ErrTooManyKeys
	case errors.Is(err, queue.ErrBadKey):
		return fmt.Errorf("%w: %w", ErrKey, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrPendingFull, err)
	}
	return err
}

// joinError says what a failed join is.
func joinError(err error) error {
	switch {
	case errors.Is(err, fanout.ErrMember):
		return ErrAlreadyMember
	case errors.Is(err, fanout.ErrFull):
		return ErrTopicFull
	case errors.Is(err, fanout.ErrTooMany):
		return ErrTooManyTopics
	case errors.Is(err, fanout.ErrStopped):
		return ErrSessionClosed
	}
	return err
}
