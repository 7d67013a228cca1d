package proto

import (
	"encoding/json"
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
