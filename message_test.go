package wshub

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestMessageConstructors(t *testing.T) {
	object, err := JSON(map[string]int{"n": 1})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		m    Message
		kind Kind
		text string
	}{
		{"Text", Text("hé"), KindText, "hé"},
		{"Text of nothing", Text(""), KindText, ""},
		{"Binary", Binary([]byte{0xff, 0}), KindBinary, "\xff\x00"},
		{"Binary of nil", Binary(nil), KindBinary, ""},
		{"JSON", object, KindText, `{"n":1}`},
		{"RawJSON", RawJSON([]byte(`[1]`)), KindText, `[1]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.m.Kind != tt.kind || tt.m.Text() != tt.text || !tt.m.Time.IsZero() {
				t.Errorf("message is %+v", tt.m)
			}
			if err := tt.m.validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestJSONErrors(t *testing.T) {
	var unsupported *json.UnsupportedValueError
	if m, err := JSON(math.NaN()); !errors.As(err, &unsupported) || m.Kind != 0 {
		t.Errorf("JSON(NaN) = %v, %v", m, err)
	}
	if m, err := JSON(json.RawMessage("\"\xff\"")); !errors.Is(err, ErrUTF8) || m.Kind != 0 {
		t.Errorf("JSON of bytes that are not UTF-8 = %v, %v", m, err)
	}
	if errors.Is(func() error { _, err := JSON(make(chan int)); return err }(), ErrDecode) {
		t.Error("an error of encoding matches ErrDecode")
	}
}

func TestMessageValidate(t *testing.T) {
	tests := []struct {
		name string
		m    Message
		want error
	}{
		{"zero", Message{}, ErrKind},
		{"close frame", Message{Kind: 8}, ErrKind},
		{"unknown", Message{Kind: 255, Data: []byte("x")}, ErrKind},
		{"not UTF-8", Text("a\xc0\x80"), ErrUTF8},
		{"half a rune", Text("€"[:2]), ErrUTF8},
		{"surrogate", Text("\xed\xa0\x80"), ErrUTF8},
		{"raw JSON that is not UTF-8", RawJSON([]byte{'"', 0xff, '"'}), ErrUTF8},
		{"binary is anything", Binary([]byte{0xff}), nil},
		{"text with NUL", Text("a\x00b"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.m.validate(); !errors.Is(err, tt.want) {
				t.Errorf("validate() = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestMessageDecode(t *testing.T) {
	type chat struct {
		Room string
		N    int
	}
	tests := []struct {
		name string
		m    Message
		want chat
		err  error
		text string // in the error
	}{
		{name: "object", m: Text(`{"room":"go","n":2}`), want: chat{"go", 2}},
		{name: "binary message", m: Binary([]byte(`{"room":"go"}`)), want: chat{Room: "go"}},
		{name: "unknown fields", m: Text(`{"room":"go","extra":{"a":[1]}}`), want: chat{Room: "go"}},
		{name: "space around", m: Text(" \n{\"n\":1}\t\r\n"), want: chat{N: 1}},
		{name: "null", m: Text(`null`)},
		{name: "empty", m: Text(``), err: ErrDecode, text: "unexpected end"},
		{name: "cut off", m: Text(`{"room":"go"`), err: ErrDecode, text: "unexpected end"},
		{name: "trailing value", m: Text(`{"n":1}{"n":2}`), err: ErrDecode, text: "after top-level value"},
		{name: "trailing garbage", m: Text(`{"n":1} x`), err: ErrDecode, text: "after top-level value"},
		{name: "trailing NUL", m: Text("{\"n\":1}\x00"), err: ErrDecode, text: "after top-level value"},
		{name: "wrong type", m: Text(`{"n":"one"}`), err: ErrDecode, text: "cannot unmarshal"},
		{name: "out of range", m: Text(`{"n":1e400}`), err: ErrDecode, text: "cannot unmarshal"},
		{name: "not UTF-8 in a string", m: Text("{\"room\":\"\xff\"}"), err: ErrUTF8, text: "cannot decode"},
		{name: "not UTF-8 in an unknown field", m: Binary([]byte("{\"x\":\"\xff\"}")), err: ErrUTF8, text: "cannot decode"},
		{name: "too deep", m: Text(strings.Repeat("[", 20000)), err: ErrDecode, text: "max depth"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got chat
			err := tt.m.Decode(&got)
			if tt.err == nil {
				if err != nil || got != tt.want {
					t.Errorf("Decode = %+v, %v; want %+v", got, err, tt.want)
				}
				return
			}
			if !errors.Is(err, tt.err) || !errors.Is(err, ErrDecode) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Decode = %v, want %v with %q", err, tt.err, tt.text)
			}
		})
	}
}

func TestMessageDecodeTarget(t *testing.T) {
	for _, v := range []any{nil, 0, (*int)(nil)} {
		var invalid *json.InvalidUnmarshalError
		if err := Text(`1`).Decode(v); !errors.As(err, &invalid) || errors.Is(err, ErrDecode) {
			t.Errorf("Decode(%#v) = %v", v, err)
		}
	}
	// The JSON of a syntax error is still there to look at.
	var syntax *json.SyntaxError
	if err := Text(`{`).Decode(new(any)); !errors.As(err, &syntax) {
		t.Errorf("Decode = %v", err)
	}
}

func TestKindString(t *testing.T) {
	for k, want := range map[Kind]string{KindText: "text", KindBinary: "binary", 0: "kind(0)", 9: "kind(9)"} {
		if got := k.String(); got != want {
			t.Errorf("Kind(%d).String() = %q, want %q", uint8(k), got, want)
		}
	}
}
