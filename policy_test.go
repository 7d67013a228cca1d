package wshub

import (
	"errors"
	"fmt"
	"math"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"golang.org/x/time/rate"
)

// anyPolicy is a Policy with a random choice of parts, for testing/quick. Its
// values need not make sense: the laws hold for them too.
type anyPolicy struct{ Policy }

func (anyPolicy) Generate(r *rand.Rand, _ int) reflect.Value {
	ints := []int{0, 1, -1, 2, 16, 1024, math.MaxInt, math.MinInt, r.Int()}
	n := func() int { return ints[r.Intn(len(ints))] }
	durations := []time.Duration{0, 1, -1, time.Millisecond, time.Hour, forever, math.MinInt64, time.Duration(r.Int63())}
	d := func() time.Duration { return durations[r.Intn(len(durations))] }
	limits := []rate.Limit{
		0, rate.Limit(math.Copysign(0, -1)), 20, 0.5, -3, 1e300, 1e-300, math.MaxFloat32, rate.Inf,
		rate.Limit(math.Inf(1)), rate.Limit(math.Inf(-1)), rate.Limit(math.NaN()), rate.Limit(r.ExpFloat64()), rate.Limit(math.Float64frombits(r.Uint64())),
	}
	limit := func() rate.Limit { return limits[r.Intn(len(limits))] }
	seps := []string{"", "\n", "\x00", ",", ")", `"`, "`", `\`, " ", "\xff\xfe", "ü", "\u2028", "😀"}
	var p Policy
	for _, q := range []Policy{
		[]Policy{Evict(n(), d()), DropOldest(n()), DropNewest(n()), Block(n(), d())}[r.Intn(4)],
		MaxBytes(int64(n())),
		[]Policy{Coalesce(), KeepAll()}[r.Intn(2)],
		Rate(limit(), n()),
		RateBytes(limit(), n()),
		FlushEvery(d()),
		PackText(seps[r.Intn(len(seps))] + seps[r.Intn(len(seps))]),
		History(n(), d()),
		Replay(n()),
		RequireBus(),
	} {
		if r.Intn(2) == 0 {
			p = p.With(q)
		}
	}
	return reflect.ValueOf(anyPolicy{p})
}

func TestPolicyLaws(t *testing.T) {
	laws := []struct {
		name string
		law  any
	}{
		{"associative", func(p, q, r anyPolicy) bool {
			return p.With(q.Policy).With(r.Policy) == p.With(q.With(r.Policy))
		}},
		{"idempotent", func(p, q anyPolicy) bool {
			return p.With(p.Policy) == p.Policy && p.With(q.Policy).With(q.Policy) == p.With(q.Policy)
		}},
		{"zero is the identity", func(p anyPolicy) bool {
			return p.With(Policy{}) == p.Policy && Policy{}.With(p.Policy) == p.Policy
		}},
		{"With replaces what is set and keeps the rest", func(p, q anyPolicy) bool {
			both := p.With(q.Policy)
			for x := range numParts {
				want := p.only(x)
				if q.has(x) {
					want = q.only(x)
				}
				if both.only(x) != want {
					return false
				}
			}
			return true
		}},
		{"a policy is the sum of its parts, in any order", func(p anyPolicy) bool {
			var up, down Policy
			for x := range numParts {
				up = up.With(p.only(x))
				down = down.With(p.only(numParts - 1 - x))
			}
			return up == p.Policy && down == p.Policy
		}},
		{"Compose folds With", func(p, q, r anyPolicy) bool {
			return Compose(p.Policy, q.Policy, r.Policy) == p.With(q.Policy).With(r.Policy) &&
				Compose(p.Policy) == p.Policy && Compose() == Policy{}
		}},
		{"String and ParsePolicy round trip", func(p anyPolicy) bool {
			back, err := ParsePolicy(p.String())
			return err == nil && back == p.Policy && back.String() == p.String()
		}},
		{"equal when they print alike", func(p, q anyPolicy) bool {
			return (p.String() == q.String()) == (p.Policy == q.Policy)
		}},
		{"one place's errors are ErrPolicy", func(p anyPolicy) bool {
			for _, place := range []policyPlace{placeHub, placeTopic, placeSubscription, placeStream, placeInbound} {
				err := p.validate(policyScope{place: place, given: p.Policy, binary: true, maxPending: 100})
				if err != nil && !errors.Is(err, ErrPolicy) {
					return false
				}
			}
			return true
		}},
	}
	for _, l := range laws {
		t.Run(l.name, func(t *testing.T) {
			if err := quick.Check(l.law, &quick.Config{MaxCount: 3000}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPolicyString(t *testing.T) {
	tests := []struct {
		p    Policy
		want string
	}{
		{Policy{}, ""},
		{defaultPolicy(), "evict(1024,250ms) maxbytes(1048576)"},
		{Compose(Rate(20, 1), Coalesce(), MaxBytes(1<<20), Evict(1024, 250*time.Millisecond)),
			"evict(1024,250ms) maxbytes(1048576) coalesce rate(20,1)"},
		{DropOldest(1), "dropoldest(1)"},
		{DropNewest(2), "dropnewest(2)"},
		{Block(3, time.Minute), "block(3,1m0s)"},
		{KeepAll(), "keepall"},
		{Rate(rate.Every(2*time.Second), 3), "rate(0.5,3)"},
		{Rate(rate.Inf, 0), "rate(inf,0)"},
		{Rate(rate.Limit(math.Inf(1)), 0), "rate(inf,0)"},
		{Rate(rate.Limit(math.NaN()), 1), "rate(-1,1)"},
		{Rate(rate.Limit(math.Copysign(0, -1)), 1), "rate(0,1)"},
		{RateBytes(1<<20, 65536), "ratebytes(1048576,65536)"},
		{RateBytes(1e30, 1), "ratebytes(1e+30,1)"},
		{FlushEvery(50 * time.Millisecond), "flushevery(50ms)"},
		{PackText("\n"), `packtext("\n")`},
		{PackText(""), `packtext("")`},
		{History(50, time.Hour), "history(50,1h0m0s)"},
		{Replay(10), "replay(10)"},
		{RequireBus(), "requirebus"},
		{Compose(RequireBus(), Coalesce()), "coalesce requirebus"},
	}
	for _, tt := range tests {
		if got := tt.p.String(); got != tt.want {
			t.Errorf("String() = %q, want %q", got, tt.want)
		}
		if got, err := ParsePolicy(tt.want); err != nil || got != tt.p {
			t.Errorf("ParsePolicy(%q) = %v, %v; want %v", tt.want, got, err, tt.p)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	tests := []struct {
		in, want string
	}{
		{" \t\r\n ", ""},
		{"coalesce", "coalesce"},
		{"  rate( 20 , 1 )\n\tdropoldest( 5 ) ", "dropoldest(5) rate(20,1)"},
		{"flushevery(0.05s)", "flushevery(50ms)"},
		{`packtext(",") coalesce`, `coalesce packtext(",")`},
		{`packtext("a) b(" )`, `packtext("a) b(")`},
		{"packtext(`\\n`)", `packtext("\\n")`},
	}
	for _, tt := range tests {
		got, err := ParsePolicy(tt.in)
		if err != nil || got.String() != tt.want {
			t.Errorf("ParsePolicy(%q) = %v, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

func TestParsePolicyErrors(t *testing.T) {
	tests := []struct {
		in, mentions string
	}{
		{"evict", "want evict(n,grace)"},
		{"evict()", "want evict(n,grace)"},
		{"evict(5)", "want evict(n,grace), not evict(5)"},
		{"evict(5,1s,2)", "not evict(5,1s,2)"},
		{"evict(5,1s", "evict( has no end"},
		{"evict(5,", "evict( has no end"},
		{"evict(", "evict( has no end"},
		{"evict(1.5,1s)", "want evict(n,grace)"},
		{"evict(5,1)", "missing unit"},
		{"evict(99999999999999999999,1s)", "out of range"},
		{"Evict(5,1s)", `unknown part "Evict"`},
		{"dropall(3)", `unknown part "dropall"`},
		{"(3)", `unknown part ""`},
		{")", `unknown part ")"`},
		{"coalesce()", "want coalesce, not coalesce()"},
		{"coalesce,rate(1,1)", "unknown part"},
		{"rate(1,1)coalesce", "no space after rate"},
		{"rate(nan,1)", "nan"},
		{"rate(-inf,1)", "-inf"},
		{"rate(1e999,1)", "out of range"},
		{"packtext(\n)", "separator"},
		{`packtext("a"b)`, "packtext( has no end"},
		{`packtext("a)`, "separator"},
		{"evict(1,1s) coalesce block(2,2s)", "evict(1,1s) and block(2,2s) both set the overflow part"},
		{"coalesce keepall", "coalesce and keepall both set the conflation part"},
	}
	for _, tt := range tests {
		p, err := ParsePolicy(tt.in)
		if !errors.Is(err, ErrPolicy) || p != (Policy{}) {
			t.Errorf("ParsePolicy(%q) = %v, %v; want ErrPolicy", tt.in, p, err)
		} else if !strings.Contains(err.Error(), tt.mentions) {
			t.Errorf("ParsePolicy(%q): %v; want it to mention %q", tt.in, err, tt.mentions)
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	const second = time.Second
	// inherited is what the place has from the places above it.
	tests := []struct {
		name      string
		place     policyPlace
		inherited Policy
		given     Policy
		binary    bool
		errors    []string // what the error mentions; none: valid
	}{
		{name: "default", place: placeTopic},
		{name: "default, on received messages", place: placeInbound, inherited: defaultInbound()},

		{name: "evict of none", place: placeTopic, given: Evict(0, second), errors: []string{"evict(0,1s) on a topic", "n must be at least 1"}},
		{name: "dropoldest of none", place: placeSubscription, given: DropOldest(0), errors: []string{"dropoldest(0) on a subscription", "at least 1"}},
		{name: "dropnewest of fewer", place: placeStream, given: DropNewest(-1), errors: []string{"dropnewest(-1) on a stream", "at least 1"}},
		{name: "block of none", place: placeInbound, given: Block(0, second), errors: []string{"block(0,1s) on received messages", "at least 1"}},
		{name: "no bytes", place: placeHub, given: MaxBytes(0), errors: []string{"maxbytes(0) on a hub", "at least 1"}},
		{name: "no history", place: placeTopic, given: History(0, 0), errors: []string{"history(0,0s)", "at least 1"}},
		{name: "no replay", place: placeStream, given: Replay(0), errors: []string{"replay(0)", "at least 1"}},
		{name: "one", place: placeTopic, given: Compose(Evict(1, 0), MaxBytes(1), History(1, 0))},
		{name: "none, inherited", place: placeTopic, inherited: DropOldest(0), errors: []string{"inherited dropoldest(0) on a topic"}},

		{name: "negative grace", place: placeTopic, given: Evict(1, -1), errors: []string{"evict(1,-1ns)", "grace must not be negative"}},
		{name: "negative max", place: placeTopic, given: Block(1, -1), errors: []string{"block(1,-1ns)", "max must not be negative"}},
		{name: "negative age", place: placeTopic, given: History(1, -second), errors: []string{"history(1,-1s)", "age must not be negative"}},
		{name: "negative interval", place: placeTopic, given: Compose(Coalesce(), FlushEvery(-second)), errors: []string{"flushevery(-1s)", "interval must not be negative"}},

		{name: "more than the log may hold", place: placeTopic, given: Evict(1025, second), errors: []string{"evict(1025,1s)", "Limits.Pending, 1024"}},
		{name: "all the log may hold", place: placeTopic, given: Evict(1024, second)},
		{name: "a count that does not apply", place: placeTopic, inherited: Evict(1025, second), given: Coalesce()},
		{name: "more history than the log may hold", place: placeTopic, given: History(1025, 0), errors: []string{"history(1025,0s)", "Limits.Pending, 1024"}},
		{name: "more replay than there can be", place: placeSubscription, given: Replay(1025)},

		{name: "rate of none", place: placeTopic, given: Compose(Coalesce(), Rate(0, 1)), errors: []string{"rate(0,1)", "above 0"}},
		{name: "rate below none", place: placeTopic, given: Compose(Coalesce(), Rate(-2, 1)), errors: []string{"rate(-2,1)", "above 0"}},
		{name: "no number", place: placeTopic, given: Compose(Coalesce(), RateBytes(rate.Limit(math.NaN()), 1)), errors: []string{"ratebytes(-1,1)", "above 0"}},
		{name: "no burst", place: placeTopic, given: Compose(Coalesce(), Rate(1, 0)), errors: []string{"rate(1,0)", "burst must be at least 1"}},
		{name: "no burst is needed", place: placeTopic, given: Rate(rate.Inf, 0)},

		{name: "rate with the default", place: placeTopic, given: Rate(20, 1), errors: []string{"rate(20,1) with inherited evict(1024,250ms) on a topic", "coalesce"}},
		{name: "rate with evict", place: placeHub, given: Compose(Rate(20, 1), Evict(8, second)), errors: []string{"rate(20,1) with evict(8,1s) on a hub"}},
		{name: "byte rate with block", place: placeSubscription, inherited: Block(8, second), given: RateBytes(20, 1), errors: []string{"ratebytes(20,1) with inherited block(8,1s)"}},
		{name: "interval with block", place: placeStream, given: Compose(FlushEvery(second), Block(8, second)), errors: []string{"flushevery(1s) with block(8,1s)"}},
		{name: "evict under an inherited rate", place: placeSubscription, inherited: Compose(DropOldest(8), Rate(20, 1)), given: Evict(8, second), errors: []string{"inherited rate(20,1) with evict(8,1s)"}},
		{name: "conflation undone under a rate", place: placeSubscription, inherited: Compose(Coalesce(), Rate(20, 1)), given: KeepAll(), errors: []string{"inherited rate(20,1) with inherited evict(1024,250ms)"}},
		{name: "rate with coalesce", place: placeTopic, given: Compose(Rate(20, 1), Coalesce())},
		{name: "rate with inherited coalesce", place: placeSubscription, inherited: Coalesce(), given: Rate(20, 1)},
		{name: "all three with dropoldest", place: placeTopic, given: Compose(Rate(20, 1), RateBytes(9, 9), FlushEvery(second), DropOldest(8))},
		{name: "interval with dropnewest", place: placeTopic, given: Compose(FlushEvery(second), DropNewest(8))},
		{name: "rate lifted", place: placeSubscription, inherited: Compose(DropOldest(8), Rate(20, 1)), given: Compose(Evict(8, second), Rate(rate.Inf, 1))},
		{name: "interval lifted", place: placeSubscription, inherited: Compose(DropOldest(8), FlushEvery(second)), given: Compose(Evict(8, second), FlushEvery(0))},
		{name: "inbound rate with evict", place: placeInbound, given: Compose(Rate(20, 1), Evict(8, second))},
		{name: "inbound rate that delays", place: placeInbound, inherited: defaultInbound(), given: Compose(Rate(20, 1), RateBytes(1000, 1000))},
		{name: "inbound rate that drops", place: placeInbound, inherited: defaultInbound(), given: Compose(Rate(20, 1), DropNewest(8))},

		{name: "history of a topic", place: placeTopic, given: History(50, time.Hour)},
		{name: "history on a hub", place: placeHub, given: History(50, 0), errors: []string{"history(50,0s) on a hub"}},
		{name: "history on a subscription", place: placeSubscription, given: History(50, 0), errors: []string{"history(50,0s) on a subscription"}},
		{name: "history on a stream", place: placeStream, given: History(50, 0), errors: []string{"history(50,0s) on a stream"}},
		{name: "history on received messages", place: placeInbound, given: History(50, 0), errors: []string{"history(50,0s) on received messages"}},
		{name: "history of the subscription's topic", place: placeSubscription, inherited: History(50, 0), given: Replay(50)},
		{name: "replay on a topic", place: placeTopic, given: Compose(History(50, 0), Replay(50)), errors: []string{"replay(50) on a topic"}},
		{name: "replay on a hub", place: placeHub, given: Replay(50), errors: []string{"replay(50) on a hub"}},
		{name: "replay on received messages", place: placeInbound, given: Replay(50), errors: []string{"replay(50) on received messages"}},
		{name: "interval on received messages", place: placeInbound, given: FlushEvery(second), errors: []string{"flushevery(1s) on received messages"}},
		{name: "framing on received messages", place: placeInbound, given: PackText(""), errors: []string{`packtext("") on received messages`}},

		{name: "framing of text", place: placeTopic, given: PackText("\n")},
		{name: "framing of binary", place: placeTopic, given: PackText("\n"), binary: true, errors: []string{`packtext("\n") with binary values on a topic`}},
		{name: "framing of binary, inherited", place: placeSubscription, inherited: PackText("\n"), binary: true, errors: []string{`inherited packtext("\n") with binary values`}},
		{name: "framing of binary, off the wire", place: placeStream, inherited: PackText("\n"), binary: true},
		{name: "framing with bytes", place: placeTopic, given: PackText("\xff"), errors: []string{`packtext("\xff")`, "UTF-8"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			effective := defaultPolicy().With(tt.inherited).With(tt.given)
			scope := policyScope{place: tt.place, given: tt.given, binary: tt.binary, maxPending: 1024}
			err := effective.validate(scope)
			if len(tt.errors) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, ErrPolicy) {
				t.Fatalf("error is %v, want ErrPolicy", err)
			}
			for _, want := range tt.errors {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error is %q, want it to mention %q", err, want)
				}
			}
		})
	}
}

func TestPolicyParts(t *testing.T) {
	seen := make(map[string]bool)
	for x := range numParts {
		if name := x.String(); name == "" || seen[name] {
			t.Errorf("part %d is named %q", x, name)
		} else {
			seen[name] = true
		}
		if (Policy{}).has(x) || (Policy{}).only(x) != (Policy{}) {
			t.Errorf("the zero Policy has a %s part", x)
		}
	}
	for _, syntax := range policySyntax {
		args := make([]string, syntax.args)
		for i := range args {
			args[i] = "0"
		}
		a := policyArgs{rest: args}
		p := syntax.build(&a)
		if !p.has(syntax.part) || len(a.rest) != 0 {
			t.Errorf("%s: has(%s) = %t, %d arguments left", syntax.name, syntax.part, p.has(syntax.part), len(a.rest))
		}
		if got := p.describe(syntax.part); !strings.HasPrefix(got, syntax.name) {
			t.Errorf("%s is printed as %s", syntax.name, got)
		}
	}
}

func TestPolicyIsAMapKey(t *testing.T) {
	uses := map[Policy]int{Compose(Evict(1, 2), Coalesce()): 1}
	uses[Coalesce().With(Evict(1, 2))]++
	if len(uses) != 1 || KeepAll() == (Policy{}) || PackText("") == (Policy{}) {
		t.Error("policies do not compare by what they set:", uses)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add("evict(1024,250ms) maxbytes(1048576) coalesce rate(20,1)")
	f.Add(`dropoldest(1) keepall ratebytes(1e+30,2) flushevery(50ms) packtext("\xff,)") history(50,1h) replay(3)`)
	f.Add("dropnewest(2) rate(inf,0) packtext(`\n`)")
	f.Add(fmt.Sprint(Block(math.MaxInt, forever)))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePolicy(s)
		if err != nil {
			if !errors.Is(err, ErrPolicy) || p != (Policy{}) {
				t.Fatalf("ParsePolicy(%q) = %v, %v", s, p, err)
			}
			return
		}
		back, err := ParsePolicy(p.String())
		if err != nil || back != p {
			t.Fatalf("ParsePolicy(%q) = %v, read back as %v, %v", s, p, back, err)
		}
	})
}
