package scenario

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// discard is a child's input that nobody reads.
type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// child answers with text, whatever it is asked, and then ends or is silent.
func child(text string, silent bool) *Child {
	out, w := io.Pipe()
	done := make(chan struct{})
	go func() { // ends when the text has been read or out is closed
		defer close(done)
		_, _ = io.WriteString(w, text)
		if !silent {
			_ = w.Close()
		}
	}()
	return NewChild(discard{io.Discard}, out, func(bool) float64 {
		_ = out.Close()
		<-done
		return 1
	})
}

func TestChild(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		silent bool
		want   string // in the error
	}{
		"an answer": {`{"result":5}` + "\n", false, ""},
		"an error":  {`{"error":"no such thing"}` + "\n", false, "no such thing"},
		"garbage":   {"panic: oh\n", false, "invalid character"},
		"the end":   {"", false, "has ended"},
		"half":      {`{"res`, false, "unexpected EOF"},
		"silence":   {"", true, ErrLate.Error()},
		"no number": {`{"result":"x"}` + "\n", true, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := child(test.text, test.silent)
				var result int
				err := c.DoWithin(time.Second, "it", nil, &result)
				if test.want == "" && (err != nil || result != 5) {
					t.Errorf("%d, %v", result, err)
				}
				if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("%v instead of %q", err, test.want)
				}
				if late := errors.Is(err, ErrLate); late != test.silent && test.text == "" {
					t.Errorf("late: %v", err)
				}
				c.Close()
				if cpu := c.Kill(); cpu != 1 {
					t.Errorf("%v seconds of CPU", cpu)
				}
			})
		})
	}
}

// TestChildUnread checks that a child can be ended that has said more than anybody asked for.
func TestChildUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := child(strings.Repeat(`{"result":5}`+"\n", 100), false)
		synctest.Wait()
		c.Close()
	})
}
