package proto

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func TestPayload(t *testing.T) {
	for _, size := range []int{0, MinSize, 128, 1024} {
		p := Fill(size, "xyz")
		Set(p, 1, 0xabcdef01, 42, 1<<62+5)
		if len(p) != max(size, MinSize) || !json.Valid(p) {
			t.Errorf("size %d: %d bytes: %s", size, len(p), p)
		}
		w, k, n, at, ok := Parse(p[:Head])
		if !ok || w != 1 || k != 0xabcdef01 || n != 42 || at != 1<<62+5 {
			t.Errorf("got %d %#x %d %d %v", w, k, n, at, ok)
		}
		for i := range Head {
			if _, _, _, _, ok := Parse(p[:i]); ok {
				t.Errorf("%d bytes are a payload", i)
			}
		}
		p[atTime] = 'X'
		if _, _, _, _, ok := Parse(p); ok {
			t.Error("X is a digit")
		}
	}
}

func TestHex8(t *testing.T) {
	for at := range 8 {
		for c := range 256 {
			digits := []byte("5a5a5a5a")
			digits[at] = byte(c)
			want, err := strconv.ParseUint(string(digits), 16, 32)
			lower := err == nil && strings.ToLower(string(digits)) == string(digits)
			if v, ok := hex8(digits); ok != lower || ok && v != uint32(want) {
				t.Errorf("%q: got %#x, %v", digits, v, ok)
			}
		}
	}
	for _, v := range []uint32{0, 1, 0x09090909, 0x0a0a0a0a, 0xf0f0f0f0, 1<<32 - 1} {
		if got, ok := hex8(fmt.Appendf(nil, "%08x", v)); !ok || got != v {
			t.Errorf("%08x: got %08x, %v", v, got, ok)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	p := Fill(128, "x")
	Set(p, 3, 17, 0x9a0b1c, 0x1234abcd9876)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, _, ok := Parse(p[:Head]); !ok {
			b.Fatal("not parsed")
		}
	}
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}
