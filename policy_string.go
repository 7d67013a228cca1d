package wshub

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// part is one of the independent parts of a Policy, in the order they print.
type part int

const (
	partOverflow part = iota
	partBytes
	partConflation
	partRate
	partRateBytes
	partFlush
	partPack
	partHistory
	partReplay
	partBus
	numParts
)

func (x part) String() string {
	return [numParts]string{
		"overflow", "bytes", "conflation", "rate", "byte rate", "interval", "framing", "history", "replay", "cluster",
	}[x]
}

// has reports whether part x is set.
func (p Policy) has(x part) bool {
	switch x {
	case partOverflow:
		return p.overflow != 0
	case partBytes:
		return p.maxBytesSet
	case partConflation:
		return p.conflateSet
	case partRate:
		return p.rateSet
	case partRateBytes:
		return p.rateBytesSet
	case partFlush:
		return p.flushSet
	case partPack:
		return p.packSet
	case partHistory:
		return p.historySet
	case partReplay:
		return p.replaySet
	case partBus:
		return p.requireBus
	}
	return false
}

// only returns the policy that sets part x as p does, and nothing else.
func (p Policy) only(x part) Policy {
	if !p.has(x) {
		return Policy{}
	}
	switch x {
	case partOverflow:
		return Policy{overflow: p.overflow, n: p.n, age: p.age}
	case partBytes:
		return MaxBytes(p.maxBytes)
	case partConflation:
		return Policy{conflateSet: true, conflate: p.conflate}
	case partRate:
		return Rate(p.rate, p.burst)
	case partRateBytes:
		return RateBytes(p.rateBytes, p.burstBytes)
	case partFlush:
		return FlushEvery(p.flush)
	case partPack:
		return PackText(p.pack)
	case partHistory:
		return History(p.history, p.historyAge)
	case partReplay:
		return Replay(p.replay)
	case partBus:
		return RequireBus()
	}
	return Policy{}
}

// String returns the parts that are set in a fixed order, each written as its
// constructor in lower case, with durations as [time.Duration] prints them and
// the separator quoted as in Go:
//
//	evict(1024,250ms) maxbytes(1048576) coalesce rate(20,1) packtext("\n")
//
// The zero Policy is "". [ParsePolicy] reads it back; policies print alike
// when, and only when, they are equal.
func (p Policy) String() string {
	var b strings.Builder
	for x := range numParts {
		if !p.has(x) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p.describe(x))
	}
	return b.String()
}

// describe is the text of part x, "" when it is not set.
func (p Policy) describe(x part) string {
	if !p.has(x) {
		return ""
	}
	switch x {
	case partOverflow:
		switch p.overflow {
		case overflowEvict:
			return fmt.Sprintf("evict(%d,%s)", p.n, p.age)
		case overflowDropOldest:
			return fmt.Sprintf("dropoldest(%d)", p.n)
		case overflowDropNewest:
			return fmt.Sprintf("dropnewest(%d)", p.n)
		case overflowBlock:
			return fmt.Sprintf("block(%d,%s)", p.n, p.age)
		}
	case partBytes:
		return fmt.Sprintf("maxbytes(%d)", p.maxBytes)
	case partConflation:
		if p.conflate {
			return "coalesce"
		}
		return "keepall"
	case partRate:
		return fmt.Sprintf("rate(%s,%d)", formatLimit(p.rate), p.burst)
	case partRateBytes:
		return fmt.Sprintf("ratebytes(%s,%d)", formatLimit(p.rateBytes), p.burstBytes)
	case partFlush:
		return fmt.Sprintf("flushevery(%s)", p.flush)
	case partPack:
		return fmt.Sprintf("packtext(%s)", strconv.Quote(p.pack))
	case partHistory:
		return fmt.Sprintf("history(%d,%s)", p.history, p.historyAge)
	case partReplay:
		return fmt.Sprintf("replay(%d)", p.replay)
	case partBus:
		return "requirebus"
	}
	return ""
}

func formatLimit(limit rate.Limit) string {
	if limit == rate.Inf {
		return "inf"
	}
	format := byte('f')
	if abs := math.Abs(float64(limit)); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e' // hundreds of digits otherwise
	}
	return strconv.FormatFloat(float64(limit), format, -1, 64)
}

// policySyntax lists what ParsePolicy reads, in the order of the parts.
var policySyntax = [...]struct {
	part  part
	name  string
	usage string
	args  int
	build func(*policyArgs) Policy
}{
	{partOverflow, "evict", "evict(n,grace)", 2, func(a *policyArgs) Policy { return Evict(a.count(), a.duration()) }},
	{partOverflow, "dropoldest", "dropoldest(n)", 1, func(a *policyArgs) Policy { return DropOldest(a.count()) }},
	{partOverflow, "dropnewest", "dropnewest(n)", 1, func(a *policyArgs) Policy { return DropNewest(a.count()) }},
	{partOverflow, "block", "block(n,max)", 2, func(a *policyArgs) Policy { return Block(a.count(), a.duration()) }},
	{partBytes, "maxbytes", "maxbytes(n)", 1, func(a *policyArgs) Policy { return MaxBytes(a.bytes()) }},
	{partConflation, "coalesce", "coalesce", 0, func(*policyArgs) Policy { return Coalesce() }},
	{partConflation, "keepall", "keepall", 0, func(*policyArgs) Policy { return KeepAll() }},
	{partRate, "rate", "rate(limit,burst)", 2, func(a *policyArgs) Policy { return Rate(a.limit(), a.count()) }},
	{partRateBytes, "ratebytes", "ratebytes(limit,burst)", 2, func(a *policyArgs) Policy { return RateBytes(a.limit(), a.count()) }},
	{partFlush, "flushevery", "flushevery(d)", 1, func(a *policyArgs) Policy { return FlushEvery(a.duration()) }},
	{partPack, "packtext", `packtext("separator")`, 1, func(a *policyArgs) Policy { return PackText(a.text()) }},
	{partHistory, "history", "history(n,age)", 2, func(a *policyArgs) Policy { return History(a.count(), a.duration()) }},
	{partReplay, "replay", "replay(n)", 1, func(a *policyArgs) Policy { return Replay(a.count()) }},
	{partBus, "requirebus", "requirebus", 0, func(*policyArgs) Policy { return RequireBus() }},
}

