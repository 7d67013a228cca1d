package cluster_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/cluster"
)

func TestCheckSubject(t *testing.T) {
	for subject, ok := range map[string]bool{
		"a": true, "a.b": true, "wshub.t.Az09_-": true, "-": true, "_._": true,
		strings.Repeat("a", cluster.MaxSubject): true, strings.Repeat("a", cluster.MaxSubject+1): false,
		"": false, ".": false, "a.": false, ".a": false, "a..b": false, "*": false, "a.>": false, "a b": false,
		"a\x00": false, "a\n": false, "\u00e9": false, "\xff": false, strings.Repeat("\xff", 1000): false,
	} {
		if err := cluster.CheckSubject(subject); (err == nil) != ok || err != nil && !errors.Is(err, cluster.ErrSubject) {
			t.Errorf("%.40q: %v", subject, err)
		}
	}
}

// What passes is what the words say, and what does not is an ErrSubject of printable text and bounded length.
func FuzzCheckSubject(f *testing.F) {
	for _, s := range []string{"", "a", "a.b", "a..b", ".a", "a.", "a*", "\x00", "é", strings.Repeat("a.", 300)} {
		f.Add(s)
	}
	words := regexp.MustCompile(`\A[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\z`)
	f.Fuzz(func(t *testing.T, s string) {
		err := cluster.CheckSubject(s)
		if want := words.MatchString(s) && len(s) <= cluster.MaxSubject; (err == nil) != want {
			t.Fatalf("%q: %v", s, err)
		}
		if err == nil {
			return
		}
		if !errors.Is(err, cluster.ErrSubject) {
			t.Errorf("%q: %v is no ErrSubject", s, err)
		}
		if text := err.Error(); len(text) > 4*cluster.MaxSubject+100 || strings.ContainsAny(text, "\x00\n\r") {
			t.Errorf("%q: the error is %q", s, text)
		}
	})
}

func TestStateString(t *testing.T) {
	for state, want := range map[cluster.State]string{
		cluster.StateDown: "down", cluster.StateUp: "up", cluster.StateClosed: "closed", 7: "state 7",
	} {
		if got := state.String(); got != want {
			t.Errorf("state %d is %q, want %q", uint8(state), got, want)
		}
	}
}
