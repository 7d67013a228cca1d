package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/wshubtest"
)

// Sessions join, leave and end on nodes that come, go, are killed and do not hear each other, while watchers come and go.
// At any time what a watcher was told adds up, and a while after all hear each other again it is the truth, as are counts.
func TestPresenceClusterModel(t *testing.T) {
	for seed := range uint64(24) {
		for _, grace := range []time.Duration{0, grace} {
			t.Run(fmt.Sprintf("seed %d grace %v", seed, grace), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { newPresenceWorld(t, seed, grace).run() })
			})
		}
	}
}

// presenceWorld is a cluster and the truth about it. One goroutine has it.
type presenceWorld struct {
	t      *testing.T
	rng    *rand.Rand
	memory *cluster.Memory
	grace  time.Duration
	nodes  []*presenceNode
	users  int
}

type presenceNode struct {
	*attendee
	sessions []*presenceSession
	models   []*model
}

type presenceSession struct {
	s *wshub.Session
	c *wshubtest.Client
}

func newPresenceWorld(t *testing.T, seed uint64, grace time.Duration) *presenceWorld {
	w := &presenceWorld{t: t, rng: rand.New(rand.NewPCG(seed, 1)), memory: newMemory(t, cluster.WithSeed(seed)), grace: grace, users: 6}
	for i := range 3 + w.rng.IntN(2) {
		w.nodes = append(w.nodes, w.node(nodeName(i)))
	}
	return w
}

// node begins a node, whose members have data or not.
func (w *presenceWorld) node(name string) *presenceNode {
	w.t.Helper()
	var opts []wshub.Option
	if w.rng.IntN(2) == 0 {
		opts = append(opts, withData(name))
	}
	return &presenceNode{attendee: newAttendee(w.t, w.memory, name, w.grace, opts...)}
}

func nodeName(i int) string { return "n" + strconv.Itoa(i) }

func (w *presenceWorld) run() {
	for range 3 {
		for range 150 {
			w.step()
			if w.rng.IntN(3) > 0 {
				time.Sleep(time.Duration(w.rng.Int64N(int64(interval))))
			}
		}
		w.heal()
		if w.t.Failed() {
			return
		}
	}
}

func (w *presenceWorld) step() {
	i := w.rng.IntN(len(w.nodes))
	n := w.nodes[i]
	switch w.rng.IntN(24) {
	case 0, 1, 2, 3, 4:
		s, c := userSession(w.t, n.Hub, w.user())
		n.sessions = append(n.sessions, &presenceSession{s, c})
		w.join(n, s)
	case 5, 6, 7, 8:
		if len(n.sessions) > 0 {
			w.join(n, n.sessions[w.rng.IntN(len(n.sessions))].s)
		}
	case 9, 10, 11:
		if len(n.sessions) > 0 {
			n.room.Leave(n.sessions[w.rng.IntN(len(n.sessions))].s)
		}
	case 12, 13, 14:
		if k := len(n.sessions); k > 0 {
			k = w.rng.IntN(k)
			end(n.sessions[k].s, n.sessions[k].c)
			n.sessions = slices.Delete(n.sessions, k, k+1)
		}
	case 15, 16, 17:
		n.models = append(n.models, watch(w.t, n.room.Watch(context.Background())))
	case 18:
		if k := len(n.models); k > 0 {
			k = w.rng.IntN(k)
			n.models[k].stream.Close()
			n.models = slices.Delete(n.models, k, k+1)
		}
	case 19:
		var group []string
		for j := range w.nodes {
			if w.rng.IntN(2) == 0 {
				group = append(group, nodeName(j))
			}
		}
		w.memory.Partition(group)
	case 20, 21:
		w.memory.Partition()
		w.memory.Up()
		w.memory.SetFaults(cluster.Faults{})
	case 22:
		switch w.rng.IntN(3) {
		case 0:
			w.memory.Down()
		case 1:
			w.memory.SetFaults(cluster.Faults{Drop: 0.2, MaxDelay: interval / 10})
		case 2:
			w.memory.SetFaults(cluster.Faults{Drop: 0.05, Duplicate: 0.2, Reorder: 0.2, MaxDelay: interval / 5})
		}
	case 23:
		w.restart(i)
	}
}

// user returns one of a few, or none.
func (w *presenceWorld) user() string {
	if u := w.rng.IntN(w.users); u > 0 {
		return "user" + strconv.Itoa(u)
	}
	return ""
}

func (w *presenceWorld) join(n *presenceNode, s *wshub.Session) {
	w.t.Helper()
	if err := n.room.Join(context.Background(), s); err != nil && !errors.Is(err, wshub.ErrAlreadyMember) {
		w.t.Error(err)
	}
}

// restart ends a node, gently or not, and begins another one of its name.
func (w *presenceWorld) restart(i int) {
	n := w.nodes[i]
	if w.rng.IntN(2) == 0 {
		n.kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		w.t.Error(err)
	}
	w.nodes[i] = w.node(nodeName(i))
}

// heal ends all faults, lets everybody hear of it, and compares what is known with the truth.
func (w *presenceWorld) heal() {
	w.t.Helper()
	w.memory.Partition()
	w.memory.Up()
	w.memory.SetFaults(cluster.Faults{})
	for _, n := range w.nodes {
		n.models = append(n.models, watch(w.t, n.room.Watch(context.Background())))
	}
	time.Sleep(2*settled + w.grace)
	synctest.Wait()
	var there []*wshub.Session
	for _, n := range w.nodes {
		there = slices.AppendSeq(there, n.room.Members())
	}
	truth := idsOf(there...)
	for _, n := range w.nodes {
		for _, m := range n.models {
			if got := m.known(); !slices.Equal(got, truth) {
				w.t.Errorf("%s has watched %q, want %q", n.Node(), got, truth)
			}
			if err := m.stream.Err(); err != nil {
				w.t.Error(err)
			}
		}
		n.check(w.t, there...)
		for _, m := range n.models {
			m.stream.Close()
		}
		n.models = nil
		n.check(w.t, there...)
	}
}
