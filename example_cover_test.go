package wshub_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestExamples wants an example that is run, one with an output, for every exported function of the package that is no
// method: also those that go doc lists under the type they return.
func TestExamples(t *testing.T) {
	functions := exportedFunctions(t)
	if len(functions) < 60 {
		t.Fatalf("only %d exported functions were found: %q", len(functions), functions)
	}
	run := runExamples(t)
	for _, name := range functions {
		if run["Example"+name] == "" {
			t.Errorf("%s has no Example%[1]s with an output", name)
		}
	}
}

// exportedFunctions returns the names of the package's exported functions, without methods.
func exportedFunctions(t *testing.T) []string {
	fset, files := parseFiles(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") })
	p, err := doc.NewFromFiles(fset, files, "github.com/wshub-go/wshub")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	add := func(funcs []*doc.Func) {
		for _, f := range funcs {
			names = append(names, f.Name)
		}
	}
	add(p.Funcs)
	for _, typ := range p.Types {
		add(typ.Funcs)
	}
	slices.Sort(names)
	return names
}

// runExamples returns the names of the package's examples that go test runs, each with the file it is in.
func runExamples(t *testing.T) map[string]string {
	fset, files := parseFiles(t, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	found := map[string]string{}
	for _, f := range files {
		for _, e := range doc.Examples(f) {
			if e.Output != "" || e.EmptyOutput {
				found["Example"+e.Name] = fset.Position(f.Package).Filename
			}
		}
	}
	return found
}

// parseFiles parses the root package's files whose names want admits.
func parseFiles(t *testing.T, want func(name string) bool) (*token.FileSet, []*ast.File) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if !want(name) {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return fset, files
}
