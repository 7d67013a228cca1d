package wshub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	"github.com/wshub-go/wshub/internal/queue"
	"github.com/wshub-go/wshub/internal/wire"
)

// Codec turns the values of a topic into messages. Without one a string is sent as text, a []byte as binary, a
// [Message] as itself, and anything else as JSON text.
//
// A codec is called by Publish, in the publisher's goroutine, once per value whatever the audience; calls overlap. It
// must not keep dst.
type Codec[T any] interface {
	// Append encodes v after dst and returns the extended slice and the kind of message it is. Text must be valid
	// UTF-8. An error fails the Publish, and nothing is published.
	Append(dst []byte, v T) ([]byte, Kind, error)
}

// encodeFunc puts the frame of a value into an entry.
type encodeFunc func(e *queue.Entry, value any) error

// encoder is a JSON encoder and its buffer, reused.
type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder
}

// encoders keeps buffers between publishes; a pool is emptied by the garbage collector, so it keeps no peak.
var encoders = sync.Pool{New: func() any {
	x := new(encoder)
	x.json = json.NewEncoder(&x.buf)
	return x
}}

// maxEncoder is the capacity up to which a buffer is kept.
const maxEncoder = 64 << 10

func (x *encoder) free() {
	if x.buf.Cap() <= maxEncoder {
		x.buf.Reset()
		encoders.Put(x)
	}
}

// encoderOf returns how values of T are encoded by default.
func encoderOf[T any]() (f encodeFunc, binary bool) {
	switch any((*T)(nil)).(type) {
	case *string:
		return func(e *queue.Entry, v any) error { return frameText(e, v.(string)) }, false
	case *[]byte:
		return func(e *queue.Entry, v any) error { return setFrame(e, KindBinary, v.([]byte)) }, true
	case *Message:
		return func(e *queue.Entry, v any) error {
			m := v.(Message)
			return setFrame(e, m.Kind, m.Data)
		}, false
	}
	return encodeJSON, false
}

func encodeWith[T any](c Codec[T]) encodeFunc {
	return func(e *queue.Entry, v any) error {
		x := encoders.Get().(*encoder)
		defer x.free()
		value, _ := v.(T) // a nil value of an interface type is no T
		b, kind, err := c.Append(x.buf.AvailableBuffer(), value)
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		return setFrame(e, kind, b)
	}
}

func encodeJSON(e *queue.Entry, v any) error {
	x := encoders.Get().(*encoder)
	defer x.free()
	if err := x.json.Encode(v); err != nil {
		x.json = json.NewEncoder(&x.buf) // an encoder keeps the error of a failed write
		return fmt.Errorf("encode: %w", err)
	}
	return setFrame(e, KindText, bytes.TrimSuffix(x.buf.Bytes(), []byte{'\n'}))
}

func frameText(e *queue.Entry, s string) error {
	x := encoders.Get().(*encoder)
	defer x.free()
	x.buf.WriteString(s)
	return setFrame(e, KindText, x.buf.Bytes())
}

// setFrame copies data into e's frame.
func setFrame(e *queue.Entry, kind Kind, data []byte) error {
	if err := (Message{Kind: kind, Data: data}).validate(); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	e.Frame.Init(wire.Opcode(kind), data)
	e.Size = e.Frame.Len()
	return nil
}

// sizerOf returns what a value of T counts for in byte bounds when it has no frame: its bytes if it is nothing else,
// or the size of its own memory, without what it points to.
func sizerOf[T any]() func(any) int {
	fixed := int(reflect.TypeFor[T]().Size())
	switch any((*T)(nil)).(type) {
	case *string:
		return func(v any) int { return fixed + len(v.(string)) }
	case *[]byte:
		return func(v any) int { return fixed + len(v.([]byte)) }
	case *Message:
		return func(v any) int { return fixed + len(v.(Message).Data) }
	}
	return func(any) int { return fixed }
}
