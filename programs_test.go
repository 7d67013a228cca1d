package wshub_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestPrograms holds the programs to what they are for: short enough to be read at a glance, and whole, so that each can
// be copied as it is. They use the public package, wshubtest and the standard library, and nothing that another test declares.
func TestPrograms(t *testing.T) {
	declared := map[string]string{} // file by name
	files := map[string]*ast.File{}
	names, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if f.Name.Name != "wshub_test" {
			continue
		}
		for ident := range f.Scope.Objects {
			declared[ident] = name
		}
		if strings.HasPrefix(name, "program_") {
			files[name] = f
		}
	}
	if len(files) != 8 {
		t.Errorf("there are %d programs, want 8", len(files))
	}
	for name, f := range files {
		if n := strings.Count(readText(t, name), "\n"); n >= 80 {
			t.Errorf("%s has %d lines", name, n)
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			own := path == "github.com/wshub-go/wshub" || path == "github.com/wshub-go/wshub/wshubtest"
			if first, _, _ := strings.Cut(path, "/"); err != nil || !own && strings.Contains(first, ".") || spec.Name != nil {
				t.Errorf("%s imports %s", name, spec.Path.Value)
			}
		}
		for _, ident := range f.Unresolved { // within the file; fields in literals are among them
			if other := declared[ident.Name]; other != "" {
				t.Errorf("%s uses %s of %s", name, ident.Name, other)
			}
		}
	}
}
