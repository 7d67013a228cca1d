package wshub

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Kind is the kind of a message. The zero Kind is none of them and is refused
// by whoever sends it.
type Kind uint8

// The kinds of RFC 6455, with its opcodes.
const (
	KindText   Kind = 1 // UTF-8 text
	KindBinary Kind = 2 // bytes
)

// String returns "text", "binary", or "kind(n)" for an invalid one.
func (k Kind) String() string {
	switch k {
	case KindText:
		return "text"
	case KindBinary:
		return "binary"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// A Message is one WebSocket message, received or to be sent. [Text],
// [Binary], [JSON] and [RawJSON] make one to send; setting the fields works
// too. The zero Message cannot be sent.
//
// Data of a received message belongs to the receiver, who may keep and change
// it. Data of a message to be sent is copied by the call that sends it: the
// caller may change it once the call has returned, but not before.
type Message struct {
	Kind Kind

	// Data is the payload. That of a text message is valid UTF-8 if it was
	// received, and checked to be when it is sent.
	Data []byte

	// Time is when a received message was complete. Senders ignore it.
	Time time.Time
}

// Text returns a text message. s is checked when the message is sent: text
// that is not valid UTF-8 fails with [ErrUTF8].
func Text(s string) Message {
	return Message{Kind: KindText, Data: []byte(s)}
}

// Binary returns a binary message of b. It does not copy b.
func Binary(b []byte) Message {
	return Message{Kind: KindBinary, Data: b}
}

// JSON returns a text message of v as encoding/json marshals it. The error is
// that of [json.Marshal], or matches [ErrUTF8] when a [json.Marshaler] or
// [json.RawMessage] in v brought in other bytes.
func JSON(v any) (Message, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Message{}, fmt.Errorf("wshub: encode message: %w", err)
	}
	if !utf8.Valid(data) {
		return Message{}, fmt.Errorf("wshub: encode message: %w", ErrUTF8)
	}
	return Message{Kind: KindText, Data: data}, nil
}

// RawJSON returns a text message of b, which is JSON already, for example out
// of a database. It does not copy b, and takes the caller's word for the
// syntax; like any text it is checked to be UTF-8 when it is sent. Use
// [json.Valid] first where b comes from elsewhere.
func RawJSON(b []byte) Message {
	return Message{Kind: KindText, Data: b}
}

// Text returns the data as a string, whatever the kind.
func (m Message) Text() string { return string(m.Data) }

// Decode unmarshals the data, JSON of either kind of message, into the value v
// points to. It accepts fields that v does not have. It refuses data after the
// value, and data that is not valid UTF-8, which [json.Unmarshal] would
// silently change. v may have been written in part when Decode fails.
//
// An error about the data matches [ErrDecode], and also [ErrUTF8] or the error
// of encoding/json. When a SessionFunc returns it the session is closed with
// code 1007 and nothing is logged. An error about v itself, which is the
// caller's, does not match ErrDecode.
func (m Message) Decode(v any) error {
	if !utf8.Valid(m.Data) {
		return fmt.Errorf("%w: %w", ErrDecode, ErrUTF8)
	}
	err := json.Unmarshal(m.Data, v)
	if err == nil {
		return nil
	}
	if invalid := (*json.InvalidUnmarshalError)(nil); errors.As(err, &invalid) {
		return fmt.Errorf("wshub: decode message: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrDecode, err)
}

// validate says whether m may be sent. Whoever sends asks it before anything
// is queued, so that a bad message is the sender's error and not the end of
// the connection.
func (m Message) validate() error {
	switch m.Kind {
	case KindBinary:
		return nil
	case KindText:
		if !utf8.Valid(m.Data) {
			return ErrUTF8
		}
		return nil
	}
	return fmt.Errorf("%w: %d", ErrKind, uint8(m.Kind))
}
