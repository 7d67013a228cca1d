package wshub

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
)

// DecodingCodec is a [Codec] that can also read what it has written. In a cluster, see [WithBus], a topic with a codec
// needs one for its streams, its filters and those keys that do not travel with a value, see [KeyBy]: what another node
// has published arrives as a message. Without Decode its sessions get the messages as they are.
type DecodingCodec[T any] interface {
	Codec[T]
	// Decode returns the value of which Append, or AppendDelivery, of some node has made m. It is called at most once
	// for a value on each node, when a stream, a filter or a key needs it, by whatever goroutine comes to that; calls
	// overlap. The bytes of m are shared: they may be kept and must not be changed. A value with an error is left out
	// and counted, see [BusStats]. Do not trust m more than the bus, see [WithSigning].
	Decode(m Message) (T, error)
}

// decodeFunc returns what a message of another node says: a *T, for a topic of T. The bytes are shared.
type decodeFunc func(st *topicState, m Message) (any, error)

// farValue is a value of another node, as entries have it in place of a *T: decoded when somebody asks, and once.
type farValue struct {
	st  *topicState // nil: of everyone, where nobody asks
	msg Message     // immutable once the value is in a log

	once  sync.Once
	value any // a *T; nil when it cannot be decoded
}

// decoded returns the *T, or nil. The first call for a value that cannot be decoded counts it.
func (f *farValue) decoded() any {
	f.once.Do(func() {
		v, err := f.decode()
		if err != nil {
			f.st.refuse(err)
			return
		}
		f.value = v
	})
	return f.value
}

// decode runs the codec. A panic in it is about the bytes of another node, and ends nothing here.
func (f *farValue) decode() (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			f.st.hub.aside(f.st.hub.panicLine("topic callback", nil, p, debug.Stack()))
			err = panicError(p)
		}
	}()
	if f.st.def.decode == nil {
		return nil, ErrNoDecode
	}
	if v, err = f.st.def.decode(f.st, f.msg); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return v, nil
}

// key runs the topic's key function.
func (f *farValue) key() (key any, ok bool) {
	v := f.decoded()
	if v == nil {
		return nil, false
	}
	defer func() {
		if p := recover(); p != nil {
			f.st.hub.aside(f.st.hub.panicLine("topic callback", nil, p, debug.Stack()))
			f.st.refuse(panicError(p))
			ok = false
		}
	}()
	return f.st.def.key(v), true
}

// refuse counts and logs a value of another node that cannot be used.
func (st *topicState) refuse(err error) {
	h := st.hub
	h.counts.invalid.Add(1)
	h.aside(h.line("far value", slog.LevelWarn, "a value of another node cannot be used", "topic", st.name, "err", err))
}

// valueOf returns the value of an entry of a topic of T, or nil for one of another node that cannot be decoded.
func valueOf[T any](value any) *T {
	if v, ok := value.(*T); ok {
		return v
	}
	v, _ := value.(*farValue).decoded().(*T)
	return v
}

// decodes is the filter of streams in a cluster: what cannot be decoded counts as filtered.
func decodes[T any](value any) bool { return valueOf[T](value) != nil }

// decoderOf returns how values of T are decoded by default, and the only kind of their messages, 0 for either.
func decoderOf[T any]() (f decodeFunc, kind Kind) {
	switch any((*T)(nil)).(type) {
	case *string:
		return func(_ *topicState, m Message) (any, error) {
			s := string(m.Data)
			return &s, nil
		}, KindText
	case *[]byte:
		return func(_ *topicState, m Message) (any, error) { return &m.Data, nil }, KindBinary
	case *Message:
		return func(_ *topicState, m Message) (any, error) { return &m, nil }, 0
	}
	return func(_ *topicState, m Message) (any, error) {
		v := new(T)
		return v, m.Decode(v)
	}, KindText
}

func decodeWith[T any](c DecodingCodec[T]) decodeFunc {
	return func(_ *topicState, m Message) (any, error) {
		v, err := c.Decode(m)
		return &v, err
	}
}

// decodeEvent returns how values of T come out of the envelope of [AsEvent].
func decodeEvent[T any]() decodeFunc {
	return func(st *topicState, m Message) (any, error) {
		p, err := parsePacket(m.Data)
		switch {
		case err != nil:
			return nil, err
		case p.event != st.def.event || p.topic != st.name || p.data == nil:
			return nil, fmt.Errorf("%w: not an event of the topic", ErrDecode)
		}
		m.Data = p.data
		if any((*T)(nil)) == any((*Message)(nil)) {
			return &m, nil
		}
		v := new(T)
		return v, m.Decode(v)
	}
}
