package fanout

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestReplay(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := e.NewTopic(TopicConfig{History: 3, HistoryAge: 4 * time.Second})
		publish(t, topic, "1", "2", "3", "4")
		a, b, c := newClient(e), newClient(e), newClient(e)
		join := func(c *client, r *Rule, where func(any) bool, n int) *Member {
			m, err := topic.Join(c.Subscriber, r, where, n)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		ma := join(a, lossless, nil, 2)
		mb := join(b, lossless, func(v any) bool { return v != "3" }, 10)
		b.conn.stall(0)
		publish(t, topic, "5")
		synctest.Wait()
		time.Sleep(5 * time.Second)
		mc := join(c, lossless, nil, 10)
		publish(t, topic, "6")
		b.conn.resume()
		synctest.Wait()
		wants(t, "a", a.conn.received(), "3 4 5 6")
		wants(t, "b", b.conn.received(), "2 4 5 6")
		wants(t, "c", c.conn.received(), "6")
		for _, x := range []struct {
			m    *Member
			want Tally
		}{
			{ma, Tally{Offered: 4, Sent: 4}},
			{mb, Tally{Offered: 5, Sent: 4, Filtered: 1}},
			{mc, Tally{Offered: 1, Sent: 1}},
		} {
			if got := x.m.Tally(); got != x.want {
				t.Errorf("%+v, want %+v", got, x.want)
			}
		}
		if got, want := topic.Tally(), (Tally{Offered: 10, Sent: 9, Filtered: 1}); got != want {
			t.Errorf("topic: %+v, want %+v", got, want)
		}
		resting(t, topic)
	})
}

// TestReplayBesidePublisher joins with a replay while values are published: each member gets a contiguous run.
func TestReplayBesidePublisher(t *testing.T) {
	e := New(Config{})
	topic := e.NewTopic(TopicConfig{History: 10})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 3000 {
			publish(t, topic, fmt.Sprint(i))
		}
	}()
	var clients []*client
	for {
		c := newClient(e)
		if _, err := topic.Join(c.Subscriber, lossless, nil, 5); err != nil {
			t.Error(err)
		}
		clients = append(clients, c)
		select {
		case <-done:
		default:
			continue
		}
		break
	}
	await(t, e)
	for _, c := range clients {
		got := c.conn.received()
		for i, text := range got {
			if want := fmt.Sprint(3000 - len(got) + i); text != want {
				t.Fatalf("value %d of %d is %s, want %s", i, len(got), text, want)
			}
		}
	}
}

// TestReplayOfNothingYet publishes the first value of a topic with history between a join's look at the history, which is
// empty, and its place among the members: the value is live for it.
func TestReplayOfNothingYet(t *testing.T) {
	e := New(Config{})
	topic := e.NewTopic(TopicConfig{History: 10})
	c := newClient(e)
	topic.mu.Lock() // the place is taken under it
	joined := make(chan error)
	go func() {
		_, err := topic.Join(c.Subscriber, lossless, nil, 10)
		joined <- err
	}()
	awaitClaim(topic) // registered with the look
	publish(t, topic, "1")
	topic.mu.Unlock()
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	publish(t, topic, "2")
	await(t, e)
	wants(t, "c", c.conn.received(), "1 2")
	resting(t, topic)
}

// awaitClaim returns when somebody claims entries of the topic, for which nobody has had a reason before.
func awaitClaim(topic *Topic) {
	for claimed := false; !claimed; runtime.Gosched() {
		topic.lagMu.Lock()
		claimed = len(topic.lag) > 0
		topic.lagMu.Unlock()
	}
}
