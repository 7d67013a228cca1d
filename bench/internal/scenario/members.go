package scenario

import (
	"fmt"

	inprocess "github.com/wshub-go/wshub/bench/internal/members"
)

// million is how many members there are in the process.
const million = 1_000_000

var members = Scenario{
	Name:    "members",
	Title:   "a million members in one topic without a network: connections that take everything at once",
	Setting: "a million members in the process",
	Figures: []Figure{
		{Key: "bytes", Label: "engine state of a member", Unit: "B", Better: Lower},
		{Key: "member", Label: "a publish, for each member", Unit: "ns", Better: Lower},
		{Key: "call", Label: "publish call p99", Unit: "µs", Better: Lower},
	},
	can: isWshub,
	run: func(b *Bench, c Contender) (r Result, err error) {
		child, err := b.Start("-role", "members")
		if err != nil {
			return r, fmt.Errorf("start the process: %w", err)
		}
		defer child.Close()
		var m inprocess.Result
		args := inprocess.Args{Members: million, Publishes: b.short(20, 100), Size: size}
		if err := child.Do(inprocess.Do, args, &m); err != nil {
			return r, err
		}
		r.Figures = map[string]float64{"bytes": m.Bytes, "member": m.Member, "call": µs(m.Call.P99)}
		return r, nil
	},
}
