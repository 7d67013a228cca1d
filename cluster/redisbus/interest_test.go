package redisbus

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// broker is what a server does with commands: at its own time, in their order.
type broker struct {
	has      map[string]bool
	commands []string // "+name" and "-name"
}

// Random calls, answers, and losses of the connection. When all is answered the server has what is wanted, and nobody waits.
func TestInterest(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		in := interest{subjects: make(map[string]*subject)}
		b := broker{has: map[string]bool{}}
		wanted := map[string]bool{}
		var calls []*call
		up := false

		send := func() bool {
			names, subscribe := in.next()
			for _, name := range names {
				b.commands = append(b.commands, map[bool]string{true: "+", false: "-"}[subscribe]+name)
			}
			return len(names) > 0
		}
		answer := func() {
			name, subscribe := b.commands[0][1:], b.commands[0][0] == '+'
			b.commands = b.commands[1:]
			b.has[name] = subscribe
			ended, _, known := in.confirmed(name)
			if !known {
				t.Fatalf("seed %d: %s was not asked for", seed, name)
			}
			endAll(ended, nil)
			for _, c := range ended {
				if over(c) && c.err != nil {
					t.Fatalf("seed %d: %v", seed, c.err)
				}
			}
		}
		lose := func(away error) {
			endAll(in.lost(nil), nil)
			if away != nil {
				endAll(in.lost(away), away)
			}
			b, up = broker{has: map[string]bool{}}, false
		}
		for range 200 {
			names := make([]string, 1+r.IntN(3))
			for i := range names {
				names[i] = string(rune('a' + r.IntN(6)))
			}
			c := newCall()
			switch r.IntN(12) {
			case 0, 1, 2:
				ended, _ := in.want(names, c)
				endAll(ended, nil)
				for _, name := range names {
					wanted[name] = true
				}
			case 3, 4, 5:
				ended, _ := in.unwant(names, c)
				endAll(ended, nil)
				for _, name := range names {
					delete(wanted, name)
				}
			case 6, 7:
				send()
			case 8, 9:
				if len(b.commands) > 0 {
					answer()
				}
			case 10:
				if !up {
					in.connected()
					up = true
				}
			case 11:
				if r.IntN(4) == 0 {
					lose(map[bool]error{true: errMoved}[r.IntN(2) == 0])
				}
			}
			c.end(nil)
			calls = append(calls, c)
			if up && in.whole() {
				for name := range wanted {
					if s := in.subjects[name]; s.back {
						t.Fatalf("seed %d: %s is not back", seed, name)
					}
				}
			}
		}
		if !up {
			in.connected()
		}
		for send() || len(b.commands) > 0 {
			for len(b.commands) > 0 {
				answer()
			}
		}
		maps.DeleteFunc(b.has, func(_ string, has bool) bool { return !has })
		if !maps.Equal(b.has, wanted) {
			t.Fatalf("seed %d: the server has %v, wanted is %v", seed, b.has, wanted)
		}
		if !in.whole() || in.under != 0 || len(in.subjects) != len(wanted) {
			t.Fatalf("seed %d: missing %d, under way %d, subjects %v", seed, in.missing, in.under, in.subjects)
		}
		if i := slices.IndexFunc(calls, func(c *call) bool { return !over(c) }); i >= 0 {
			t.Fatalf("seed %d: call %d waits", seed, i)
		}
	}
}

func over(c *call) bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// What is under way is bounded, in each command and altogether.
func TestWindow(t *testing.T) {
	in := interest{subjects: make(map[string]*subject)}
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	in.want(names, newCall())
	in.connected()
	var sent []string
	commands := 0
	for {
		names, _ := in.next()
		if len(names) == 0 {
			break
		}
		if len(names) > batch {
			t.Errorf("a command with %d subjects", len(names))
		}
		sent = append(sent, names...)
		commands++
	}
	if len(sent) != window || commands != window/batch {
		t.Errorf("%d subjects in %d commands", len(sent), commands)
	}
	woken := 0
	for _, name := range sent {
		if _, more, _ := in.confirmed(name); more {
			woken++
		}
	}
	if woken == 0 || in.under != 0 {
		t.Errorf("woken %d times, %d under way", woken, in.under)
	}
	if names, subscribe := in.next(); len(names) != batch || !subscribe {
		t.Errorf("then %d subjects: %.20s", len(names), strings.Join(names, " "))
	}
}
