package natsbus

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/hubtest"
	"github.com/wshub-go/wshub/internal/mesh"
)

const toTopics = "wshub.t."

// delivered returns how many messages the server has sent to each subscription of each connection, by its name.
func delivered(t *testing.T, s *server.Server) map[string]map[string]int {
	t.Helper()
	z, err := s.Connz(&server.ConnzOptions{Subscriptions: true, SubscriptionsDetail: true})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]int{}
	for _, c := range z.Conns {
		all[c.Name] = map[string]int{}
		for _, sub := range c.SubsDetail {
			all[c.Name][sub.Subject] = int(sub.Msgs)
		}
	}
	return all
}

// 3,000 sessions on three hubs in 300 topics, of which each hub has members in four of seven: a value crosses to those hubs
// that have members of its topic and to no other, which the server has counted, and each member gets each value once and in
// order.
func TestHubsInterest(t *testing.T) {
	const hubs, sessions, topics, values = 3, 1000, 300, 5
	s := embedded(t, nil)
	buses := make([]cluster.Bus, hubs)
	for i := range buses {
		buses[i] = connect(t, s.ClientURL(), Name(fmt.Sprintf("n%d", i+1)))
	}
	c := hubtest.New(t, buses, wshub.WithPresence(time.Minute, 0))
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprintf("room/%d", i)
	}
	has := func(node, topic int) bool { return (topic%7+1)>>node&1 != 0 } // each set of hubs but the empty one
	for i, n := range c.Nodes {
		var own []string
		for k, name := range names {
			if has(i, k) {
				own = append(own, name)
			}
		}
		for k := range sessions {
			n.Socket(own[k%len(own)], own[(k+1+k%50)%len(own)])
		}
	}
	before := delivered(t, s)
	unwanted := make([]uint64, hubs) // as the hubs met, of one that another had not heard of yet
	for i, n := range c.Nodes {
		unwanted[i] = n.Stats().Bus.Unwanted
	}
	var publishers sync.WaitGroup
	for _, n := range c.Nodes {
		all := make([]*hubtest.Topic, topics)
		for i, name := range names {
			all[i] = n.Topic(name)
		}
		publishers.Go(func() {
			for range values {
				for _, topic := range all {
					n.Publish(topic)
				}
			}
		})
	}
	publishers.Wait()
	c.AwaitReceived(c.Nodes, c.Nodes, names...)
	received, missing := c.Account(names...)
	if want := uint64(hubs * sessions * 2 * hubs * values); received != want || missing != 0 {
		t.Errorf("%d values received, %d missing, want %d", received, missing, want)
	}

	after := delivered(t, s)
	for i, n := range c.Nodes {
		crossed, want := 0, 0
		for k, name := range names {
			subject := toTopics + mesh.Token(name)
			got, listens := after[n.Node()][subject]
			if listens != has(i, k) {
				t.Errorf("%s listens to %q: %v", n.Node(), name, listens)
			}
			crossed += got - before[n.Node()][subject]
			if has(i, k) {
				want += (hubs - 1) * values
			}
		}
		t.Logf("%s: %d of %d published elsewhere have crossed", n.Node(), crossed, (hubs-1)*topics*values)
		if crossed != want {
			t.Errorf("%s: %d values have crossed, want %d", n.Node(), crossed, want)
		}
		if s := n.Stats().Bus; s.Unwanted != unwanted[i] || s.Repeated != 0 || s.Gaps != 0 || s.Failed != 0 {
			t.Errorf("%s: %+v", n.Node(), s)
		}
	}
	// What the hubs say of themselves is what the server says.
	c.Poll("the hubs have counted what the server has", func() bool {
		all := delivered(t, s)
		for _, n := range c.Nodes {
			sum := 0
			for _, msgs := range all[n.Node()] {
				sum += msgs
			}
			if n.Stats().Bus.Received != uint64(sum) {
				return false
			}
		}
		return true
	})
}

// A value costs at most 64 bytes on the bus beside its payload, with a key, and when thousands were published before it.
func TestHubsBytes(t *testing.T) {
	const values, size, allowed = 20_000, 128, 64
	s := embedded(t, nil)
	spy, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer spy.Close()
	seen, err := spy.SubscribeSync(toTopics + ">")
	if err != nil {
		t.Fatal(err)
	}
	seen.SetPendingLimits(-1, -1)
	spy.Flush()
	hub, err := wshub.New(wshub.WithBus(connect(t, s.ClientURL())))
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	for _, test := range []struct {
		name    string
		options []wshub.TopicOption[string]
	}{
		{"plain", nil},
		{"text key", []wshub.TopicOption[string]{wshub.KeyBy(func(v string) string { return v[:15] })}},
		{"number key", []wshub.TopicOption[string]{wshub.KeyBy(func(v string) int64 { return -int64(v[0]) })}},
	} {
		topic, err := wshub.NewTopic(hub, test.name, wshub.Policy{}, test.options...)
		if err != nil {
			t.Fatal(err)
		}
		most, all := 0, 0
		for i := range values {
			if err := topic.Publish(context.Background(), fmt.Sprintf("%-*d", size, int64(1e14)+int64(i))); err != nil {
				t.Fatal(err)
			}
			if i%1000 < 999 {
				continue
			}
			for range 1000 { // before the outbox is full
				m, err := seen.NextMsg(patience)
				if err != nil {
					t.Fatal(err)
				}
				most = max(most, len(m.Data))
				all += len(m.Data)
			}
		}
		t.Logf("%s: at most %d bytes for %d, %.1f on average", test.name, most, size, float64(all)/values)
		if most > size+allowed {
			t.Errorf("%s: a value of %d bytes is %d on the bus", test.name, size, most)
		}
	}
}
