package wshub_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// simNetwork is what is wrong with the network. The driver has it.
type simNetwork struct {
	s           *sim
	hostile     bool // the bus may do what no bus may
	faults      cluster.Faults
	partitioned bool
	brokerDown  bool
	cut, down   map[*simNode]bool
	healed      time.Time
	agreed      time.Time // when the nodes last knew all
}

func (w *simNetwork) init(s *sim) {
	w.s = s
	w.hostile = s.r.IntN(2) == 0
	w.cut, w.down = map[*simNode]bool{}, map[*simNode]bool{}
	w.healed, w.agreed = time.Now(), time.Now()
}

// calm reports whether nothing is wrong, and nothing that was is under way.
func (w *simNetwork) calm() bool {
	return w.faults == cluster.Faults{} && !w.partitioned && !w.brokerDown && len(w.cut)+len(w.down) == 0 && w.s.memory.Stats().Delayed == 0
}

// known reports whether it has been calm for so long that the nodes know each other.
func (w *simNetwork) known() bool { return w.calm() && time.Since(w.healed) > w.s.settle() }

// up reports whether a node can publish.
func (w *simNetwork) up(n *simNode) bool { return !w.brokerDown && !w.down[n] }

// change has something else be wrong, or nothing.
func (w *simNetwork) change(s *sim) {
	s.moment()
	switch k := s.r.IntN(20); {
	case k < 6:
		s.trace("heal")
		w.heal()
	case k < 10:
		w.partition()
	case k < 12:
		n := s.node()
		w.cut[n] = true
		s.trace("cut %s", n.id)
		n.bus.Cut()
	case k < 14:
		n := s.node()
		w.down[n] = true
		s.trace("down %s", n.id)
		n.bus.Down()
	case k < 15:
		w.brokerDown = true
		s.trace("broker down")
		s.memory.Down()
	case k < 17:
		w.brokerDown = false
		s.trace("broker up, all mended")
		s.memory.Up()
		for n := range w.cut {
			n.bus.Mend()
		}
		clear(w.cut)
	default:
		defer func() { s.trace("faults %+v", w.faults) }()
		w.faults = cluster.Faults{MaxDelay: time.Duration(s.r.Int64N(int64(s.interval / 4)))}
		w.faults.MinDelay = time.Duration(s.r.Float64() * float64(w.faults.MaxDelay))
		switch s.r.IntN(3) {
		case 0:
			w.faults.Drop = 0.02
		case 1:
			w.faults.Drop = 0.3
		}
		if w.hostile && s.r.IntN(2) == 0 {
			w.faults.Duplicate, w.faults.Reorder = 0.1, 0.1
		}
		s.memory.SetFaults(w.faults)
	}
}

// partition splits the network into two to four parts, or cuts a few places off.
func (w *simNetwork) partition() {
	s := w.s
	groups := make([][]string, 1+s.r.IntN(3))
	few := s.r.IntN(2) == 0
	for i := range s.places {
		g := s.r.IntN(len(groups) + 1)
		if few {
			g = s.r.IntN(10 * len(groups))
		}
		if g < len(groups) {
			groups[g] = append(groups[g], "p"+strconv.Itoa(i))
		}
	}
	w.partitioned = true
	s.trace("partition %q", groups)
	s.memory.Partition(groups...)
}

// heal ends all that is wrong. What is delayed still is.
func (w *simNetwork) heal() {
	m := w.s.memory
	m.SetFaults(cluster.Faults{})
	m.Partition()
	m.Up()
	for n := range w.cut {
		n.bus.Mend()
	}
	for n := range w.down {
		n.bus.Up()
	}
	w.faults, w.partitioned, w.brokerDown = cluster.Faults{}, false, false
	clear(w.cut)
	clear(w.down)
	w.healed = time.Now()
}

// settle returns after how long all that is wrong is known to all.
func (s *sim) settle() time.Duration { return 4*s.interval + 5*time.Second + s.grace }

// heal ends all that is wrong, and waits until everybody knows what is so.
func (s *sim) heal() {
	s.moment()
	s.trace("heal, and settle")
	s.network.heal()
	if s.r.IntN(3) == 0 { // else heartbeats alone have to tell of what was lost last
		for range 10 {
			s.publish(s.publisher(), s.r.IntN(simTopics+1))
		}
	}
	time.Sleep(s.settle())
	s.asking.Wait()
	s.moment()
	s.network.agreed = time.Now()
}

// endNode ends a node unless few are left: as kill -9 does, or by itself.
func (s *sim) endNode(n *simNode, kill bool) {
	if len(slices.DeleteFunc(slices.Clone(s.places), func(n *simNode) bool { return n == nil })) > len(s.places)/2 {
		s.over(n, kill)
	}
}

// over ends a node.
func (s *sim) over(n *simNode, kill bool) {
	s.moment()
	s.trace("%s is over, killed: %t", n.id, kill)
	s.places[n.place] = nil
	n.over = true
	if kill {
		n.stats = n.Stats()
		n.bus.Kill()
		n.Close()
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			s.t.Errorf("shutdown: %v", err)
		}
		n.stats = n.Stats()
	}
	synctest.Wait()
	if !kill && s.network.calm() { // it has said goodbye
		for _, other := range s.places {
			if other == nil {
				continue
			}
			for i := range other.Nodes() {
				if i.ID == n.id && s.byID[n.id] == 1 {
					s.t.Errorf("%s still knows %s", other.id, n.id)
				}
			}
		}
	}
	delete(s.network.cut, n)
	delete(s.network.down, n)
	s.network.healed = time.Now() // others have to find out
	synctest.Wait()
	for i := len(s.sessions) - 1; i >= 0; i-- {
		if s.sessions[i].node == n {
			s.ended(s.sessions[i])
		}
	}
	for i := len(s.streams) - 1; i >= 0; i-- {
		if s.streams[i].node == n {
			s.closeStream(s.streams[i])
		}
	}
	for _, l := range s.listeners {
		if l.node == n && l.to == never {
			s.t.Errorf("somebody listens on a node that is over")
		}
	}
}

// restart starts a node at an empty place, with the id of the one that was there, or another.
func (s *sim) restart() {
	for i, n := range s.places {
		if n != nil {
			continue
		}
		s.moment()
		id := "n" + strconv.Itoa(i)
		if s.r.IntN(3) > 0 {
			id += "-" + strconv.Itoa(len(s.nodes))
		}
		s.start(i, id)
		s.network.healed = time.Now()
		return
	}
}

// take notes a value that has arrived.
func (l *simListener) take(t *testing.T, text string) {
	f := strings.Fields(text)
	if len(f) != 4 || f[0] != "v" || f[1] != strconv.Itoa(l.topic) {
		t.Errorf("topic %d got %q", l.topic, text)
		return
	}
	node, _ := strconv.Atoi(f[2])
	number, _ := strconv.ParseUint(f[3], 10, 64)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, simRef{node, number})
}

// drain takes what a session's client has got.
func (s *sim) drain(ss *simSession) {
	for _, m := range ss.c.Take() {
		text := string(m.Data)
		if id, ok := strings.CutPrefix(text, "d "); ok {
			i, _ := strconv.Atoi(id)
			ss.received[i]++
			continue
		}
		topic := 0
		if len(text) > 2 {
			topic = int(text[2] - '0')
		}
		if topic < 0 || topic > simEveryone || ss.in[topic] == nil {
			s.t.Errorf("a session got %q, which is not for it", text)
			continue
		}
		ss.in[topic].take(s.t, text)
	}
}
