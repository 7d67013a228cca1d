// Package scenario holds what the contenders are put through: each [Scenario] says what it shows, who can take part and
// which figures come out, and runs one contender through it, in processes of their own.
package scenario

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A Contender is a hub that can be started as a server process.
type Contender struct {
	Name    string `json:"name"`
	Module  string `json:"module"`
	Version string `json:"version"`
	Path    string `json:"path"` // which of its documented ways to broadcast is used

	Topics   bool   `json:"topics"`
	Direct   bool   `json:"direct"`
	Compress bool   `json:"compress"`
	Echo     bool   `json:"echo"`
	Cluster  bool   `json:"cluster"`
	Dialect  string `json:"dialect,omitempty"`

	Each bool `json:"each,omitempty"` // started with a handler that is called for each message
}

// The contenders that scenarios and claims know by name.
const (
	Wshub = "wshub"
	Each  = "wshub Each" // wshub with a handler that is called for each message
	Floor = "floor"      // one write(2) a frame and nothing else: what the others are measured against
)

// A Scenario is one thing to measure. Immutable.
type Scenario struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`   // what is done
	Setting string   `json:"setting"` // the same in a few words
	Figures []Figure `json:"figures"`

	quick bool // belongs to a quick run
	each  bool // wshub takes part a second time, as Each
	can   func(Contender) bool
	run   func(*Bench, Contender) (Result, error)
}

// A Figure is one number that a scenario finds.
type Figure struct {
	Key    string `json:"key"`
	Label  string `json:"label"`
	Unit   string `json:"unit"`             // B, s, ms, µs, /s, share or "" for a bare number
	Better string `json:"better,omitempty"` // Lower or Higher
	Main   string `json:"main,omitempty"`   // its title in the main table; "" if it is not there
	Chart  string `json:"chart,omitempty"`  // its title in the chart, and that it belongs to the few that a newcomer sees
	Floor  bool   `json:"floor,omitempty"`  // also shown as a multiple of the floor's
	Late   bool   `json:"late,omitempty"`   // says nothing good of one that has not delivered everything
}

// Which way of a [Figure] is the better one.
const (
	Lower  = "lower"
	Higher = "higher"
)

// A Result is what one contender did in one round.
type Result struct {
	Scenario  string             `json:"scenario"`
	Contender string             `json:"contender"`
	Round     int                `json:"round"` // from 1
	Figures   map[string]float64 `json:"figures,omitempty"`
	Short     float64            `json:"short,omitempty"` // the share of the frames that had not come when the time was over
	Notes     []string           `json:"notes,omitempty"`
	Error     string             `json:"error,omitempty"`
}

// ErrWrong is wrapped by the error of a run whose frames arrived damaged or in disorder: no figure of it means anything.
var ErrWrong = errors.New("wrong frames")

// A Bench is what scenarios need to run. Its methods may be called by several goroutines.
type Bench struct {
	// Start starts this program as a child process with these flags.
	Start func(flags ...string) (*Child, error)
	// Quick asks for short windows.
	Quick bool
	// Files is how many file descriptors a process may have.
	Files int
}

// All returns the scenarios, in the order in which they are shown.
func All() []Scenario {
	return []Scenario{
		idle, steady, bursts, sustained, wide, stalled, topics, compressed, churn, direct, echo,
		connect, storm, leave, overNATS, overRedis, members,
	}
}

// Quick tells whether the scenario belongs to a quick run.
func (s Scenario) Quick() bool { return s.quick }

// Field returns those of cs that take part, as they take part.
func (s Scenario) Field(cs []Contender) []Contender {
	var field []Contender
	for _, c := range cs {
		if !s.can(c) {
			continue
		}
		field = append(field, c)
		if s.each && c.Name == Wshub {
			c.Name, c.Each = Each, true
			field = append(field, c)
		}
	}
	return field
}

// Run puts c through the scenario and blocks until all its processes have ended. What went wrong is the result's Error; the
// error is not nil if that was the contender's frames, which is [ErrWrong], or this bench.
func (s Scenario) Run(b *Bench, c Contender) (Result, error) {
	r, err := s.run(b, c)
	r.Scenario, r.Contender = s.Name, c.Name
	maps.DeleteFunc(r.Figures, func(key string, _ float64) bool {
		return !slices.ContainsFunc(s.Figures, func(f Figure) bool { return f.Key == key })
	})
	if err != nil {
		r.Error = err.Error()
		err = fmt.Errorf("%s: %s: %w", s.Name, c.Name, err)
	}
	return r, err
}

func anybody(Contender) bool        { return true }
func hub(c Contender) bool          { return c.Name != Floor }
func hasTopics(c Contender) bool    { return c.Topics }
func hasDirect(c Contender) bool    { return c.Direct }
func hasCompress(c Contender) bool  { return c.Compress }
func hasEcho(c Contender) bool      { return c.Echo }
func hasClusters(c Contender) bool  { return c.Cluster }
func isWshub(c Contender) bool      { return c.Name == Wshub }
func switches(c Contender) bool     { return c.Topics && c.Name != Floor }
func (b *Bench) short(q, f int) int { return map[bool]int{true: q, false: f}[b.Quick] }
