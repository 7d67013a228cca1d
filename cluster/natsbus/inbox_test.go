package natsbus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
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

// What nats.go drops before the inbox has it is counted too, though nats.go says so only at the beginning. The test is the
// inbox's goroutine.
func TestLossInTheClientIsCountedOnce(t *testing.T) {
	slow := make(chan *nats.Subscription, 100)
	nc, err := nats.Connect(embedded(t, nil).ClientURL(), nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrSlowConsumer) {
			slow <- sub
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var lost uint64
	q := newInbox(&options{}, nil, func(n uint64) { lost += n })
	const room = 10
	q.in = make(chan *nats.Msg, room)
	var subs []*nats.Subscription
	for i := range 3 {
		sub, err := nc.ChanSubscribe(fmt.Sprintf("x.%d", i), q.in)
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	flush(t, nc)
	burst := func(n int) {
		t.Helper()
		for i := range n {
			if err := nc.Publish(fmt.Sprintf("x.%d", i%len(subs)), nil); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, nc)
	}
	drain := func() {
		for len(q.in) > 0 {
			<-q.in
		}
	}
	var want uint64
	expect := func(when string) {
		t.Helper()
		if lost != want {
			t.Fatalf("%s: %d lost, want %d", when, lost, want)
		}
	}
	for range 3 {
		// What fits is given to them, and all others are dropped: each begins to lose.
		burst(300)
		want += 300 - room
		for range subs {
			q.begin(<-slow)
		}
		expect("at the beginning")
		if q.ticks == nil {
			t.Fatal("nobody asks for more")
		}
		// They go on losing, and nobody says so.
		for range 2 {
			burst(300)
			want += 300
			q.askAll()
			expect("later")
		}
		q.askAll()
		expect("asked once more")
		if q.ticks == nil {
			t.Fatal("nobody asks any more, though they would not say that they lose")
		}
		// They are given something, which makes them say it when they lose again.
		drain()
		burst(len(subs))
		q.askAll()
		expect("in order again")
		if q.ticks != nil {
			t.Fatal("they are asked for ever")
		}
		drain()
	}
	// One begins to lose, and is asked before its word has come.
	burst(room + 1)
	sub := <-slow
	q.ask(sub)
	q.begin(sub)
	want++
	burst(len(subs))
	want += uint64(len(subs))
	for range len(subs) - 1 {
		q.begin(<-slow)
	}
	q.askAll()
	expect("at the end")
	for _, sub := range subs {
		q.forget(sub)
		sub.Unsubscribe()
	}
	q.askAll()
	expect("after the end")
	if len(q.dropped) != 0 || q.ticks != nil {
		t.Errorf("something is left: %d, %v", len(q.dropped), q.ticks)
	}
}

// The inbox keeps the order, and its bounds, whatever is pushed and taken.
func TestInboxModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	lost, rejected := 0, 0
	q := newInbox(&options{prefix: "p.", messages: 3000, bytes: 100_000}, nil, func(n uint64) { lost += int(n) })
	var model []string // what was accepted and not taken
	bytes := 0         // of those that are not in the channel
	take := func() {
		if q.head < len(q.waiting) && len(q.out) < direct {
			q.out <- q.waiting[q.head]
			bytes -= size(q.waiting[q.head])
			q.pop()
			return
		}
		if len(q.out) > 0 {
			if m := <-q.out; string(m.Data) != model[0] || m.Subject != "x" {
				t.Fatalf("took %q on %q, want %q", m.Data, m.Subject, model[0])
			}
			model = model[1:]
		}
	}
	for i := range 300_000 {
		if random.IntN(100) < 50+40*(i/30_000%2)-20 { // it grows, it shrinks, it grows
			data := fmt.Sprint(i, strings.Repeat("x", random.IntN(40)))
			waits := len(model) - len(q.out)
			fits := len(q.out) < direct && waits == 0
			if !fits {
				fits = waits < 3000 && bytes+len(data)+1 <= 100_000
				if fits {
					bytes += len(data) + 1
				}
			}
			q.push(&nats.Msg{Subject: "p.x", Data: []byte(data)})
			if fits {
				model = append(model, data)
			} else {
				rejected++
			}
		} else {
			take()
		}
		if lost != rejected || q.bytes != bytes || len(q.out)+len(q.waiting)-q.head != len(model) {
			t.Fatalf("after %d steps: %d lost, want %d; %d bytes, want %d; %d messages, want %d",
				i, lost, rejected, q.bytes, bytes, len(q.out)+len(q.waiting)-q.head, len(model))
		}
	}
	if rejected == 0 {
		t.Error("nothing was too much")
	}
	for len(model) > 0 {
		take()
	}
}

func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}
