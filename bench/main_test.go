package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/bench/internal/report"
	"github.com/wshub-go/wshub/bench/internal/scenario"
	"github.com/wshub-go/wshub/internal/leak"
)

// TestMain is also the main function of the children that the tests start, which are this program with other flags.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-role" {
		main()
		os.Exit(0)
	}
	leak.Main(m)
}

// TestReadme checks that the README shows what the kept results say, and nothing where there are none.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	r, err := report.Read("results/full.json")
	if errors.Is(err, os.ErrNotExist) {
		if strings.Contains(text, report.Begin) {
			t.Error("README.md has figures without results/full.json")
		}
		t.Skip("there are no results")
	} else if err != nil {
		t.Fatal(err)
	}
	want, err := report.Rewrite(text, r.Block())
	if err != nil {
		t.Fatal("README.md:", err)
	}
	if text != want {
		t.Error("README.md differs from results/full.json; renew it with: go -C bench run . -readme ../README.md")
	}
	chart, err := r.Chart()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"full.svg": chart, "full.md": r.Markdown("full.svg")} {
		if got, err := os.ReadFile(filepath.Join("results", name)); err != nil || string(got) != want {
			t.Errorf("%s differs from full.json, which -readme renews too: %v", name, err)
		}
	}
}

// TestCompare runs a scenario with real processes and looks at what is left of it.
func TestCompare(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the load needs epoll")
	}
	dir := t.TempDir()
	var out, messages strings.Builder
	if err := run([]string{"-only", "steady", "-contender", "wshub,floor", "-out", dir}, nil, &out, &messages); err != nil {
		t.Fatalf("%v\n%s", err, messages.String())
	}
	if !strings.Contains(out.String(), "CPU per delivery") || strings.Count(messages.String(), "steady") != 2 {
		t.Errorf("%s\n%s", out.String(), messages.String())
	}
	r, err := report.Read(filepath.Join(dir, "part.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != 2 || r.Machine.Cores == 0 || r.Date == "" || r.Contenders[0].Version == "" {
		t.Errorf("%+v", r)
	}
	for _, x := range r.Results {
		if x.Figures["rate"] <= 0 || x.Figures["cpu"] <= 0 {
			t.Errorf("%+v", x)
		}
	}
	for _, name := range []string{"part.md", "part.svg"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(b) == 0 {
			t.Error(name, err)
		}
	}
}

func TestRenew(t *testing.T) {
	dir := t.TempDir()
	readme := filepath.Join(dir, "README.md")
	if err := run([]string{"-readme", readme, "-out", dir}, nil, io.Discard, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Error("without results:", err)
	}
	if err := write(&report.Report{Rounds: 1}, dir, "full"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(readme, []byte("# A\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"-readme", readme, "-out", dir}, nil, io.Discard, io.Discard); !errors.Is(err, report.ErrNoBlock) {
		t.Error("without a block:", err)
	}
	if err := os.WriteFile(readme, []byte("# A\n\n"+report.Begin+"\n"+report.End+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"-readme", readme, "-out", dir}, nil, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(readme); err != nil || !strings.Contains(string(b), "](bench/results/full.svg)") {
		t.Errorf("%v: %s", err, b)
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-quick -full":       "either",
		"fast":               "what is",
		"-only steady,fast":  `no "fast"`,
		"-contender nobody":  `no "nobody"`,
		"-role dancer":       "no role",
		"-role server -each": "no contender",
	} {
		if err := run(strings.Fields(args), strings.NewReader(""), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v instead of %q", args, err, want)
		}
	}
	var out strings.Builder
	if err := run([]string{"-list"}, nil, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, s := range scenario.All() {
		if !strings.Contains(out.String(), s.Name+" ") {
			t.Errorf("%s is not listed", s.Name)
		}
	}
}

// TestTurns checks that every contender begins a round.
func TestTurns(t *testing.T) {
	all := scenario.All()
	i := slices.IndexFunc(all, func(s scenario.Scenario) bool { return s.Name == "steady" })
	r := &report.Report{
		Rounds: 3, Scenarios: all[i : i+1],
		Contenders: []scenario.Contender{{Name: "a"}, {Name: "b"}, {Name: "c"}},
	}
	b := &scenario.Bench{Start: func(...string) (*scenario.Child, error) { return nil, errors.New("not here") }}
	failures := measure(b, r, io.Discard)
	var order strings.Builder
	for _, x := range r.Results {
		order.WriteString(x.Contender)
		if x.Error == "" {
			t.Errorf("%+v", x)
		}
	}
	if order.String() != "abcbcacab" || len(failures) != 9 || r.Results[8].Round != 3 {
		t.Errorf("%s with %d failures", order.String(), len(failures))
	}
}
