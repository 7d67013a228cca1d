// Package report turns the results of a run into what people read: a Markdown table, a chart, the claims that hold or do
// not, and the block of the README. All of it is made from a [Report] alone, so that it can be made again from its file.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/wshub-go/wshub/bench/internal/scenario"
)

// Report is a run: what was measured, where, and how. Its JSON is the file of results.
type Report struct {
	Date       string               `json:"date"` // 2006-01-02
	Command    string               `json:"command"`
	Rounds     int                  `json:"rounds"`
	Machine    Machine              `json:"machine"`
	Contenders []scenario.Contender `json:"contenders"` // in the order of the columns
	Scenarios  []scenario.Scenario  `json:"scenarios"`
	Results    []scenario.Result    `json:"results"`
}

// Machine is what it was measured on.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory uint64 `json:"memory"` // bytes
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Read reads a file of results.
func Read(name string) (*Report, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// JSON returns what [Read] reads.
func (r *Report) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "\t")
	return append(b, '\n'), err
}

// columns are the names of those who have results: wshub and its variant, the peers, the floor.
func (r *Report) columns() []string {
	has := map[string]bool{}
	for _, x := range r.Results {
		has[x.Contender] = true
	}
	var names []string
	for _, c := range r.Contenders {
		if c.Name != scenario.Floor {
			names = append(names, c.Name)
		}
		if c.Name == scenario.Wshub {
			names = append(names, scenario.Each)
		}
	}
	return slices.DeleteFunc(append(names, scenario.Floor), func(name string) bool { return !has[name] })
}

// peers are those that wshub is compared with.
func (r *Report) peers() []string {
	return slices.DeleteFunc(r.columns(), func(name string) bool {
		return name == scenario.Wshub || name == scenario.Each || name == scenario.Floor
	})
}

// results are those of one contender in one scenario, one for each round.
func (r *Report) results(s, contender string) []scenario.Result {
	var found []scenario.Result
	for _, x := range r.Results {
		if x.Scenario == s && x.Contender == contender {
			found = append(found, x)
		}
	}
	return found
}

// cell is one figure of one contender over all rounds. The zero cell says that it did not take part.
type cell struct {
	Took             bool // part
	Failed           bool // in every round
	Median, Min, Max float64
	Short            float64 // the largest share of the frames that did not come in time
	Times            float64 // the median of the multiples of the floor's in the same round; 0 if there are none
}

// known reports whether there is a number.
func (c cell) known() bool { return c.Took && !c.Failed }

// fair reports whether the number may be compared: a latency says nothing if not everything came.
func (c cell) fair(f scenario.Figure) bool { return c.known() && (!f.Late || c.Short < lost) }

// lost is the share of missing frames from which on a run counts as one in which not everything came. It is not zero
// because of what rounding makes of it.
const lost = 1e-9

func (r *Report) cell(s string, f scenario.Figure, contender string) (c cell) {
	var values, times []float64
	for _, x := range r.results(s, contender) {
		v, ok := x.Figures[f.Key]
		if x.Error != "" {
			c.Took, c.Failed = true, true
			continue
		}
		c.Short = max(c.Short, x.Short)
		if !ok {
			c.Took = c.Took || f.Late && x.Short >= lost
			continue
		}
		c.Took = true
		values = append(values, v)
		for _, floor := range r.results(s, scenario.Floor) {
			if w, ok := floor.Figures[f.Key]; ok && floor.Round == x.Round && floor.Error == "" && w > 0 {
				times = append(times, v/w)
			}
		}
	}
	if len(values) == 0 {
		c.Failed = c.Took
		return c
	}
	c.Failed = false
	c.Median, c.Min, c.Max = median(values), slices.Min(values), slices.Max(values)
	if len(times) > 0 {
		c.Times = median(times)
	}
	return c
}

// median does not change values, of which there must be one.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// ahead reports whether a is better than b.
func ahead(f scenario.Figure, a, b float64) bool {
	if f.Better == scenario.Higher {
		return a > b
	}
	return a < b
}
