package natsbus

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
)

// Each message to a reader that does not read is received later or counted as lost, once.
func TestLossIsCountedOnce(t *testing.T) {
	url := embedded(t, nil).ClientURL()
	for _, c := range []struct {
		name            string
		messages, bytes int
		fit             int
	}{
		{"messages", 100, 1 << 30, 100},
		{"bytes", 1 << 30, 100 * (len("x.0") + 10), 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := connect(t, url), connect(t, url, Buffer(c.messages, c.bytes))
			awaitState(t, b, cluster.StateUp)
			subjects := []string{"x.0", "x.1", "x.2", "x.3"}
			subscribe(t, b, subjects...)
			const total = 20_000
			batch := make([]cluster.Message, 0, total)
			for i := range total {
				batch = append(batch, cluster.Message{Subject: subjects[i%4], Data: fmt.Appendf(nil, "%010d", i)})
			}
			if n, err := a.Publish(within(t), batch...); n != total || err != nil {
				t.Fatal(n, err)
			}
			var lost uint64
			for lost < total-direct-uint64(c.fit) {
				s := <-b.Status()
				if s.State != cluster.StateUp || s.Err != nil {
					t.Fatalf("told: %+v", s)
				}
				lost += s.Lost
			}
			for i := range direct + c.fit {
				if m := receive(t, b); string(m.Data) != fmt.Sprintf("%010d", i) {
					t.Fatalf("message %d is %q", i, m.Data)
				}
			}
			publish(t, a, "x.0", "last")
			expect(t, b, "x.0", "last")
			select {
			case s := <-b.Status():
				t.Fatalf("told once more: %+v", s)
			default:
			}
		})
	}
}

// What nats.go drops before the inbox has it is counted too, though nats.go says so only at the beginning.
func TestLossInTheClientIsCountedOnce(t *testing.T) {
	s := embedded(t, nil)
	a := connect(t, s.ClientURL())
	awaitState(t, a, cluster.StateUp)
	nc, err := nats.Connect(s.ClientURL(), nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { a.wrong(sub, err) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	small := make(chan *nats.Msg, 10) // in place of a.in.in
	var subs []*nats.Subscription
	for i := range 3 {
		sub, err := nc.ChanSubscribe(fmt.Sprintf("x.%d", i), small)
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	flush(t, nc)
	want := 0
	for round := range 5 {
		// The first of the messages fit, all others are dropped.
		for i := range 300 {
			if err := nc.Publish(fmt.Sprintf("x.%d", i%len(subs)), nil); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, nc)
		want += 300 - 10
		got := 0
		for got < want {
			s := <-a.Status()
			got += int(s.Lost)
		}
		if got != want {
			t.Fatalf("round %d: %d lost, want %d", round, got, want)
		}
		want = 0
		for range 10 {
			<-small
		}
	}
	for _, sub := range subs {
		a.in.gone <- sub
		sub.Unsubscribe()
	}
	select {
	case s := <-a.Status():
		t.Fatalf("told once more: %+v", s)
	default:
	}
}

func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}
