package wshub_test

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/wshubtest"
)

// nodes returns hubs on one broker, with the ids n1, n2, ..., which know of each other. Their buses have the same names.
func nodes(t *testing.T, n int, opts ...wshub.Option) (*cluster.Memory, []*wshub.Hub) {
	t.Helper()
	m := cluster.NewMemory()
	t.Cleanup(m.Close)
	hubs := make([]*wshub.Hub, n)
	for i := range hubs {
		hubs[i], _ = newNode(t, m, "n"+strconv.Itoa(i+1), opts...)
	}
	acquaint(t, hubs...)
	return m, hubs
}

// newNode returns a hub on a broker, and its bus, which has the hub's id for a name.
func newNode(t *testing.T, m *cluster.Memory, id string, opts ...wshub.Option) (*wshub.Hub, *cluster.MemoryBus) {
	t.Helper()
	bus := m.Connect(id)
	return newHub(t, append([]wshub.Option{wshub.WithBus(bus), wshub.WithNode(id), wshub.WithLogger(nil)}, opts...)...), bus
}

// acquaint waits until each of the hubs knows the others.
func acquaint(t *testing.T, hubs ...*wshub.Hub) {
	t.Helper()
	for range 100 {
		synctest.Wait()
		known := true
		for _, h := range hubs {
			known = known && h.Health().Nodes >= len(hubs)
		}
		if known {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, h := range hubs {
		t.Errorf("%s knows %d nodes", h.Node(), h.Health().Nodes)
	}
	t.FailNow()
}

// topics returns a topic of the same definition on each hub.
func topics[T any](t *testing.T, hubs []*wshub.Hub, name string, p wshub.Policy, opts ...wshub.TopicOption[T]) []wshub.Topic[T] {
	t.Helper()
	all := make([]wshub.Topic[T], len(hubs))
	for i, h := range hubs {
		all[i] = newTopic(t, h, name, p, opts...)
	}
	return all
}

// client returns one session of a hub, and its client.
func client(t *testing.T, h *wshub.Hub, opts ...wshubtest.DialOption) (*wshub.Session, *wshubtest.Client) {
	t.Helper()
	ss, cc := sessions(t, h, 1, opts...)
	return ss[0], cc[0]
}

// counted returns "from", ..., "to".
func counted(from, to int) []string {
	var s []string
	for i := from; i <= to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}
