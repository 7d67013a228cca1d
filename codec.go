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
// must not keep dst. In a cluster it should be a [DecodingCodec] too.
type Codec[T any] interface {
	// Append encodes v after dst and returns the extended slice and the kind of message it is. Text must be valid
	// UTF-8. An error fails the Publish, and nothing is published.
	Append(dst []byte, v T) ([]byte, Kind, error)
}

// encodeFunc puts the frame of e.Value, a value of st's, into e.
//
// A value of a topic of T travels as a *T, which Publish has made: it costs what boxing T would, and [ownerOf] can
// point it at bytes of our own.
type encodeFunc func(st *topicState, e *queue.Entry) error

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

// learn makes room for the next message of a codec, as large as its last: what Append has grown is the codec's.
func (x *encoder) learn(n int) {
	if n <= maxEncoder/2 {
		x.buf.Grow(n)
	}
}

// encoderOf returns how values of T are encoded by default.
func encoderOf[T any]() (f encodeFunc, binary bool) {
	switch any((*T)(nil)).(type) {
	case *string:
		return func(_ *topicState, e *queue.Entry) error { return frameText(e, *e.Value.(*string)) }, false
	case *[]byte:
		return func(_ *topicState, e *queue.Entry) error { return setFrame(e, KindBinary, *e.Value.(*[]byte)) }, true
	case *Message:
		return func(_ *topicState, e *queue.Entry) error {
			m := e.Value.(*Message)
			return setFrame(e, m.Kind, m.Data)
		}, false
	}
	return encodeJSON, false
}

func encodeWith[T any](c Codec[T]) encodeFunc {
	return func(_ *topicState, e *queue.Entry) error {
		x := encoders.Get().(*encoder)
		defer x.free()
		b, kind, err := c.Append(x.buf.AvailableBuffer(), *e.Value.(*T))
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		x.learn(len(b))
		return setFrame(e, kind, b)
	}
}

func encodeJSON(_ *topicState, e *queue.Entry) error {
	x := encoders.Get().(*encoder)
	defer x.free()
	if err := x.encode(e.Value); err != nil {
		return err
	}
	return setFrame(e, KindText, x.buf.Bytes())
}

// encodeEvent encodes values of topics that have [AsEvent].
func encodeEvent(st *topicState, e *queue.Entry) error {
	x := encoders.Get().(*encoder)
	defer x.free()
	if err := x.event(st.head, nil, e.Value); err != nil {
		return err
	}
	return setFrame(e, KindText, x.buf.Bytes())
}

// encode writes v's JSON.
func (x *encoder) encode(v any) error {
	if err := x.json.Encode(v); err != nil { // of v: an encoder keeps errors of writes alone, and a buffer has none
		return fmt.Errorf("encode: %w", err)
	}
	x.buf.Truncate(x.buf.Len() - len("\n"))
	return nil
}

func frameText(e *queue.Entry, s string) error {
	x := encoders.Get().(*encoder)
	defer x.free()
	x.buf.WriteString(s)
	return setFrame(e, KindText, x.buf.Bytes())
}

// setFrame makes the frame of e what a codec has made of its value. The bytes are copied.
func setFrame(e *queue.Entry, kind Kind, data []byte) error {
	if err := (Message{Kind: kind, Data: data}).fill(e); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return nil
}

// fill makes e an entry of m for the wire. The bytes are copied.
func (m Message) fill(e *queue.Entry) error {
	if err := m.validate(); err != nil {
		return err
	}
	e.Frame.Init(wire.Opcode(m.Kind), m.Data)
	e.Size = e.Frame.Len()
	return nil
}

// ownerOf returns what makes a value of T independent of the caller's bytes, once it was encoded or will not be: a
// filter or a stream may look at it after Publish has returned. Nil when T is not bytes.
func ownerOf[T any]() func(e *queue.Entry) {
	switch any((*T)(nil)).(type) {
	case *[]byte:
		return func(e *queue.Entry) {
			p := e.Value.(*[]byte)
			*p = ownBytes(e, *p)
		}
	case *Message:
		return func(e *queue.Entry) {
			m := e.Value.(*Message)
			m.Data = ownBytes(e, m.Data)
		}
	}
	return nil
}

// ownBytes returns the part of the frame's payload that is b, and a copy of b when there is none: a codec may have made
// something else of it. In an event it stands before the last byte.
func ownBytes(e *queue.Entry, b []byte) []byte {
	if e.Frame.IsZero() {
		return bytes.Clone(b)
	}
	p := e.Frame.Payload()
	for _, end := range [...]int{len(p), len(p) - 1} {
		if from := end - len(b); from >= 0 && bytes.Equal(p[from:end], b) {
			return p[from:end:end]
		}
	}
	return bytes.Clone(b)
}

// sizerOf returns what a value of T counts for in byte bounds when it has no frame: its bytes if it is nothing else,
// or the size of its own memory, without what it points to.
func sizerOf[T any]() func(value any) int {
	fixed := int(reflect.TypeFor[T]().Size())
	switch any((*T)(nil)).(type) {
	case *string:
		return func(v any) int { return fixed + len(*v.(*string)) }
	case *[]byte:
		return func(v any) int { return fixed + len(*v.(*[]byte)) }
	case *Message:
		return func(v any) int { return fixed + len(v.(*Message).Data) }
	}
	return func(any) int { return fixed }
}
