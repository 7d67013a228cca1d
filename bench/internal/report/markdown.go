package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wshub-go/wshub/bench/internal/scenario"
)

// line is a figure of a scenario, as a row of a table or a panel of the chart.
type line struct {
	scenario string
	figure   scenario.Figure
	title    string
	setting  string // of the scenario
}

// lines are the figures with a title of which there are results.
func (r *Report) lines(title func(scenario.Figure) string) []line {
	var lines []line
	for _, s := range r.Scenarios {
		if !slices.ContainsFunc(r.Results, func(x scenario.Result) bool { return x.Scenario == s.Name }) {
			continue
		}
		for _, f := range s.Figures {
			if t := title(f); t != "" {
				lines = append(lines, line{s.Name, f, t, s.Setting})
			}
		}
	}
	return lines
}

func inTable(f scenario.Figure) string { return f.Main }
func inChart(f scenario.Figure) string { return f.Chart }

// Table returns the main rows of all contenders as a Markdown table that is also readable as it is.
func (r *Report) Table() string { return r.table(r.lines(inTable)) }

// legend explains the marks of the tables.
const legend = "Bold: the best of its row, or level with it; the floor, one write(2) a frame and nothing else, does not compete. " +
	"†: not every frame came in time, so its latencies mean nothing. –: does not offer it."

func (r *Report) table(lines []line) string {
	columns := r.columns()
	rows := [][]string{append([]string{""}, columns...)}
	for _, l := range lines {
		best := r.best(l, columns)
		row := []string{l.title}
		for _, name := range columns {
			text, c := "–", r.cell(l.scenario, l.figure, name)
			if c.Took {
				text = r.text(l.figure, c)
			}
			if name != scenario.Floor && c.fair(l.figure) && near(l.figure, c.Median, best) {
				text = "**" + text + "**"
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return grid(rows)
}

// best is the best median of those that compete.
func (r *Report) best(l line, columns []string) float64 {
	best, found := 0.0, false
	for _, name := range columns {
		c := r.cell(l.scenario, l.figure, name)
		if name == scenario.Floor || !c.fair(l.figure) {
			continue
		}
		if !found || ahead(l.figure, c.Median, best) {
			best, found = c.Median, true
		}
	}
	return best
}

// near reports whether v is level with the best.
func near(f scenario.Figure, v, best float64) bool {
	if f.Better == scenario.Higher {
		return v*level >= best
	}
	return v <= best*level
}

func (r *Report) text(f scenario.Figure, c cell) string {
	switch {
	case c.Failed && c.Short >= lost:
		return "†"
	case c.Failed:
		return "failed"
	case c.Short >= lost:
		return format(c.Median, f.Unit) + " †"
	}
	return format(c.Median, f.Unit)
}

// grid writes rows, the first of which is the head, as a table with cells of equal width.
func grid(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			width[i] = max(width[i], len([]rune(text)), 3)
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, text := range row {
			pad := strings.Repeat(" ", width[i]-len([]rune(text)))
			if i > 0 {
				b.WriteString("| " + pad + text + " ")
			} else {
				b.WriteString("| " + text + pad + " ")
			}
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, w := range width {
			if i > 0 {
				b.WriteString("|" + strings.Repeat("-", w+1) + ":")
			} else {
				b.WriteString("|" + strings.Repeat("-", w+2))
			}
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// Markdown returns the whole report, which shows the chart in the file with that name.
func (r *Report) Markdown(chart string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# wshub and its peers\n\n%s\n\n![The main figures as a chart](%s)\n\n", r.Where(), chart)
	fmt.Fprintf(&b, "%s\n%s\n\n", r.Table(), legend)
	fmt.Fprintf(&b, "## What wshub claims\n\n%s\n", r.claimsTable())
	b.WriteString("## Who takes part\n\n")
	rows := [][]string{{"name", "module", "version", "how it broadcasts"}}
	for _, c := range r.Contenders {
		rows = append(rows, []string{c.Name, c.Module, c.Version, c.Path})
	}
	b.WriteString(plain(rows))
	for _, s := range r.Scenarios {
		if text := r.detail(s); text != "" {
			fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n%s", s.Name, upper(s.Title), text)
		}
	}
	return b.String()
}

// Where says when, on what and how it was measured, in a sentence or two.
func (r *Report) Where() string {
	m := r.Machine
	rounds := "once"
	if r.Rounds > 1 {
		rounds = fmt.Sprintf("%d times in turns: medians, and in brackets the least and the most", r.Rounds)
	}
	return fmt.Sprintf("%s, on %d cores of %s with %s of memory, Linux %s, %s; server and load in processes of their own on the same cores. "+
		"Each scenario ran %s. Command: `%s`.", r.Date, m.Cores, m.CPU, format(float64(m.Memory), "B"), m.Kernel, m.Go, rounds, r.Command)
}

// detail is the table of one scenario with all its figures, and the notes; "" without results.
func (r *Report) detail(s scenario.Scenario) string {
	head := []string{""}
	for _, f := range s.Figures {
		head = append(head, f.Label)
	}
	rows := [][]string{head}
	var notes []string
	for _, name := range r.columns() {
		results := r.results(s.Name, name)
		if len(results) == 0 {
			continue
		}
		row := []string{name}
		for _, f := range s.Figures {
			row = append(row, r.span(f, r.cell(s.Name, f, name)))
		}
		rows = append(rows, row)
		for _, x := range results {
			notes = append(notes, note(r, x)...)
		}
	}
	if len(rows) == 1 {
		return ""
	}
	text := grid(rows)
	if len(notes) > 0 {
		text += "\n" + strings.Join(notes, "\n") + "\n"
	}
	return text
}

// note returns what is to be said of a result, as items of a list.
func note(r *Report, x scenario.Result) (items []string) {
	who := x.Contender
	if r.Rounds > 1 {
		who = fmt.Sprintf("%s, round %d", who, x.Round)
	}
	if x.Error != "" {
		items = append(items, fmt.Sprintf("- %s: failed: %s", who, x.Error))
	}
	if x.Short >= lost {
		items = append(items, fmt.Sprintf("- %s: %s of the frames did not come in time", who, percent(x.Short)))
	}
	for _, n := range x.Notes {
		items = append(items, fmt.Sprintf("- %s: %s", who, n))
	}
	return items
}

// span is the cell with the least, the most, and the multiple of the floor's.
func (r *Report) span(f scenario.Figure, c cell) string {
	if !c.Took {
		return "–"
	}
	text := r.text(f, c)
	if c.known() && r.Rounds > 1 && c.Min != c.Max {
		text += fmt.Sprintf(" (%s–%s)", strings.TrimSuffix(format(c.Min, f.Unit), unitOf(c, f)), format(c.Max, f.Unit))
	}
	if f.Floor && c.Times > 0 && c.Times != 1 {
		text += fmt.Sprintf(", %s× floor", digits(c.Times))
	}
	return text
}

// unitOf is the unit that both ends of a range share, with its blank, so that it need be written once only.
func unitOf(c cell, f scenario.Figure) string {
	_, low, _ := strings.Cut(format(c.Min, f.Unit), " ")
	_, high, _ := strings.Cut(format(c.Max, f.Unit), " ")
	if low != high || low == "" {
		return ""
	}
	return " " + low
}

// plain is a table of text, aligned to the left and not padded.
func plain(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
