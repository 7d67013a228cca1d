package wshub

import (
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"
)

// policyPlace is where a policy applies. Its text completes "... on".
type policyPlace string

const (
	placeHub          policyPlace = "a hub"
	placeTopic        policyPlace = "a topic"
	placeSubscription policyPlace = "a subscription"
	placeStream       policyPlace = "a stream"
	placeInbound      policyPlace = "received messages"
	placeApply        policyPlace = "Apply"
)

// policyScope is what validate has to know beside the effective policy.
type policyScope struct {
	place      policyPlace
	given      Policy // what was set at this place; the rest of the effective policy is inherited
	binary     bool   // the values are binary frames
	maxPending int    // Limits.Pending; 0: not checked
	bus        bool   // the hub has one
}

// paced reports whether p holds values back that could be written.
func (p Policy) paced() bool {
	return p.rate != 0 && p.rate != rate.Inf ||
		p.rateBytes != 0 && p.rateBytes != rate.Inf ||
		p.flush != 0
}

// validate checks p, the effective policy at a place: what was given there
// over all that it inherits. Its errors match ErrPolicy and name the parts.
func (p Policy) validate(o policyScope) error {
	for _, check := range []func(Policy, policyScope) error{
		Policy.checkPlace, Policy.checkValues, Policy.checkPacing, Policy.checkFraming,
	} {
		if err := check(p, o); err != nil {
			return fmt.Errorf("%w: %w", ErrPolicy, err)
		}
	}
	return nil
}

// checkPlace refuses parts where they mean nothing. Only what was given at the
// place counts: a subscription inherits its topic's history without harm.
func (p Policy) checkPlace(o policyScope) error {
	refuse := func(x part, why string) error {
		return fmt.Errorf("%s on %s: %s", o.given.describe(x), o.place, why)
	}
	g := o.given
	switch {
	case g.historySet && o.place != placeTopic:
		return refuse(partHistory, "only a topic keeps a history")
	case g.replaySet && o.place != placeSubscription && o.place != placeStream:
		return refuse(partReplay, "only a join or a stream is offered a replay")
	case g.flushSet && o.place == placeInbound:
		return refuse(partFlush, "only what is sent is flushed; use rate")
	case g.packSet && (o.place == placeInbound || o.place == placeApply):
		return refuse(partPack, "only what is sent is framed")
	case g.requireBus && o.place != placeTopic && o.place != placeHub:
		return refuse(partBus, "only a publish asks the bus")
	case g.requireBus && !o.bus:
		return refuse(partBus, "the hub has no bus, see WithBus")
	}
	return nil
}

// checkValues checks the numbers of each part on its own.
func (p Policy) checkValues(o policyScope) error {
	refuse := func(x part, format string, args ...any) error {
		return fmt.Errorf("%s on %s: %s", p.named(x, o), o.place, fmt.Sprintf(format, args...))
	}
	counts := []struct {
		part    part
		n       int64
		pending bool // bounded by Limits.Pending
	}{
		{partOverflow, int64(p.n), !p.conflate},
		{partBytes, p.maxBytes, false},
		{partHistory, int64(p.history), true},
		{partReplay, int64(p.replay), false},
	}
	for _, c := range counts {
		switch {
		case !p.has(c.part):
		case c.n < 1:
			return refuse(c.part, "n must be at least 1")
		case c.pending && o.maxPending > 0 && c.n > int64(o.maxPending):
			return refuse(c.part, "n is above Limits.Pending, %d", o.maxPending)
		}
	}
	bound := "grace"
	if p.overflow == overflowBlock {
		bound = "max"
	}
	durations := []struct {
		part part
		name string
		d    time.Duration
	}{
		{partOverflow, bound, p.age},
		{partFlush, "the interval", p.flush},
		{partHistory, "age", p.historyAge},
	}
	for _, c := range durations {
		if c.d < 0 {
			return refuse(c.part, "%s must not be negative", c.name)
		}
	}
	rates := []struct {
		part  part
		limit rate.Limit
		burst int
	}{
		{partRate, p.rate, p.burst},
		{partRateBytes, p.rateBytes, p.burstBytes},
	}
	for _, c := range rates {
		switch {
		case !p.has(c.part) || c.limit == rate.Inf:
		case c.limit <= 0:
			return refuse(c.part, "the limit must be above 0")
		case c.burst < 1:
			return refuse(c.part, "the burst must be at least 1")
		}
	}
	if p.packSet && !utf8.ValidString(p.pack) {
		return refuse(partPack, "the separator must be valid UTF-8")
	}
	return nil
}

// checkPacing refuses to hold values back from a subscriber and then close it
// for not having read them. A client that sends too much, on the other hand,
// may well be closed or made to wait for it.
func (p Policy) checkPacing(o policyScope) error {
	if o.place == placeInbound || p.conflate ||
		p.overflow != overflowEvict && p.overflow != overflowBlock {
		return nil
	}
	for _, x := range []part{partRate, partRateBytes, partFlush} {
		if !p.only(x).paced() {
			continue
		}
		return fmt.Errorf("%s with %s on %s: a client would be closed for our own delay; add coalesce, dropoldest(n) or dropnewest(n)",
			p.named(x, o), p.named(partOverflow, o), o.place)
	}
	return nil
}

// checkFraming refuses to join binary values with a text separator. A stream
// inside the process has no frames, and ignores the part.
func (p Policy) checkFraming(o policyScope) error {
	if !p.packSet || !o.binary || o.place == placeStream {
		return nil
	}
	return fmt.Errorf("%s with binary values on %s", p.named(partPack, o), o.place)
}

// named is describe for an error: it says of a part that it was not given at
// the place the error is about.
func (p Policy) named(x part, o policyScope) string {
	if o.given.has(x) {
		return p.describe(x)
	}
	return "inherited " + p.describe(x)
}
