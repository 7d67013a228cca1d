package wshub_test

import (
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocumentedCode holds README.md and doc.go to their word: each block of Go code in them is a run of lines of a
// program or an example that is compiled with the tests, so that it cannot go stale. Only its indentation may differ.
func TestDocumentedCode(t *testing.T) {
	compiled := compiledExamples(t)
	for _, doc := range []struct {
		file   string
		blocks []string
	}{
		{"README.md", readmeBlocks(t, "README.md")},
		{"doc.go", docBlocks(t, "doc.go")},
	} {
		if len(doc.blocks) == 0 {
			t.Errorf("%s shows no Go code", doc.file)
		}
		for _, block := range doc.blocks {
			if !occurs(compiled, block) {
				t.Errorf("%s: no compiled example holds these lines one after the other:\n%s", doc.file, block)
			}
		}
	}
}

// link is a link of Markdown: [text](target "title").
var link = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)(?:\s+"([^"]*)")?\)`)

// TestReadmeLinks checks that README.md is of bearable length, that the files it links to exist, that a link whose
// title is an example's name leads to the file with that example, which is run, and that each row of the table of calls
// has such a link.
func TestReadmeLinks(t *testing.T) {
	run := runExamples(t)
	lines := strings.Split(strings.TrimSuffix(readText(t, "README.md"), "\n"), "\n")
	if len(lines) > 200 {
		t.Errorf("README.md has %d lines, more than 200", len(lines))
	}
	calls, rows := false, 0 // inside the table of calls, and how many it has
	for i, line := range lines {
		calls = line == "| to | call |" || calls && strings.HasPrefix(line, "|")
		examples := 0
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			target, title := m[1], m[2]
			path, _, _ := strings.Cut(target, "#")
			if path != "" && !strings.Contains(path, "://") {
				if _, err := os.Stat(path); err != nil {
					t.Errorf("README.md:%d links to %s: %v", i+1, target, err)
				}
			}
			if !strings.HasPrefix(title, "Example") {
				continue
			}
			examples++
			if file, ok := run[title]; !ok {
				t.Errorf("README.md:%d links to %s, which is no example with an output", i+1, title)
			} else if file != path {
				t.Errorf("README.md:%d links to %s in %s; it is in %s", i+1, title, path, file)
			}
		}
		if !calls || line == "| to | call |" || strings.HasPrefix(line, "|---") {
			continue
		}
		rows++
		if examples == 0 {
			t.Errorf("README.md:%d: no example in this row of the table of calls: %s", i+1, line)
		}
	}
	if rows == 0 {
		t.Error("README.md has no table of calls")
	}
}

// compiledExamples returns the lines of each file that code may be shown from.
func compiledExamples(t *testing.T) map[string][]string {
	files := map[string][]string{}
	for _, pattern := range []string{"example*_test.go", "examples/*/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			files[name] = strings.Split(readText(t, name), "\n")
		}
	}
	if len(files) == 0 {
		t.Fatal("there are no examples")
	}
	return files
}

// readmeBlocks returns the fenced blocks marked as Go.
func readmeBlocks(t *testing.T, name string) []string {
	var blocks []string
	var block []string
	inside := false
	for line := range strings.Lines(readText(t, name)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case !inside && strings.TrimSpace(line) == "```go":
			inside, block = true, nil
		case inside && strings.TrimSpace(line) == "```":
			inside = false
			blocks = append(blocks, strings.Join(block, "\n"))
		case inside:
			block = append(block, line)
		}
	}
	if inside {
		t.Fatalf("%s ends inside a block of code", name)
	}
	return blocks
}

// docBlocks returns the code of a package comment.
func docBlocks(t *testing.T, name string) []string {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	var p comment.Parser
	for _, b := range p.Parse(f.Doc.Text()).Content {
		if code, ok := b.(*comment.Code); ok {
			blocks = append(blocks, strings.TrimRight(code.Text, "\n"))
		}
	}
	return blocks
}

// occurs tells whether block is a run of lines of one of files.
func occurs(files map[string][]string, block string) bool {
	want := dedent(strings.Split(block, "\n"))
	for _, lines := range files {
		for i := 0; i+len(want) <= len(lines); i++ {
			if strings.TrimLeft(lines[i], "\t ") != want[0] {
				continue
			}
			if slices.Equal(dedent(lines[i:i+len(want)]), want) {
				return true
			}
		}
	}
	return false
}

// dedent takes the first line's indentation off all lines.
func dedent(lines []string) []string {
	indent := lines[0][:len(lines[0])-len(strings.TrimLeft(lines[0], "\t "))]
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = strings.TrimRight(strings.TrimPrefix(line, indent), "\t ")
	}
	return out
}

func readText(t *testing.T, name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
