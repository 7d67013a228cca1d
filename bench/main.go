// Bench compares wshub with its peers: it puts each through the same scenarios, in processes of their own, and writes what
// came of it as a table and a chart.
//
//	go -C bench run . -quick
//	go -C bench run . -full
//	go -C bench run . -only steady,bursts -contender wshub,gws,floor
//	go -C bench run . -readme ../README.md
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/wshub-go/wshub/bench/internal/contender"
	"github.com/wshub-go/wshub/bench/internal/report"
	"github.com/wshub-go/wshub/bench/internal/scenario"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	quick, full, list bool
	only, contenders  string
	out, readme       string

	role, broker   string // of a child
	compress, each bool
	bus, node      string
}

func parse(args []string, output io.Writer) (s settings, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(output)
	f.BoolVar(&s.quick, "quick", false, "the main scenarios once, shortly: under two minutes (the default)")
	f.BoolVar(&s.full, "full", false, "every scenario three times in turns: about forty minutes")
	f.BoolVar(&s.list, "list", false, "list scenarios and contenders")
	f.StringVar(&s.only, "only", "", "run these `scenarios`, separated by commas")
	f.StringVar(&s.contenders, "contender", "", "run these `contenders`, separated by commas")
	f.StringVar(&s.out, "out", "results", "the `directory` of the results")
	f.StringVar(&s.readme, "readme", "", "measure nothing, but renew the block of this `file` from full.json of the results")

	f.StringVar(&s.role, "role", "", "what a child process is: server, load, broker or members")
	f.StringVar(&s.broker, "broker", "", "of a broker: nats or redis")
	f.BoolVar(&s.compress, "compress", false, "of a server: accept compression")
	f.BoolVar(&s.each, "each", false, "of a wshub server: a handler that is called for each message")
	f.StringVar(&s.bus, "bus", "", "of a server: the `URL` of the broker")
	f.StringVar(&s.node, "node", "", "of a server: its name among the nodes")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("what is %q?", f.Arg(0))
	case s.quick && s.full:
		return s, errors.New("either -quick or -full")
	}
	return s, nil
}

func run(args []string, in io.Reader, out, messages io.Writer) error {
	s, err := parse(args, messages)
	if err != nil {
		return err
	}
	switch {
	case s.role != "":
		return play(s, in, out)
	case s.list:
		list(out)
		return nil
	case s.readme != "":
		return renew(s.readme, s.out)
	}
	return compare(s, args, out, messages)
}

// list says what -only and -contender know.
func list(out io.Writer) {
	fmt.Fprintln(out, "Scenarios (* in a quick run):")
	for _, s := range scenario.All() {
		mark := " "
		if s.Quick() {
			mark = "*"
		}
		fmt.Fprintf(out, "  %s %-14s %s\n", mark, s.Name, s.Title)
	}
	fmt.Fprintln(out, "\nContenders:")
	for _, c := range contender.All() {
		fmt.Fprintf(out, "    %-14s %s\n", c.Name, strings.TrimSpace(c.Module+" "+c.Version)+": "+c.Path)
	}
}

// renew writes the block of the README, and the tables and the chart beside the results, from the results.
func renew(readme, results string) error {
	r, err := report.Read(resultsFile(results, "full", "json"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	renewed, err := report.Rewrite(string(text), r.Block())
	if err != nil {
		return fmt.Errorf("%s: %w", readme, err)
	}
	if err := write(r, results, "full"); err != nil {
		return err
	}
	return os.WriteFile(readme, []byte(renewed), 0o644)
}
