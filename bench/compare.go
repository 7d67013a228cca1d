package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wshub-go/wshub/bench/internal/contender"
	"github.com/wshub-go/wshub/bench/internal/report"
	"github.com/wshub-go/wshub/bench/internal/scenario"
)

// rounds of a full run.
const rounds = 3

// compare runs what s asks for, writes the results and prints the table. It returns an error if anything failed, after all
// else has been done.
func compare(s settings, args []string, out, messages io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	files, err := fileLimit()
	if err != nil {
		return fmt.Errorf("ask for the limit of open files: %w", err)
	}
	scenarios, err := pick(scenario.All(), s.only, func(x scenario.Scenario) string { return x.Name })
	if err != nil {
		return err
	}
	if s.only == "" && !s.full {
		scenarios = slices.DeleteFunc(scenarios, func(x scenario.Scenario) bool { return !x.Quick() })
	}
	contenders, err := pick(field(), s.contenders, func(c scenario.Contender) string { return c.Name })
	if err != nil {
		return err
	}
	r := &report.Report{
		Date:       time.Now().Format(time.DateOnly),
		Command:    strings.Join(append([]string{"go -C bench run ."}, args...), " "),
		Rounds:     1,
		Machine:    machine(),
		Contenders: contenders,
		Scenarios:  scenarios,
	}
	if s.full {
		r.Rounds = rounds
	}
	b := &scenario.Bench{
		Start: func(flags ...string) (*scenario.Child, error) { return scenario.Exec(program, flags...) },
		Quick: !s.full,
		Files: files,
	}
	failures := measure(b, r, messages)
	name := "quick"
	switch {
	case s.only != "" || s.contenders != "":
		name = "part"
	case s.full:
		name = "full"
	}
	if err := write(r, s.out, name); err != nil {
		return errors.Join(append(failures, err)...)
	}
	fmt.Fprintf(out, "%s\n", r.Table())
	for _, broken := range r.Broken() {
		fmt.Fprintln(out, "does not hold:", broken)
	}
	fmt.Fprintf(out, "\nall figures: %s, the chart: %s\n", resultsFile(s.out, name, "md"), resultsFile(s.out, name, "svg"))
	return errors.Join(failures...)
}

// field is all contenders, as the scenarios know them.
func field() []scenario.Contender {
	var all []scenario.Contender
	for _, c := range contender.All() {
		all = append(all, scenario.Contender{
			Name: c.Name, Module: c.Module, Version: c.Version, Path: c.Path,
			Topics: c.Topics, Direct: c.Direct, Compress: c.Compress, Echo: c.Echo, Cluster: c.Cluster, Dialect: c.Dialect,
		})
	}
	return all
}

// pick returns those of all whose names are in the list, in their own order; all for "".
func pick[T any](all []T, list string, name func(T) string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	wanted := strings.Split(list, ",")
	var picked []T
	var names []string
	for _, x := range all {
		names = append(names, name(x))
		if slices.Contains(wanted, name(x)) {
			picked = append(picked, x)
		}
	}
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			return nil, fmt.Errorf("there is no %q among %s", w, strings.Join(names, ", "))
		}
	}
	return picked, nil
}

// measure runs all scenarios, the contenders in turns and in each round from another one on, and puts the results into r.
// It returns what failed.
func measure(b *scenario.Bench, r *report.Report, messages io.Writer) (failures []error) {
	start := time.Now()
	total, done := 0, 0
	for _, s := range r.Scenarios {
		total += len(s.Field(r.Contenders)) * r.Rounds
	}
	for round := range r.Rounds {
		for _, s := range r.Scenarios {
			runners := s.Field(r.Contenders)
			for i := range runners {
				c := runners[(i+round)%len(runners)]
				begun := time.Now()
				result, err := s.Run(b, c)
				result.Round = round + 1
				r.Results = append(r.Results, result)
				done++
				fmt.Fprintf(messages, "%3d/%d %5.0fs  %-13s %-11s %s\n", done, total, time.Since(start).Seconds(), s.Name, c.Name,
					outcome(s, result, time.Since(begun)))
				if err != nil {
					failures = append(failures, err)
				}
			}
		}
	}
	return failures
}

// outcome is a result in one line.
func outcome(s scenario.Scenario, r scenario.Result, took time.Duration) string {
	if r.Error != "" {
		return "FAILED: " + r.Error
	}
	var parts []string
	for _, f := range s.Figures {
		if v, ok := r.Figures[f.Key]; ok {
			parts = append(parts, f.Label+" "+report.Format(v, f.Unit))
		}
	}
	if r.Short > 0 {
		parts = append(parts, fmt.Sprintf("%.1f %% not in time", 100*r.Short))
	}
	return fmt.Sprintf("%s (%.1fs)", strings.Join(append(parts, r.Notes...), ", "), took.Seconds())
}

// write writes the results, the tables and the chart.
func write(r *report.Report, dir, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := r.JSON()
	if err != nil {
		return err
	}
	chart, err := r.Chart()
	if err != nil {
		return err
	}
	for ext, text := range map[string]string{"json": string(data), "svg": chart, "md": r.Markdown(name + ".svg")} {
		if err := os.WriteFile(resultsFile(dir, name, ext), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func resultsFile(dir, name, ext string) string { return filepath.Join(dir, name+"."+ext) }
