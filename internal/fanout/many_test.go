package fanout

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// TestManyTopicsMarkedBetweenRounds has a pass meet a subscriber of very many topics owned, and end; the look under way
// then finds the topic quiet, and must not write what was sent later first.
func TestManyTopicsMarkedBetweenRounds(t *testing.T) {
	bubble(t, Config{Workers: 2}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c := newClient(e)
		c.join(t, topic, lossless)
		for range manySubs {
			c.join(t, newTopic(e), lossless)
		}
		c.conn.hook = nth(1, func() {
			publish(t, topic, "a")
			settled(e, topic)
			send(t, c.Subscriber, "b")
		})
		send(t, c.Subscriber, "x")
		synctest.Wait()
		wants(t, "client", c.conn.received(), "x a b")
		resting(t, topic)
	})
}

// TestManyTopicsJoinWhileStalled joins while a frame is begun: the claim that comes with a join goes.
func TestManyTopicsJoinWhileStalled(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c := newClient(e)
		for range manySubs + 1 {
			c.join(t, newTopic(e), lossless)
		}
		c.conn.stall(1)
		send(t, c.Subscriber, "x")
		synctest.Wait()
		c.join(t, topic, lossless)
		c.conn.resume()
		synctest.Wait()
		resting(t, topic)
	})
}

// TestManyTopics takes a subscriber through more than manySubs topics: quiet ones, dirty ones and lagging ones.
func TestManyTopics(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		c := newClient(e)
		var all []*Topic
		var members []*Member
		for i := range 3 * manySubs {
			topic := newTopic(e)
			all = append(all, topic)
			members = append(members, c.join(t, topic, lossless))
			publish(t, topic, fmt.Sprint("j", i)) // also while it grows past manySubs
		}
		synctest.Wait()
		if n := len(c.conn.received()); n != len(all) {
			t.Errorf("%d values arrived, want %d", n, len(all))
		}
		c.conn.stall(1)
		var want []string
		for i := range 500 {
			text := fmt.Sprint("v", i)
			want = append(want, text)
			publish(t, all[i*7%len(all)], text)
			if i%50 == 0 {
				synctest.Wait()
			}
		}
		members[3].Leave()
		if got := members[3].Tally(); got.Undelivered == 0 || got.Pending != 0 {
			t.Errorf("left: %+v", got)
		}
		want = slicesDelete(want, func(i int) bool { return i*7%len(all) == 3 })
		c.conn.resume()
		synctest.Wait()
		wants(t, "client", c.conn.received()[len(all):], strings.Join(want, " "))
		for i, topic := range all {
			if got := members[i].Tally(); got.Pending != 0 {
				t.Errorf("topic %d: %+v", i, got)
			}
			resting(t, topic)
		}
		c.Detach()
	})
}

func slicesDelete(texts []string, drop func(i int) bool) (kept []string) {
	for i, text := range texts {
		if !drop(i) {
			kept = append(kept, text)
		}
	}
	return kept
}
