package report

import (
	"errors"
	"fmt"
	"strings"
)

// The marks around the block of the README.
const (
	Begin = "<!-- bench -->"
	End   = "<!-- /bench -->"
)

// ErrNoBlock is wrapped by the error for a text without the marks.
var ErrNoBlock = errors.New("no lines " + Begin + " and " + End)

// Block returns what stands between the marks: the chart, and the table of what it shows.
func (r *Report) Block() string {
	return fmt.Sprintf("![wshub and its peers](bench/results/full.svg)\n\n%s\n%s [All figures](bench/results/full.md). %s\n",
		r.table(r.lines(inChart)), r.short(), legend)
}

// short is Where for those in a hurry.
func (r *Report) short() string {
	return fmt.Sprintf("%s, %d shared cores of %s, %s; `go -C bench run . -quick` shows yours.",
		r.Date, r.Machine.Cores, r.Machine.CPU, r.Machine.Go)
}

// Rewrite returns text with block between the marks.
func Rewrite(text, block string) (string, error) {
	before, rest, ok := strings.Cut(text, Begin+"\n")
	_, after, ok2 := strings.Cut(rest, End)
	if !ok || !ok2 {
		return "", ErrNoBlock
	}
	return before + Begin + "\n" + block + End + after, nil
}
