package fanout

import (
	"fmt"
	"testing"
	"testing/synctest"
)

// A replay counts as offered before its filter decides anything: an account read between the two is not negative.
func TestReplayIsOfferedBeforeItIsFiltered(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := e.NewTopic(TopicConfig{MaxPending: 100, MaxBytes: 1 << 20, History: 10})
		publish(t, topic, "a", "b", "c")
		c := newClient(e)
		where := func(any) bool {
			balanced(t, "the topic", topic.Tally()) // takes no lock that is held here
			return false
		}
		if _, err := topic.Join(c.Subscriber, lossless, where, 10); err != nil {
			t.Fatal(err)
		}
		if a := topic.Tally(); a.Offered != 3 || a.Filtered != 3 {
			t.Errorf("account: %+v", a)
		}
	})
}

// A filter is asked once about a value that it has admitted, however many other sources are merged with it.
func TestFilterIsAskedOncePerValue(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		const topics, each = 8, 20
		c := newClient(e)
		asked := 0
		var all []*Topic
		for range topics {
			topic := newTopic(e)
			all = append(all, topic)
			if _, err := topic.Join(c.Subscriber, lossless, func(any) bool { asked++; return true }, 0); err != nil {
				t.Fatal(err)
			}
		}
		c.lock() // so that one look finds everything
		for i := range each {
			for _, topic := range all {
				publish(t, topic, fmt.Sprint(i))
			}
		}
		c.release(nil)
		synctest.Wait()
		if n := len(c.conn.received()); n != topics*each {
			t.Fatalf("received %d", n)
		}
		if asked != topics*each {
			t.Errorf("asked %d times about %d values", asked, topics*each)
		}
	})
}
