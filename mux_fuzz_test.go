package wshub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wshub-go/wshub/wshubtest"
)

// seeds are small: the fuzzer spends its time on making large ones smaller.
var seeds = []string{
	``, ` `, `{`, `{}`, `null`, `"x"`, `[{"event":"a"}]`, `{"event":"echo"}`, `{"event":"echo","data":{"a":[1,"}"]}}`,
	`{"event":"echo","id":1e400}`, `{"event":"echo","id":"\ud800"}`, `{"event":"echo","event":"none"}`, `{"\u0065vent":"echo"}`,
	`{"event":"none","id":{}}`, `{"EVENT":"echo"}`, `{"event":"echo","topic":3}`, `{"event":"error"}`, `{"":"","event":"echo" , "data" :-0.1e+7 }`,
	`{"event":"typed","data":{"n":1.5}}`, `{"event":"typed","data":{"n":99999999999999999999}}`, "{\"event\":\"\xff\"}", `{"event":"echo"}}`,
	`{"event":"echo","data":[[[[{"x":[{"y":[]}]}]]]]}`, `{"id":"` + strings.Repeat(`\u0000`, 22) + `","event":"echo"}`,
}

// parsePacket takes for an envelope what encoding/json takes for one, and finds the same in it.
func FuzzParsePacket(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		p, err := parsePacket(text)
		if !bytes.Equal(text, before) {
			t.Fatal("the message was changed")
		}
		if err != nil && !errors.Is(err, ErrDecode) {
			t.Fatalf("error %v", err)
		}
		var all, model map[string]json.RawMessage
		var event, topic string
		if utf8.Valid(text) && json.Unmarshal(text, &all) == nil {
			model = make(map[string]json.RawMessage)
			for name, value := range all {
				model[strings.ToLower(name)] = value // of two that are one, either; then there is an error
			}
		}
		json.Unmarshal(model["event"], &event)
		if err != nil {
			if len(all) == len(model) && event != "" && p.event != event && bytes.Count(bytes.ToLower(text), []byte("event")) == 1 && !bytes.Contains(text, []byte(`\`)) {
				t.Fatalf("event %q, want %q", p.event, event)
			}
			return
		}
		if model["topic"] != nil {
			if err := json.Unmarshal(model["topic"], &topic); err != nil {
				t.Fatal(err)
			}
		}
		id := model["id"]
		if string(id) == "null" {
			id = nil
		}
		if p.event != event || p.topic != topic || !bytes.Equal(p.id, id) || !bytes.Equal(p.data, model["data"]) || len(p.id) > maxID {
			t.Fatalf("got %q %q %q %q, want %q %q %q %q", p.event, p.topic, p.id, p.data, event, topic, id, model["data"])
		}
	})
}

// Whatever a client says, it gets one answer, which is an envelope with its id, and the session lives.
func FuzzMux(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), true)
	}
	f.Add([]byte("x"), false)
	var m Mux
	Reply(&m, "echo", func(_ context.Context, _ *Session, v any) (any, error) { return v, nil })
	Reply(&m, "typed", func(_ context.Context, _ *Session, v struct{ N int }) (int, error) { return v.N, nil })
	h := newHub(f, WithReadLimit(1<<20))
	arrived := make(chan *Session, 1)
	c := wshubtest.Dial(f, h.Handler(func(ctx context.Context, s *Session) error {
		arrived <- s
		return Each(m.Message)(ctx, s)
	}))
	s := <-arrived
	f.Fuzz(func(t *testing.T, data []byte, text bool) {
		kind := KindBinary
		if text {
			kind = KindText
		}
		if err := m.Message(s.Context(), s, Message{Kind: kind, Data: data}); err != nil {
			t.Fatalf("the session closes: %v", err)
		}
		answer, _ := c.Next()
		var got struct {
			Event *string
			ID    json.RawMessage
			Data  *json.RawMessage
		}
		if err := json.Unmarshal(answer.Data, &got); err != nil || got.Event == nil || answer.Binary {
			t.Fatalf("answered %v: %v", answer, err)
		}
		if p, err := parsePacket(data); text && err == nil && !bytes.Equal(got.ID, p.id) {
			t.Fatalf("answered id %q, want %q", got.ID, p.id)
		}
	})
}

// BenchmarkMux is one message from the client's text to its answer in the mailbox.
func BenchmarkMux(b *testing.B) {
	var m Mux
	Reply(&m, "add", func(_ context.Context, _ *Session, v struct{ A, B int }) (int, error) { return v.A + v.B, nil })
	h := newHub(b)
	s := acceptOne(b, h)
	ctx := context.Background()
	msg := Text(`{"event":"add","id":17,"data":{"a":2,"b":3}}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Message(ctx, s, msg); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParsePacket is the message of the read limit's size that costs most to take apart.
func BenchmarkParsePacket(b *testing.B) {
	text := []byte(`{` + strings.Repeat(`"a":1,`, 87_000) + `"event":"x"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parsePacket(text); err != nil {
			b.Fatal(err)
		}
	}
}
