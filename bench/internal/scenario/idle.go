package scenario

import (
	"fmt"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

var idle = Scenario{
	Name: "idle",
	Title: "idle clients, each in one topic: what a session takes of the server's memory, as soon as it is connected and after 20 " +
		"messages of 128 bytes each way; without what the server took before the first",
	Setting: "heap and stack, each in one topic",
	Figures: []Figure{
		{Key: "idle", Label: "heap and stack", Unit: "B", Better: Lower, Main: "memory of an idle session", Chart: "Memory of an idle session"},
		{Key: "after", Label: "after 20 messages", Unit: "B", Better: Lower, Main: "memory of a session after 20 messages", Chart: "Memory after 20 messages"},
		{Key: "rss", Label: "RSS", Unit: "B", Better: Lower},
		{Key: "rssAfter", Label: "RSS after", Unit: "B", Better: Lower},
		{Key: "goroutines", Label: "goroutines", Better: Lower},
	},
	quick: true, each: true, can: hub,
	run: func(b *Bench, c Contender) (r Result, err error) {
		s, err := b.stage(c, options{})
		if err != nil {
			return r, err
		}
		defer s.close()
		before, err := s.stats(true)
		if err != nil {
			return r, err
		}
		if _, err := s.dial(b.short(2000, 5000), 1); err != nil {
			return r, err
		}
		idle, err := s.stats(true)
		if err != nil {
			return r, err
		}
		n := float64(s.clients)
		r.Figures = map[string]float64{
			"idle":       grown(before.Heap+before.Stack, idle.Heap+idle.Stack) / n,
			"rss":        grown(before.RSS, idle.RSS) / n,
			"goroutines": float64(idle.Goroutines-before.Goroutines) / n,
		}
		if !c.Echo {
			return r, nil
		}
		w, err := s.talk(proto.Begin{Each: 20, EchoSize: size}, 0)
		if err != nil {
			return r, err
		}
		if want := int64(20 * s.clients); w.Echoed != want {
			return r, fmt.Errorf("%d of %d messages came back", w.Echoed, want)
		}
		after, err := s.stats(true)
		if err != nil {
			return r, err
		}
		r.Figures["after"] = grown(before.Heap+before.Stack, after.Heap+after.Stack) / n
		r.Figures["rssAfter"] = grown(before.RSS, after.RSS) / n
		return r, nil
	},
}

// grown is how much more there is than before.
func grown(before, after uint64) float64 { return max(0, float64(after)-float64(before)) }
