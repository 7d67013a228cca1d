package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/wshub-go/wshub/bench/internal/scenario"
)

// chartText draws a [chart].
//
//go:embed chart.svg.tmpl
var chartText string

var chartTemplate = template.Must(template.New("chart").Funcs(template.FuncMap{
	"text": escape, "add": func(a, b float64) float64 { return a + b },
}).Parse(chartText))

// Sizes of the chart, in its own units.
const (
	chartWidth  = 1000.
	chartMargin = 28.
	chartTop    = 112. // above the panels
	panelGap    = 30.
	panelHead   = 62. // above the bars
	rowHeight   = 18.
	barHeight   = 11.
	nameWidth   = 80.
	valueWidth  = 84.
	perRow      = 3 // panels
	clipAt      = 4 // times the median, where bars are cut so that the others can be told apart
)

type chart struct {
	Width, Height  float64
	Margin         float64
	Title, Where   string
	Summary, Notes string
	Panels         []panel
}

type panel struct {
	X, Y, Width float64
	Title, Hint string
	Setting     string
	Standing    string
	Class       string // of the standing: first, level, behind
	Bars        []bar
}

type bar struct {
	Y                 float64 // of its top
	Middle            float64 // of the text's base line
	X, Width          float64
	Low, High         float64 // ends of the range on the x axis; equal for none
	Cut               bool    // longer than drawn
	Name, Value       string
	NameX, ValueX     float64
	Class             string // own, variant, peer, floor; with " faint" for one that may not be compared
	RangeY, Head, Tip float64
}

// Chart returns the SVG: a panel of bars for each of the main figures.
func (r *Report) Chart() (string, error) {
	lines := r.lines(inChart)
	c := chart{
		Width: chartWidth, Margin: chartMargin, Title: "wshub and its peers", Where: r.where(), Summary: r.summary(lines),
		Notes: "Hollow with †: not every frame came in time. A jagged end: longer than drawn. The floor is one write(2) a frame and nothing else.",
	}
	width := (chartWidth - 2*chartMargin - (perRow-1)*panelGap) / perRow
	y := chartTop
	for row := range slices.Chunk(lines, perRow) {
		height := 0.
		for i, l := range row {
			p := r.panel(l, chartMargin+float64(i)*(width+panelGap), y, width)
			height = max(height, panelHead+float64(len(p.Bars))*rowHeight)
			c.Panels = append(c.Panels, p)
		}
		y += height + panelGap
	}
	c.Height = y + 10
	var b strings.Builder
	err := chartTemplate.Execute(&b, c)
	return b.String(), err
}

// where is the line below the title.
func (r *Report) where() string {
	rounds := "one run"
	if r.Rounds > 1 {
		rounds = fmt.Sprintf("medians of %d runs", r.Rounds)
	}
	return fmt.Sprintf("%s · %d shared cores of %s · %s · %s", r.Date, r.Machine.Cores, r.Machine.CPU, r.Machine.Go, rounds)
}

// summary counts where wshub stands.
func (r *Report) summary(lines []line) string {
	var ahead, equal, behind int
	for _, l := range lines {
		switch class(r.standing(l.scenario, l.figure)) {
		case "first":
			ahead++
		case "level":
			equal++
		case "behind":
			behind++
		}
	}
	return fmt.Sprintf("Of %d figures wshub is ahead of every peer in %d, level with the best in %d, behind in %d.",
		ahead+equal+behind, ahead, equal, behind)
}

func class(st standing) string {
	switch {
	case st.Of == 0:
		return "alone"
	case st.Level:
		return "level"
	case st.Leads:
		return "first"
	}
	return "behind"
}

// panel draws the bars of one figure, the best first, the floor last.
func (r *Report) panel(l line, x, y, width float64) panel {
	st := r.standing(l.scenario, l.figure)
	p := panel{X: x, Y: y, Width: width, Title: l.title, Setting: l.setting, Hint: l.figure.Better + " is better", Standing: st.String(), Class: class(st)}
	type entry struct {
		name string
		cell
	}
	var entries []entry
	var medians []float64
	for _, name := range r.columns() {
		if c := r.cell(l.scenario, l.figure, name); c.Took {
			entries = append(entries, entry{name, c})
			if c.known() {
				medians = append(medians, c.Median)
			}
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(order(a.name == scenario.Floor, b.name == scenario.Floor),
			order(!a.fair(l.figure), !b.fair(l.figure)), order(!a.known(), !b.known()), better(l.figure, a.Median, b.Median))
	})
	top := ceiling(medians, r.cell(l.scenario, l.figure, scenario.Wshub))
	scale := (width - nameWidth - valueWidth) / top
	for i, e := range entries {
		b := bar{Y: y + panelHead + float64(i)*rowHeight, X: x + nameWidth, Name: e.name, NameX: x + nameWidth - 7, Class: kind(e.name), Value: r.text(l.figure, e.cell)}
		b.Middle = b.Y + barHeight - 1.5
		b.Width = max(1.5, min(e.Median, top)*scale)
		b.Cut = e.Median > top
		b.Tip, b.Head = b.X+b.Width, b.Y+barHeight
		b.Low, b.High = b.Tip, b.Tip
		b.RangeY = b.Y + barHeight/2
		if e.known() && !b.Cut && e.Max > e.Min {
			b.Low, b.High = b.X+e.Min*scale, b.X+min(e.Max, top*1.1)*scale
		}
		if !e.fair(l.figure) || e.Short >= lost {
			b.Class += " faint"
		}
		b.ValueX = max(b.Tip, b.High) + 6
		p.Bars = append(p.Bars, b)
	}
	return p
}

// ceiling is what the longest bar may stand for: one much longer than most is cut, but never wshub's.
func ceiling(medians []float64, own cell) float64 {
	if len(medians) == 0 {
		return 1
	}
	top := min(slices.Max(medians), clipAt*median(medians))
	if own.known() {
		top = max(top, own.Median)
	}
	return max(top, 1e-9)
}

func kind(name string) string {
	switch name {
	case scenario.Wshub:
		return "own"
	case scenario.Each:
		return "variant"
	case scenario.Floor:
		return "floor"
	}
	return "peer"
}

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func better(f scenario.Figure, a, b float64) int {
	if f.Better == scenario.Higher {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}
