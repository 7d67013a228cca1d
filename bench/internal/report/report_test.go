package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/bench/internal/scenario"
	"github.com/wshub-go/wshub/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// result is one of a scenario with a figure cpu and a latency p99.
func result(contender string, round int, cpu, p99, short float64) scenario.Result {
	r := scenario.Result{Scenario: "steady", Contender: contender, Round: round, Short: short, Figures: map[string]float64{"cpu": cpu}}
	if p99 > 0 {
		r.Figures["p99"] = p99
	}
	return r
}

// sample is three rounds of one scenario: wshub is second to fast, which does not deliver everything and so has no latency
// worth the name.
func sample() *Report {
	return &Report{
		Date: "2026-02-03", Command: "go -C bench run . -full", Rounds: 3,
		Machine: Machine{CPU: "A <B> & C", Cores: 2, Memory: 8e9, Kernel: "6.1", Go: "go1.26"},
		Contenders: []scenario.Contender{
			{Name: "wshub", Module: "github.com/wshub-go/wshub", Version: "this tree", Path: "Topic.Publish"},
			{Name: "fast"}, {Name: "slow"}, {Name: "broken"}, {Name: "floor"}, {Name: "absent"},
		},
		Scenarios: []scenario.Scenario{
			{Name: "steady", Title: "clients in one topic", Setting: "1,000 clients", Figures: []scenario.Figure{
				{Key: "cpu", Label: "CPU", Unit: "µs", Better: scenario.Lower, Main: "CPU per delivery", Chart: "CPU", Floor: true},
				{Key: "p99", Label: "p99", Unit: "ms", Better: scenario.Lower, Main: "latency", Chart: "p99", Late: true},
			}},
			{Name: "never", Figures: []scenario.Figure{{Key: "cpu", Main: "never", Chart: "never"}}},
		},
		Results: []scenario.Result{
			result("wshub", 1, 8, 20, 0), result("fast", 1, 4, 2, 0.25), result("slow", 1, 400, 30, 0), result("floor", 1, 4, 15, 0),
			result("wshub", 2, 6, 22, 0), result("fast", 2, 5, 0, 0.5), result("slow", 2, 500, 40, 0), result("floor", 2, 6, 15, 0),
			result("wshub", 3, 7, 24, 0), result("fast", 3, 4, 3, 0), result("slow", 3, 600, 50, 0), result("floor", 3, 5, 15, 0),
			{Scenario: "steady", Contender: "broken", Round: 1, Error: "wrong frames"},
		},
	}
}

func TestTable(t *testing.T) {
	const want = `
|                  |   wshub |          fast |   slow | broken |   floor |
|------------------|--------:|--------------:|-------:|-------:|--------:|
| CPU per delivery |    7 µs | **4 µs †** | 500 µs | failed |    5 µs |
| latency          | **22 ms** |     2.50 ms † |  40 ms | failed |   15 ms |
`
	if got := sample().Table(); squeeze(got) != squeeze(want) {
		t.Errorf("got\n%s", got)
	}
	widths := map[int]bool{}
	for line := range strings.Lines(sample().Table()) {
		widths[len([]rune(line))] = true
	}
	if len(widths) != 1 {
		t.Errorf("lines of %v characters", widths)
	}
}

// squeeze takes out what is there for the looks.
func squeeze(s string) string {
	s = strings.NewReplacer(" ", "", "-", "").Replace(strings.TrimSpace(s))
	return s
}

func TestCell(t *testing.T) {
	r := sample()
	cpu, p99 := r.Scenarios[0].Figures[0], r.Scenarios[0].Figures[1]
	for _, test := range []struct {
		figure scenario.Figure
		name   string
		want   cell
	}{
		{cpu, "wshub", cell{Took: true, Median: 7, Min: 6, Max: 8, Times: 1.4}},
		{cpu, "fast", cell{Took: true, Median: 4, Min: 4, Max: 5, Short: 0.5, Times: 5. / 6}},
		{p99, "fast", cell{Took: true, Median: 2.5, Min: 2, Max: 3, Short: 0.5, Times: 2.5 / 15}},
		{cpu, "broken", cell{Took: true, Failed: true}},
		{cpu, "absent", cell{}},
	} {
		got := r.cell("steady", test.figure, test.name)
		if math.Abs(got.Times-test.want.Times) < 1e-9 {
			got.Times = test.want.Times // but for rounding
		}
		if got != test.want {
			t.Errorf("%s of %s: %+v instead of %+v", test.figure.Key, test.name, got, test.want)
		}
	}
}

