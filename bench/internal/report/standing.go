package report

import (
	"fmt"

	"github.com/wshub-go/wshub/bench/internal/scenario"
)

// level is the ratio up to which two are level: runs of the same program differ by as much.
const level = 1.05

// standing is where wshub is among its peers in one figure.
type standing struct {
	Place, Of int     // 0 of 0 if there is nothing to compare
	Rival     string  // the best peer
	Ratio     float64 // how much better the one ahead of the two is; 0 if that cannot be said
	Leads     bool    // ahead of every peer
	Level     bool    // with the best peer
	Alone     bool    // in having delivered everything
}

// standing compares the medians. One that did not deliver everything is behind all that did.
func (r *Report) standing(s string, f scenario.Figure) (st standing) {
	own := r.cell(s, f, scenario.Wshub)
	if !own.Took {
		return st
	}
	var best cell
	st.Place, st.Of = 1, 1
	for _, name := range r.peers() {
		c := r.cell(s, f, name)
		if !c.Took {
			continue
		}
		st.Of++
		if !c.fair(f) {
			if own.fair(f) && st.Rival == "" {
				st.Rival = name
			}
			continue
		}
		if !own.fair(f) || ahead(f, c.Median, own.Median) {
			st.Place++
		}
		if !best.Took || ahead(f, c.Median, best.Median) {
			best, st.Rival = c, name
		}
	}
	if st.Of == 1 {
		return standing{}
	}
	st.Leads = st.Place == 1 && own.fair(f)
	st.Alone = st.Leads && !best.Took
	if best.Took && own.fair(f) && own.Median > 0 && best.Median > 0 {
		st.Ratio = max(own.Median, best.Median) / min(own.Median, best.Median)
		st.Level = st.Ratio <= level
	}
	return st
}

// String says it in a few words.
func (st standing) String() string {
	switch {
	case st.Of == 0:
		return ""
	case st.Level:
		return "level with " + st.Rival
	case st.Alone:
		return fmt.Sprintf("1st of %d, the others lose frames", st.Of)
	case st.Leads && st.Ratio == 0:
		return fmt.Sprintf("1st of %d", st.Of)
	case st.Leads:
		return fmt.Sprintf("1st of %d, %s× ahead of %s", st.Of, times(st.Ratio), st.Rival)
	case st.Ratio == 0:
		return fmt.Sprintf("%s of %d", ordinal(st.Place), st.Of)
	}
	return fmt.Sprintf("%s of %d, %s is %s× ahead", ordinal(st.Place), st.Of, st.Rival, times(st.Ratio))
}

func times(v float64) string {
	if v < 10 {
		return fixed(v, 1)
	}
	return fixed(v, 0)
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "1st"
	case 2:
		return "2nd"
	case 3:
		return "3rd"
	}
	return fmt.Sprintf("%dth", n)
}
