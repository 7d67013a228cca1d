package wshub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Envelope is what a message of the [Mux]'s protocol says beside its data.
type Envelope struct {
	// Event names the handler. In a fallback it is the client's own text: do not make a label or a log key of it.
	Event string

	// Topic is the topic's full name in what [AsEvent] sends. A client's says whatever the client likes.
	Topic string

	// ID is the JSON string or number that the client wants its answer to have, nil when there is none. It must not be
	// changed.
	ID json.RawMessage
}

// EnvelopeFrom returns the envelope of the message that a [Mux] is handling with ctx: in its handlers, its fallback and
// the middleware of [Mux.Use]. It reports false elsewhere, and for a message that has none.
func EnvelopeFrom(ctx context.Context) (Envelope, bool) {
	c := routedFrom(ctx)
	if c == nil || !c.known {
		return Envelope{}, false
	}
	return c.env, true
}

// checkEvent says whether an event may be the program's own.
func checkEvent(event string) error {
	switch {
	case event == "":
		return errors.New("the event is empty")
	case event == errorEvent:
		return fmt.Errorf("the event %q is the hub's", event)
	case !utf8.ValidString(event):
		return fmt.Errorf("the event %q is no UTF-8", event)
	}
	return nil
}

// eventHead returns how the text of an event begins; an empty topic is left out.
func eventHead(event, topic string) string {
	head := `{"event":` + quote(event)
	if topic != "" {
		head += `,"topic":` + quote(topic)
	}
	return head
}

// quote returns s as a JSON string.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("wshub: a string does not encode: " + err.Error())
	}
	return string(b)
}

// event writes the text of an event that begins with head. v points to its data.
func (x *encoder) event(head string, id json.RawMessage, v any) error {
	x.buf.WriteString(head)
	if id != nil {
		x.buf.WriteString(`,"id":`)
		x.buf.Write(id)
	}
	x.buf.WriteString(`,"data":`)
	m, ok := v.(*Message)
	if !ok {
		if err := x.encode(v); err != nil {
			return err
		}
	} else if err := x.embed(*m); err != nil {
		return err
	}
	x.buf.WriteByte('}')
	return nil
}

// embed writes a message that is JSON already.
func (x *encoder) embed(m Message) error {
	if m.Kind != KindText {
		return fmt.Errorf("encode: %w: only text can be the data of an event, not %v", ErrKind, m.Kind)
	}
	if !json.Valid(m.Data) {
		err := json.Unmarshal(m.Data, new(json.RawMessage)) // says where
		return fmt.Errorf("encode: the message is not JSON: %w", err)
	}
	x.buf.Write(m.Data)
	return nil
}

// maxID is how many bytes of JSON an id may have: it is sent back.
const maxID = 128

// packet is a client's message, taken apart.
type packet struct {
	event string // "": no envelope
	topic string
	id    json.RawMessage
	data  json.RawMessage // nil: absent
}

// errNotEnvelope says that a text is no JSON object with an event.
var errNotEnvelope = fmt.Errorf("%w: not an envelope", ErrDecode)

// jsonMember is the value of a member of an envelope, as it came.
type jsonMember struct {
	raw   json.RawMessage // nil: absent
	twice bool
}

// UnmarshalJSON keeps a copy of raw. encoding/json calls it for each member of the name.
func (m *jsonMember) UnmarshalJSON(raw []byte) error {
	m.twice = m.twice || m.raw != nil
	m.raw = bytes.Clone(raw)
	return nil
}

// parsePacket takes an envelope apart. Names are compared as encoding/json does, without case, but none that counts may
// come twice, in whatever spelling, so that whoever looks at a message before or after the hub sees the same event.
// Other members are skipped. An error matches [ErrDecode]; p.event is set whenever the text is meant to be an envelope.
//
// Not with a json.Decoder's tokens, which tell case: half a megabyte of small members then took 120 ms and a million
// allocations in place of 6 ms and 8, see BenchmarkParsePacket.
func parsePacket(text []byte) (p packet, err error) {
	var of struct{ Event, Topic, ID, Data jsonMember }
	if !utf8.Valid(text) || json.Unmarshal(text, &of) != nil {
		return packet{}, errNotEnvelope
	}
	event, topic := of.Event.raw, of.Topic.raw
	p.id, p.data = of.ID.raw, of.Data.raw
	if p.event, _ = stringOf(event); p.event == "" {
		return packet{}, errNotEnvelope
	}
	if of.Event.twice || of.Topic.twice || of.ID.twice || of.Data.twice {
		p.id, p.data = nil, nil
		return p, fmt.Errorf("%w: a member of the envelope comes twice", ErrDecode)
	}
	if string(p.id) == "null" {
		p.id = nil
	}
	if p.id != nil && (len(p.id) > maxID || p.id[0] != '"' && p.id[0] != '-' && (p.id[0] < '0' || p.id[0] > '9')) {
		p.id = nil
		return p, fmt.Errorf("%w: the id is no string or number of at most %d bytes", ErrDecode, maxID)
	}
	if topic != nil && string(topic) != "null" {
		name, ok := stringOf(topic)
		if !ok {
			return p, fmt.Errorf("%w: the topic is no string", ErrDecode)
		}
		p.topic = name
	}
	return p, nil
}

// stringOf returns what a JSON string says, and whether raw is one.
func stringOf(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}
