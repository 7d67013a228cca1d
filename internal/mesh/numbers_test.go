package mesh

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestNumbersTold: what a node published is told by one heartbeat each, and by all that tell everything for a while.
func TestNumbersTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		n := newPlane(t, m.Bus())
		n.onLoop(func() { n.takeNumbers() })
		a, b := n.Topic("a", 3, nil), n.Topic("b", 4, nil)
		a.Publish(Outgoing{})
		a.Publish(Outgoing{})
		b.Publish(Outgoing{})
		n.Everyone().Publish(Outgoing{})
		everyone, _ := n.Everyone().Next()
		var got string
		n.out.mu.Lock() // before a heartbeat takes them
		got = fmt.Sprint(len(n.out.fresh))
		n.out.mu.Unlock()
		if got != "3" {
			t.Errorf("%s topics have new numbers", got)
		}
		n.onLoop(func() {
			all := fmt.Sprint(n.allNumbers())
			for _, want := range []string{"{a 3 2}", "{b 4 1}", fmt.Sprintf("{ %d 1}", everyone)} {
				if !strings.Contains(all, want) {
					t.Errorf("%s has no %s", all, want)
				}
			}
			n.takeNumbers()
			if again := n.takeNumbers(); len(again) != 0 {
				t.Errorf("told twice: %v", again)
			}
			b.Publish(Outgoing{})
			if got := fmt.Sprint(n.takeNumbers()); got != "[{b 4 2}]" {
				t.Errorf("took %s", got)
			}
			n.Topic("a", 5, nil).Publish(Outgoing{})
			if got := fmt.Sprint(n.takeNumbers()); got != "[{a 5 1}]" {
				t.Errorf("took %s", got)
			}
			if all := fmt.Sprint(n.allNumbers()); !strings.Contains(all, "{a 5 1}") || strings.Contains(all, "{a 3") {
				t.Errorf("all are %s", all)
			}
		})
		for range 3 {
			time.Sleep(recentFor)
			n.onLoop(func() { n.takeNumbers() })
		}
		n.onLoop(func() {
			if all := n.allNumbers(); len(all) != 0 {
				t.Errorf("all are %v, long after", all)
			}
		})
	})
}
