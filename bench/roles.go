package main

import (
	"fmt"
	"io"

	"github.com/wshub-go/wshub/bench/internal/broker"
	"github.com/wshub-go/wshub/bench/internal/contender"
	"github.com/wshub-go/wshub/bench/internal/load"
	"github.com/wshub-go/wshub/bench/internal/members"
	"github.com/wshub-go/wshub/bench/internal/server"
)

// play is a child process: it answers requests until its input ends.
func play(s settings, in io.Reader, out io.Writer) error {
	switch s.role {
	case "load":
		return load.Run(in, out)
	case "broker":
		return broker.Run(s.broker, in, out)
	case "members":
		return members.Run(in, out)
	case "server":
		for _, c := range contender.All() {
			if c.Name == s.contenders {
				return server.Run(c, contender.Options{Compress: s.compress, Each: s.each, Bus: s.bus, Node: s.node}, in, out)
			}
		}
		return fmt.Errorf("no contender %q", s.contenders)
	}
	return fmt.Errorf("no role %q", s.role)
}
