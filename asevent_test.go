package wshub_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
)

func TestAsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		ss, cc := sessions(t, h, 1)
		rooms, err := wshub.NewFamily(h, "room", wshub.Policy{}, wshub.AsEvent[line](`say "<"`))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"go", `a"b/é`} {
			room, err := rooms.Topic(name)
			if err != nil {
				t.Fatal(err)
			}
			join(t, room, ss...)
			publish(t, room, line{name, "<hi>\n"})
			var got struct {
				Event, Topic string
				Data         line
			}
			m, _ := cc[0].Next()
			if err := json.Unmarshal(m.Data, &got); err != nil {
				t.Fatal(err)
			}
			if m.Binary || got.Event != `say "<"` || got.Topic != "room/"+name || got.Data != (line{name, "<hi>\n"}) {
				t.Errorf("%s: got %v, %+v", name, m, got)
			}
		}
		text := newTopic(t, h, "text", wshub.Policy{}, wshub.AsEvent[string]("t"))
		bytes := newTopic(t, h, "bytes", wshub.Policy{}, wshub.AsEvent[[]byte]("b"))
		messages := newTopic(t, h, "messages", wshub.Policy{}, wshub.AsEvent[wshub.Message]("m"))
		raw := newTopic(t, h, "raw", wshub.Policy{}, wshub.AsEvent[json.RawMessage]("r"))
		join(t, text, ss...)
		join(t, bytes, ss...)
		join(t, messages, ss...)
		join(t, raw, ss...)
		publish(t, text, "a\"b")
		publish(t, bytes, []byte{1, 2})
		publish(t, messages, wshub.Text("{ \"x\":\n1}"), wshub.Text("null"))
		publish(t, raw, json.RawMessage(`[1]`), nil)
		for _, want := range []string{
			`{"event":"t","topic":"text","data":"a\"b"}`,
			`{"event":"b","topic":"bytes","data":"AQI="}`,
			"{\"event\":\"m\",\"topic\":\"messages\",\"data\":{ \"x\":\n1}}",
			`{"event":"m","topic":"messages","data":null}`,
			`{"event":"r","topic":"raw","data":[1]}`,
			`{"event":"r","topic":"raw","data":null}`,
		} {
			cc[0].ExpectText(want)
		}
		syntax := new(json.SyntaxError)
		for name, ok := range map[string]bool{
			"binary":    errors.Is(messages.Publish(t.Context(), wshub.Binary([]byte("{}"))), wshub.ErrKind),
			"no kind":   errors.Is(messages.Publish(t.Context(), wshub.Message{Data: []byte("{}")}), wshub.ErrKind),
			"no JSON":   errors.As(messages.Publish(t.Context(), wshub.Text("{")), &syntax),
			"two JSONs": errors.As(messages.Publish(t.Context(), wshub.Text(`1,"data":2`)), &syntax),
			"empty":     errors.As(messages.Publish(t.Context(), wshub.Text("")), &syntax),
			"no UTF-8":  errors.Is(messages.Publish(t.Context(), wshub.Text("\"\xff\"")), wshub.ErrUTF8),
			"raw":       raw.Publish(t.Context(), json.RawMessage(`}`)) != nil,
		} {
			if !ok {
				t.Errorf("%s: another error, or none", name)
			}
		}
		cc[0].ExpectNothing()
	})
}

// Streams and filters see the value, not its envelope; bytes are the caller's again after Publish.
func TestAsEventOwnsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		ss, cc := sessions(t, h, 1)
		messages := newTopic(t, h, "messages", wshub.Policy{}, wshub.AsEvent[wshub.Message]("m"))
		bytes := newTopic(t, h, "bytes", wshub.Policy{}, wshub.AsEvent[[]byte]("b"))
		join(t, messages, ss...)
		join(t, bytes, ss...)
		m, b := messages.Stream(t.Context()), bytes.Stream(t.Context())
		data, value := []byte(`{"n":1}`), []byte{1, 2, 3}
		publish(t, messages, wshub.Message{Kind: wshub.KindText, Data: data})
		publish(t, bytes, value)
		copy(data, "xxxxxxx")
		clear(value)
		if got := (<-m).Text(); got != `{"n":1}` {
			t.Errorf("message %q", got)
		}
		if got := <-b; string(got) != "\x01\x02\x03" {
			t.Errorf("bytes %v", got)
		}
		cc[0].ExpectText(`{"event":"m","topic":"messages","data":{"n":1}}`)
		cc[0].ExpectText(`{"event":"b","topic":"bytes","data":"AQID"}`)
	})
}

func TestAsEventDefinition(t *testing.T) {
	h := newHub(t)
	codec, event := wshub.WithCodec[string](upperCodec{}), wshub.AsEvent[string]("say")
	for name, opts := range map[string][]wshub.TopicOption[string]{
		"codec first": {codec, event},
		"event first": {event, codec},
	} {
		_, err := wshub.NewTopic(h, "x", wshub.Policy{}, opts...)
		if err == nil || !strings.Contains(err.Error(), `AsEvent("say")`) || !strings.Contains(err.Error(), "WithCodec") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, event := range []string{"", "error", "\xff"} {
		if _, err := wshub.NewTopic(h, "x", wshub.Policy{}, wshub.AsEvent[string](event)); err == nil {
			t.Errorf("event %q is taken", event)
		}
	}
	// Text, so it may be packed; of two events the later counts.
	bytes := newTopic(t, h, "bytes", wshub.PackText("\n"), wshub.AsEvent[[]byte]("a"), wshub.AsEvent[[]byte]("b"))
	if err := bytes.Publish(context.Background(), nil); err != nil {
		t.Error(err)
	}
}
