package wshub

import (
	"errors"
	"strconv"
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

func TestEncodeName(t *testing.T) {
	for in, want := range map[string]string{
		"":        "",
		"room-7":  "room-7",
		"a_b":     "a__b",
		"a.b":     "a_2Eb",
		"a__2Eb":  "a____2Eb",
		"_2E":     "__2E",
		"*":       "_2A",
		"é":       "_C3_A9",
		"\x00\n ": "_00_0A_20",
	} {
		if got := encodeName(in); got != want {
			t.Errorf("encodeName(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestEncodeNameInjective has all short names over an alphabet that could
// collide.
func TestEncodeNameInjective(t *testing.T) {
	alphabet := []string{"_", "2", "E", "e", ".", "-"}
	names := []string{""}
	from := make(map[string]string)
	for range 5 {
		var longer []string
		for _, name := range names {
			for _, c := range alphabet {
				longer = append(longer, name+c)
			}
		}
		for _, name := range longer {
			token := encodeName(name)
			if other, taken := from[token]; taken {
				t.Fatalf("%q and %q are both %q", name, other, token)
			}
			from[token] = name
		}
		names = longer
	}
}

func TestEncodeNameAllocs(t *testing.T) {
	name := strings.Repeat("room.", 20)
	if n := testing.AllocsPerRun(100, func() { _ = validateName(name) }); n != 0 {
		t.Errorf("validateName of a good name makes %v allocations", n)
	}
}

// decodeName is the inverse that shows encodeName to be injective.
func decodeName(token string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		switch {
		case token[i] != '_':
			b.WriteByte(token[i])
		case strings.HasPrefix(token[i:], "__"):
			b.WriteByte('_')
			i++
		case len(token) < i+3:
			return "", false
		default:
			c, err := strconv.ParseUint(token[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(c))
			i += 2
		}
	}
	return b.String(), true
}

const safeInName = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

func FuzzEncodeName(f *testing.F) {
	for _, s := range []string{"", "room-7", "a_b.c", "_", "__", "_2E", "😀", "\xff", "a..b", "room.*", ">", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		token := encodeName(name)
		if strings.ContainsFunc(token, func(r rune) bool { return !strings.ContainsRune(safeInName, r) }) {
			t.Fatalf("encodeName(%q) = %q is not safe", name, token)
		}
		if back, ok := decodeName(token); !ok || back != name {
			t.Fatalf("encodeName(%q) = %q, read back as %q", name, token, back)
		}
		if n := encodedLen(name); n != len(token) {
			t.Fatalf("encodedLen(%q) = %d, want %d", name, n, len(token))
		}
		if err := validateName(name); err == nil && (name == "" || len(token) > maxName) {
			t.Fatalf("validateName(%q) = nil, encoded %d bytes", name, len(token))
		}
	})
}
