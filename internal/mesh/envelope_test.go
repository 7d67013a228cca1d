package mesh

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"
)

func TestEnvelope(t *testing.T) {
	tests := map[string]envelope{
		"least":     {kind: kindValue, origin: 1, payload: []byte{}},
		"value":     {kind: kindValue, origin: 77, time: 1234, epoch: 3, number: 300, payload: []byte("hello")},
		"key":       {kind: kindValue, origin: 77, key: []byte("k"), payload: []byte("hello")},
		"empty key": {kind: kindValue, origin: 77, key: []byte{}, payload: []byte("hello")},
		"control":   {kind: 255, origin: 77, time: -1, binary: true, payload: []byte("hello")},
		"most": {
			kind: kindSend, binary: true, origin: math.MaxUint64, time: math.MaxInt64, epoch: math.MaxUint64, number: math.MaxUint64,
			key: bytes.Repeat([]byte("k"), MaxKey), payload: make([]byte, 100),
		},
	}
	for name, e := range tests {
		t.Run(name, func(t *testing.T) {
			data := e.append(nil)
			if len(data) != e.size() || len(data) > len(e.payload)+64 {
				t.Errorf("%d bytes for %d, size says %d", len(data), len(e.payload), e.size())
			}
			var got envelope
			if err := got.parse(data); err != nil || !reflect.DeepEqual(got, e) {
				t.Errorf("%v\n%+v\n%+v", err, got, e)
			}
			for n := range len(data) - len(e.payload) {
				if err := got.parse(data[:n]); !errors.Is(err, ErrMalformed) {
					t.Errorf("the first %d bytes: %v", n, err)
				}
			}
		})
	}
}

func TestPitfall32EnvelopeRefused(t *testing.T) {
	good := envelope{kind: kindValue, origin: 7, epoch: 1, number: 1, key: []byte("key"), payload: []byte("hello")}
	tests := []struct {
		name string
		want error
		f    func(b []byte) []byte
	}{
		{"empty", ErrMalformed, func([]byte) []byte { return nil }},
		{"text", ErrMalformed, func([]byte) []byte { return []byte(`{"type":"hello","from":"another program"}`) }},
		{"magic", ErrMalformed, func(b []byte) []byte { b[0]++; return b }},
		{"version", ErrVersion, func(b []byte) []byte { b[1]++; return b }},
		{"version and nothing else", ErrVersion, func(b []byte) []byte { return []byte{magic, version + 1} }},
		{"kind 0", ErrMalformed, func(b []byte) []byte { b[2] = 0; return b }},
		{"kind of later", ErrVersion, func(b []byte) []byte { b[2] = byte(firstControl) - 1; return b }},
		{"flag of later", ErrVersion, func(b []byte) []byte { b[3] |= 0x80; return b }},
		{"origin 0", ErrMalformed, func(b []byte) []byte { clear(b[4:12]); return b }},
		{"header alone", ErrMalformed, func(b []byte) []byte { return b[:fixedBytes] }},
		{"no room for a signature", ErrMalformed, func(b []byte) []byte {
			b[3] |= flagSigned
			return append(b[:fixedBytes], make([]byte, trailerBytes-1)...)
		}},
		{"signature alone", ErrMalformed, func(b []byte) []byte {
			b[3] |= flagSigned
			return append(b[:fixedBytes], make([]byte, trailerBytes)...)
		}},
		{"endless number", ErrMalformed, func(b []byte) []byte { return append(b[:fixedBytes], bytes.Repeat([]byte{0xFF}, 30)...) }},
		{"number of 65 bits", ErrMalformed, func(b []byte) []byte {
			return append(b[:fixedBytes], 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 1)
		}},
		{"number that is longer than it must", ErrMalformed, func(b []byte) []byte { return append(b[:fixedBytes], 0x81, 0, 1, 0) }},
		{"key longer than allowed", ErrMalformed, func(b []byte) []byte {
			b[fixedBytes+2] = MaxKey + 1
			return append(b, make([]byte, 100)...)
		}},
		{"key longer than the rest", ErrMalformed, func(b []byte) []byte { return b[:fixedBytes+3+2] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var e envelope
			if err := e.parse(tt.f(good.append(nil))); !errors.Is(err, tt.want) {
				t.Errorf("parse = %v, want %v", err, tt.want)
			}
		})
	}
}

// FuzzEnvelope: what is taken is what append makes of it, and shares its bytes; anything else is an error and nothing worse.
func FuzzEnvelope(f *testing.F) {
	for _, e := range []envelope{
		{kind: kindValue, origin: 1, epoch: 5, number: 300, key: []byte("key"), payload: []byte("payload")},
		{kind: 40, origin: math.MaxUint64, time: -1, binary: true},
	} {
		f.Add(e.append(nil))
		var s signer
		s.init([][]byte{[]byte("0123456789abcdef")})
		f.Add(s.sign("wshub.all", e.append(nil)))
	}
	f.Add([]byte{magic, version})
	f.Fuzz(func(t *testing.T, data []byte) {
		var e envelope
		if err := e.parse(data); err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		again := e.append(nil)
		if e.signed {
			again[3] |= flagSigned
			again = binary.BigEndian.AppendUint64(again, e.sequence)
			data = data[:len(data)-macBytes]
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%x is taken and made again as %x", data, again)
		}
		if len(e.key) > MaxKey || e.size() > len(e.payload)+64 {
			t.Fatalf("%+v", e)
		}
	})
}

func TestEnvelopeAllocs(t *testing.T) {
	e := envelope{kind: kindValue, origin: 1, epoch: 5, number: 300, key: []byte("key"), payload: make([]byte, 1000)}
	data := e.append(nil)
	buf := make([]byte, 0, len(data))
	if n := testing.AllocsPerRun(100, func() {
		_ = e.parse(data)
		_ = e.append(buf)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
