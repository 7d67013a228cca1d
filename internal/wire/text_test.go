package wire

import (
	"errors"
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// TestTextFailsFast checks that text is refused by the fragment that spoils it, while the rest of the message is to come.
func TestTextFailsFast(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		for _, fragments := range [][]string{
			{"\xff"},
			{"ok", "\xed\xa0"},
			{"\xf4", "\x90"},
			{repeat(5000) + "\xce", "\xce"},
		} {
			c, p := connect(t, kind, Options{}, "", "")
			own(t, c)
			op := OpText
			for _, f := range fragments {
				p.send(clientFrame(byte(op), f))
				op = OpContinuation
			}
			_, _, err := c.ReadMessage()
			if v := (*ProtocolError)(nil); !errors.As(err, &v) || v.Code != codeNotUTF8 {
				t.Errorf("%q: %v", fragments, err)
			}
			p.wantClose(codeNotUTF8)
		}
	})
}

// TestValidText compares with what can be appended: p is the beginning of text if something makes it valid.
func TestValidText(t *testing.T) {
	ends := []string{""}
	for at := 0; at < len(ends) && len(ends[at]) < 3; at++ {
		for _, b := range []byte{0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf} {
			ends = append(ends, ends[at]+string([]byte{b}))
		}
	}
	extensible := func(p []byte) bool {
		for _, e := range ends {
			if utf8.Valid(append(p[:len(p):len(p)], e...)) {
				return true
			}
		}
		return false
	}
	bytes := []byte{'a', 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff}
	r := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		var p []byte
		for range r.IntN(6) {
			if r.IntN(3) == 0 {
				p = append(p, bytes[r.IntN(len(bytes))])
			} else {
				p = utf8.AppendRune(p, []rune{'a', 'é', '€', 0x1f600}[r.IntN(4)])
			}
		}
		valid := 0
		for n := 0; ; n = min(n+1+r.IntN(4), len(p)) {
			whole := n == len(p)
			want := extensible(p[:n])
			if whole {
				want = utf8.Valid(p)
			}
			if got := validText(p[:n], &valid, whole); got != want {
				t.Fatalf("% x up to %d (whole: %t): %t", p, n, whole, got)
			}
			if !want || whole {
				break
			}
		}
	}
}
