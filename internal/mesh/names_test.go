package mesh

import (
	"strconv"
	"strings"
	"testing"
)

func TestPitfall33Token(t *testing.T) {
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
		if got := Token(in); got != want {
			t.Errorf("Token(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestPitfall33TokenInjective has all short names over an alphabet that could
// collide.
func TestPitfall33TokenInjective(t *testing.T) {
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
			token := Token(name)
			if other, taken := from[token]; taken {
				t.Fatalf("%q and %q are both %q", name, other, token)
			}
			from[token] = name
		}
		names = longer
	}
}

// readToken is the inverse that shows Token to be injective.
func readToken(token string) (string, bool) {
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

const safeInToken = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "room-7", "a_b.c", "_", "__", "_2E", "😀", "\xff", "a..b", "room.*", ">", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		token := Token(name)
		if strings.ContainsFunc(token, func(r rune) bool { return !strings.ContainsRune(safeInToken, r) }) {
			t.Fatalf("Token(%q) = %q is not safe", name, token)
		}
		if back, ok := readToken(token); !ok || back != name {
			t.Fatalf("Token(%q) = %q, read back as %q", name, token, back)
		}
		if n := TokenLen(name); n != len(token) {
			t.Fatalf("TokenLen(%q) = %d, want %d", name, n, len(token))
		}
	})
}