func TestStanding(t *testing.T) {
	lower := scenario.Figure{Key: "v", Better: scenario.Lower, Late: true}
	higher := scenario.Figure{Key: "v", Better: scenario.Higher}
	type one struct {
		name  string
		value float64
		short float64
	}
	for name, test := range map[string]struct {
		figure  scenario.Figure
		results []one
		want    string
	}{
		"first":            {lower, []one{{"wshub", 10, 0}, {"a", 30, 0}, {"b", 20, 0}}, "1st of 3, 2.0× ahead of b"},
		"first of rates":   {higher, []one{{"wshub", 100, 0}, {"a", 3, 0}}, "1st of 2, 33× ahead of a"},
		"last":             {lower, []one{{"wshub", 30, 0}, {"a", 10, 0}, {"b", 20, 0}}, "3rd of 3, a is 3.0× ahead"},
		"level":            {lower, []one{{"wshub", 104, 0}, {"a", 100, 0}}, "level with a"},
		"the floor":        {lower, []one{{"wshub", 10, 0}, {"floor", 5, 0}, {"a", 15, 0}}, "1st of 2, 1.5× ahead of a"},
		"the only whole":   {lower, []one{{"wshub", 30, 0}, {"a", 10, 0.1}}, "1st of 2, the others lose frames"},
		"not whole itself": {lower, []one{{"wshub", 10, 0.1}, {"a", 20, 0}}, "2nd of 2"},
		"nobody else":      {lower, []one{{"wshub", 10, 0}, {"wshub Each", 5, 0}}, ""},
		"not there":        {lower, []one{{"a", 10, 0}, {"b", 5, 0}}, ""},
		"zero":             {lower, []one{{"wshub", 1, 0}, {"a", 0, 0}}, "2nd of 2"},
	} {
		r := &Report{Rounds: 1, Contenders: []scenario.Contender{{Name: "wshub"}, {Name: "a"}, {Name: "b"}, {Name: "floor"}}}
		for _, x := range test.results {
			r.Results = append(r.Results, scenario.Result{Scenario: "s", Contender: x.name, Round: 1, Short: x.short, Figures: map[string]float64{"v": x.value}})
		}
		if got := r.standing("s", test.figure).String(); got != test.want {
			t.Errorf("%s: %q instead of %q", name, got, test.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, test := range []struct {
		v    float64
		unit string
		want string
	}{
		{0, "µs", "0 µs"}, {7.123, "µs", "7.12 µs"}, {71.23, "µs", "71.2 µs"}, {712.3, "µs", "712 µs"}, {1600, "µs", "1.60 ms"}, {999.6, "ms", "1.00 s"},
		{1500, "s", "1,500 s"}, {250, "ns", "250 ns"}, {9000, "B", "9 kB"}, {12_345, "B", "12.3 kB"}, {300, "B", "300 B"}, {2.5e6, "B", "2.50 MB"},
		{1e6, "/s", "1.00M/s"}, {450e3, "/s", "450k/s"}, {1234, "/s", "1,234/s"}, {2, "", "2"}, {0.01, "", "0.01"}, {-1234567, "", "-1,234,567"},
	} {
		if got := Format(test.v, test.unit); got != test.want {
			t.Errorf("%v %s: %q instead of %q", test.v, test.unit, got, test.want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	r := sample()
	r.Results[1].Notes = []string{"12 clients were disconnected"}
	text := r.Markdown("full.svg")
	for _, want := range []string{
		"2026-02-03, on 2 cores of A <B> & C with 8 GB of memory", "Command: `go -C bench run . -full`", "](full.svg)", "3 times in turns",
		" 7 µs (6–8 µs), 1.40× floor |", "- broken, round 1: failed: wrong frames", "- fast, round 1: 25 % of the frames did not come in time",
		"- fast, round 1: 12 clients were disconnected", "| wshub | github.com/wshub-go/wshub | this tree | Topic.Publish |",
		"| 1,000 × 100/s: CPU per delivery, to the floor's | ≤ 1.15 × | 1.40 × | **no** |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "## never") {
		t.Error("a scenario without results has a chapter")
	}
}

func TestVerdicts(t *testing.T) {
	known := 0
	for _, v := range sample().Verdicts() {
		if v.Known {
			known++
		}
		if v.What == "1,000 × 100/s: p99, to the floor's" && (!v.Holds || math.Abs(v.Measured-22./15) > 1e-9) {
			t.Errorf("%+v", v)
		}
	}
	if known != 2 {
		t.Errorf("%d claims are known", known)
	}
	if broken := sample().Broken(); len(broken) != 1 {
		t.Errorf("%q", broken)
	}
}

// TestClaims checks that each claim is about figures that there are.
func TestClaims(t *testing.T) {
	r := &Report{Rounds: 1, Contenders: []scenario.Contender{{Name: "wshub"}, {Name: "coder"}, {Name: "floor"}}}
	for _, s := range scenario.All() {
		for _, name := range []string{"wshub", "wshub Each", "coder", "floor"} {
			x := scenario.Result{Scenario: s.Name, Contender: name, Round: 1, Figures: map[string]float64{}}
			for _, f := range s.Figures {
				x.Figures[f.Key] = 1
			}
			r.Results = append(r.Results, x)
		}
	}
	for _, v := range r.Verdicts() {
		if !v.Known {
			t.Errorf("nothing is known of %q", v.What)
		}
	}
}

// TestChart checks that the chart is XML, that nothing is drawn outside of it and that it says what it should.
func TestChart(t *testing.T) {
	r := sample()
	text, err := r.Chart()
	if err != nil {
		t.Fatal(err)
	}
	bars := 0
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range e.Attr {
			if a.Name.Local == "class" && strings.HasPrefix(a.Value, "bar ") {
				bars++
			}
			if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") || (a.Name.Local == "x" || a.Name.Local == "width") && strings.HasPrefix(a.Value, "-") {
				t.Errorf("<%s %s=%q>", e.Name.Local, a.Name.Local, a.Value)
			}
		}
	}
	if want := 2 * len(r.columns()); bars != want {
		t.Errorf("%d bars instead of %d", bars, want)
	}
	for _, want := range []string{
		"A &lt;B&gt; &amp; C", "2nd of 4, fast is 1.8× ahead", "1st of 4, 1.8× ahead of slow", `class="cut"`, "1,000 clients",
		"Of 2 figures wshub is ahead of every peer in 1, level with the best in 0, behind in 1.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if _, err := new(Report).Chart(); err != nil {
		t.Error("of nothing:", err)
	}
}

func TestJSON(t *testing.T) {
	r := sample()
	b, err := r.JSON()
	if err != nil || !json.Valid(b) {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "full.json")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Read(name)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%v, %+v", err, got)
	}
	if _, err := Read(name + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestRewrite(t *testing.T) {
	r := sample()
	const text = "# A\n\n<!-- bench -->\nstale\n<!-- /bench -->\n\nrest\n"
	got, err := Rewrite(text, r.Block())
	if err != nil || !strings.HasPrefix(got, "# A\n\n<!-- bench -->\n![") || !strings.HasSuffix(got, "\n<!-- /bench -->\n\nrest\n") || strings.Contains(got, "stale") {
		t.Errorf("%v: %s", err, got)
	}
	if again, err := Rewrite(got, r.Block()); err != nil || again != got {
		t.Errorf("%v: another time\n%s", err, again)
	}
	for _, text := range []string{"", "<!-- bench -->\n", "<!-- /bench -->\n<!-- bench -->\n"} {
		if _, err := Rewrite(text, ""); !errors.Is(err, ErrNoBlock) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