// ParsePolicy reads what [Policy.String] prints, for policies that come from a
// flag or a file: parts in any order, separated by white space, each part at
// most once. A duration is what [time.ParseDuration] takes; a limit is a
// decimal number a second, or inf; a separator is quoted as in Go.
//
// ParsePolicy(p.String()) is p for every p. Like the constructors it accepts
// values that make no sense anywhere; they are found where the policy is used.
// Errors match [ErrPolicy].
func ParsePolicy(s string) (Policy, error) {
	var p Policy
	for rest := trimSpace(s); rest != ""; {
		text, tail, err := cutPart(rest)
		if err != nil {
			return Policy{}, fmt.Errorf("%w: parse %q: %w", ErrPolicy, s, err)
		}
		q, x, err := parsePart(text)
		if err != nil {
			return Policy{}, fmt.Errorf("%w: parse %q: %w", ErrPolicy, s, err)
		}
		if p.has(x) {
			return Policy{}, fmt.Errorf("%w: parse %q: %s and %s both set the %s part", ErrPolicy, s, p.describe(x), q, x)
		}
		p = p.With(q)
		rest = trimSpace(tail)
	}
	return p, nil
}

const policySpace = " \t\r\n"

func trimSpace(s string) string { return strings.Trim(s, policySpace) }

// policyText is one part, cut up but not understood yet.
type policyText struct {
	name string
	args []string
}

func (t policyText) String() string {
	if t.args == nil {
		return t.name
	}
	return t.name + "(" + strings.Join(t.args, ",") + ")"
}

// cutPart takes the first part off s: a name, and its arguments if any.
func cutPart(s string) (t policyText, tail string, err error) {
	end := strings.IndexAny(s, policySpace+"(")
	if end < 0 {
		return policyText{name: s}, "", nil
	}
	t.name, tail = s[:end], s[end:]
	if tail[0] != '(' {
		return t, tail, nil
	}
	for tail[0] != ')' {
		arg := strings.TrimLeft(tail[1:], policySpace) // after "(" or ","
		n := strings.IndexAny(arg, ",)")
		if quoted, err := strconv.QuotedPrefix(arg); err == nil {
			n = len(quoted)
		}
		if n < 0 {
			return t, "", fmt.Errorf("%s( has no end", t.name)
		}
		t.args = append(t.args, trimSpace(arg[:n]))
		tail = strings.TrimLeft(arg[n:], policySpace)
		if tail == "" || tail[0] != ',' && tail[0] != ')' {
			return t, "", fmt.Errorf("%s( has no end", t.name)
		}
	}
	tail = tail[1:]
	if tail != "" && !strings.ContainsRune(policySpace, rune(tail[0])) {
		return t, "", fmt.Errorf("no space after %s(...)", t.name)
	}
	return t, tail, nil
}

func parsePart(t policyText) (Policy, part, error) {
	for _, syntax := range policySyntax {
		if syntax.name != t.name {
			continue
		}
		if len(t.args) != syntax.args {
			return Policy{}, 0, fmt.Errorf("want %s, not %s", syntax.usage, t)
		}
		args := policyArgs{rest: t.args}
		p := syntax.build(&args)
		if args.err != nil {
			return Policy{}, 0, fmt.Errorf("%s, want %s: %w", t.name, syntax.usage, args.err)
		}
		return p, syntax.part, nil
	}
	return Policy{}, 0, fmt.Errorf("unknown part %q", t.name)
}

// policyArgs hands out arguments one by one and keeps the first error.
type policyArgs struct {
	rest []string
	err  error
}

func (a *policyArgs) next() string {
	arg := a.rest[0]
	a.rest = a.rest[1:]
	return arg
}

func (a *policyArgs) fail(err error) {
	if err != nil && a.err == nil {
		a.err = err
	}
}

func (a *policyArgs) count() int {
	n, err := strconv.Atoi(a.next())
	a.fail(err)
	return n
}

func (a *policyArgs) bytes() int64 {
	n, err := strconv.ParseInt(a.next(), 10, 64)
	a.fail(err)
	return n
}

func (a *policyArgs) duration() time.Duration {
	d, err := time.ParseDuration(a.next())
	a.fail(err)
	return d
}

func (a *policyArgs) limit() rate.Limit {
	arg := a.next()
	if arg == "inf" {
		return rate.Inf
	}
	limit, err := strconv.ParseFloat(arg, 64)
	if err == nil && (math.IsNaN(limit) || math.IsInf(limit, 0)) {
		err = fmt.Errorf("%q is no number", arg)
	}
	a.fail(err)
	return rate.Limit(limit)
}

func (a *policyArgs) text() string {
	sep, err := strconv.Unquote(a.next())
	if err != nil {
		err = fmt.Errorf("separator: %w", err)
	}
	a.fail(err)
	return sep
}
