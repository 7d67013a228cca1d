package wshub

import (
	"errors"
	"strings"
	"testing"
)

func TestValidateName(t *testing.T) {
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"letter", "a", true},
		{"plain", "room-7", true},
		{"separators and wildcards", "a..b.*.>/:#+", true},
		{"space", " ", true},
		{"NUL", "\x00", true},
		{"emoji", "😀", true},
		{"255 letters", strings.Repeat("a", 255), true},
		{"127 underscores", strings.Repeat("_", 127), true},
		{"85 dots", strings.Repeat(".", 85), true},
		{"21 emoji", strings.Repeat("😀", 21), true},

		{"empty", "", false},
		{"256 letters", strings.Repeat("a", 256), false},
		{"128 underscores", strings.Repeat("_", 128), false},
		{"86 dots", strings.Repeat(".", 86), false},
		{"22 emoji", strings.Repeat("😀", 22), false},
		{"4 KB", strings.Repeat("x", 4096), false},
		{"not UTF-8", "a\xff", false},
		{"half a rune", "€"[:1], false},
		{"surrogate", "\xed\xa0\x80", false},
		{"overlong", "\xc0\x80", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := validateName(tt.in)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrName) {
				t.Fatalf("validateName = %v, want ok %t", err, tt.ok)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestValidateNameAllocs(t *testing.T) {
	name := strings.Repeat("room.", 20)
	if n := testing.AllocsPerRun(100, func() { _ = validateName(name) }); n != 0 {
		t.Errorf("validateName of a good name makes %v allocations", n)
	}
}
