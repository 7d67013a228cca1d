package wshub_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/wshubtest"
)

var (
	simSeeds = flag.Int("cluster.seeds", 0, "how many simulations of a cluster to run; 0: a hundred, with the race detector a few")
	simFirst = flag.Uint64("cluster.first", 1, "the seed of the first")
	simNodes = flag.Int("cluster.nodes", 50, "nodes in each")
	simOps   = flag.Int("cluster.ops", 90, "operations in each of its rounds")
)

const (
	simTopics   = 4
	simSure     = 1         // of the topics, the one with RequireBus
	simEveryone = simTopics // the index of Hub.Everyone among the topics
	simUsers    = 8
	simRounds   = 2

	// simTrouble is for how long something may be wrong: nodes tell the last numbers of what they have published in the last
	// minute.
	simTrouble = 40 * time.Second
)

// TestClusterSimulation drives a cluster in fake time: sessions that come, join, leave and go, values, messages, watches and
// lists, on a network that loses, delays, repeats, reorders, is cut into parts and goes away, with nodes that are killed,
// shut down and started again. A while after the network has healed, what every node knows is compared with the truth, and
// every value with the account of who got it. The driver is one goroutine and does one thing at a time; then it waits
// until nothing moves, so that it knows who was to get what.
func TestClusterSimulation(t *testing.T) {
	seeds := uint64(*simSeeds)
	if seeds == 0 {
		if seeds = 100; wshub.RaceEnabled {
			seeds = 3
		}
	}
	for seed := *simFirst; seed < *simFirst+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newSim(t, seed).run() })
		})
	}
}

// sim is a cluster and the truth about it. The driver has it.
type sim struct {
	t        *testing.T
	r        *rand.Rand
	memory   *cluster.Memory
	network  simNetwork
	interval time.Duration
	grace    time.Duration
	options  []wshub.Option

	began     time.Time
	now       atomic.Int64 // the moment: grows with each thing that is done
	places    []*simNode
	nodes     []*simNode // all there ever were
	byID      map[string]int
	values    [simTopics + 1][]simValue
	direct    []simDirect
	sessions  []*simSession // those that are there
	past      []*simSession // those that were
	streams   []*simStream  // likewise
	listeners []*simListener
	asking    sync.WaitGroup // calls of Present

	account simAccount

	tracing sync.Mutex
	traced  []string // guarded by tracing
}

// simNode is a process of the cluster.
type simNode struct {
	*wshub.Hub
	sim     *sim
	index   int // among all there ever were
	place   int
	id      string
	bus     *cluster.MemoryBus
	topics  [simTopics]wshub.Topic[string]
	numbers [simTopics + 1]uint64 // the last that it has given
	models  [simTopics][]*model

	refused uint64 // values that the bus was asked about and did not take

	over  bool
	stats wshub.HubStats // when it was over

	mu   sync.Mutex // guards what observers write
	gaps [simTopics + 1][]simGap
	told struct{ gaps, missing, failed uint64 }
}

// simGap is one that a node has reported.
type simGap struct {
	origin   string
	from, to uint64
	at       int
}

// simValue is a value that was published.
type simValue struct {
	node   int
	number uint64
	at     int
	calm   bool // nothing was wrong with the network: whoever listened got it
	failed bool // it was refused
}

// simDirect is a message to some sessions.
type simDirect struct {
	calm bool
	user string        // "" for one session
	to   []*simSession // who was there
}

// simRef names a value of some topic.
type simRef struct {
	node   int
	number uint64
}

// simListener is a membership of a session, or a stream.
type simListener struct {
	node     *simNode
	topic    int
	from, to int // moments; to is never while it lasts

	mu  sync.Mutex
	got []simRef // guarded by mu
}

const never = int(^uint(0) >> 1)

type simSession struct {
	*wshub.Session
	c        *wshubtest.Client
	node     *simNode
	user     string
	in       [simTopics + 1]*simListener
	received map[int]int // direct messages, how often
}

type simStream struct {
	*wshub.Stream[string]
	*simListener
}

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{t: t, r: rand.New(rand.NewPCG(seed, 5)), byID: map[string]int{}, began: time.Now()}
	s.memory = newMemory(t, cluster.WithSeed(seed))
	s.interval = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second}[s.r.IntN(3)]
	if s.r.IntN(3) == 0 {
		s.grace = 3 * time.Second
	}
	if s.r.IntN(4) == 0 {
		s.options = append(s.options, wshub.WithSigning([]byte("a key of the simulation")))
	}
	s.network.init(s)
	s.places = make([]*simNode, *simNodes)
	for i := range s.places {
		s.start(i, "n"+strconv.Itoa(i))
	}
	time.Sleep(2 * time.Second)
	synctest.Wait()
	return s
}

// start starts a node at a place that is empty.
func (s *sim) start(place int, id string) {
	n := &simNode{sim: s, index: len(s.nodes), place: place, id: id, bus: s.memory.Connect("p" + strconv.Itoa(place))}
	n.Hub = newHub(s.t, append([]wshub.Option{
		byPath, wshub.WithLogger(nil), wshub.WithNode(id), wshub.WithBus(n.bus), wshub.WithPresence(s.interval, s.grace),
		wshub.WithObserver(wshub.Observer{Gap: n.gap, Bus: n.busEvent}),
	}, s.options...)...)
	for i := range n.topics {
		var p wshub.Policy
		if i == simSure {
			p = wshub.RequireBus()
		}
		n.topics[i] = newTopic[string](s.t, n.Hub, "topic"+strconv.Itoa(i), p)
	}
	s.nodes = append(s.nodes, n)
	s.byID[id]++
	s.places[place] = n
	s.trace("%s starts", id)
}

func (n *simNode) gap(e wshub.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	topic := simEveryone
	if e.Topic != "" {
		topic = int(e.Topic[len("topic")] - '0')
	}
	n.sim.trace("%s: gap of %q in topic %d, %d to %d", n.id, e.Origin, topic, e.From, e.To)
	n.gaps[topic] = append(n.gaps[topic], simGap{e.Origin, e.From, e.To, n.sim.at()})
	n.told.gaps++
	n.told.missing += e.N
	if e.N != e.To-e.From+1 {
		n.sim.t.Errorf("a gap of %d: %+v", e.N, e)
	}
}

func (n *simNode) busEvent(e wshub.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told.failed += e.N
}

func (s *sim) run() {
	defer func() {
		if s.t.Failed() {
			s.t.Log(strings.Join(s.traced, "\n"))
		}
	}()
	for range simRounds {
		for range *simOps {
			s.step()
			synctest.Wait()
			switch k := s.r.IntN(100); {
			case k < 4:
				time.Sleep(time.Duration(s.r.Int64N(int64(5 * s.interval))))
			case k < 60:
				time.Sleep(time.Duration(s.r.Int64N(int64(s.interval / 5))))
			}
			synctest.Wait()
			if time.Since(s.network.agreed) > simTrouble {
				s.heal()
			}
		}
		s.heal()
		s.check()
		if s.t.Failed() {
			return
		}
	}
	s.end()
}

// moment begins something. What waits for nothing is done, and the driver's.
func (s *sim) moment() int {
	synctest.Wait()
	return int(s.now.Add(1))
}

// at returns the moment of the last thing that was begun.
func (s *sim) at() int { return int(s.now.Load()) }

// trace notes what happens. A test that fails tells it: a seed does not decide how goroutines take turns, and what chance
// does to nodes, so that the same may not happen again.
func (s *sim) trace(format string, args ...any) {
	s.tracing.Lock()
	defer s.tracing.Unlock()
	s.traced = append(s.traced, fmt.Sprintf("%v %d ", time.Since(s.began), s.at())+fmt.Sprintf(format, args...))
}

func (s *sim) step() {
	switch k := s.r.IntN(100); {
	case k < 12:
		s.dial()
	case k < 24:
		s.join()
	case k < 30:
		s.leave()
	case k < 35:
		if ss := s.session(); ss != nil {
			s.endSession(ss)
		}
	case k < 41:
		s.subscribe()
	case k < 44:
		if len(s.streams) > 0 {
			s.closeStream(s.streams[s.r.IntN(len(s.streams))])
		}
	case k < 48:
		s.watch()
	case k < 50:
		s.unwatch()
	case k < 52:
		s.ask()
	case k < 74:
		n, topic := s.publisher(), s.r.IntN(simTopics)
		for range 1 + s.r.IntN(10) {
			s.publish(n, topic)
		}
	case k < 78:
		s.publish(s.publisher(), simEveryone)
	case k < 82:
		s.send()
	case k < 83:
		s.kick()
	case k < 92:
		s.network.change(s)
	case k < 94:
		s.endNode(s.node(), true)
	case k < 96:
		s.endNode(s.node(), false)
	default:
		s.restart()
	}
}

// node returns one that is there.
func (s *sim) node() *simNode {
	for {
		if n := s.places[s.r.IntN(len(s.places))]; n != nil {
			return n
		}
	}
}

// publisher returns one of a few, most of the time, so that others have heard of it when something is lost.
func (s *sim) publisher() *simNode {
	if n := s.places[s.r.IntN(min(len(s.places), 6))]; n != nil && s.r.IntN(8) > 0 {
		return n
	}
	return s.node()
}

// session returns one that is there, nil when there is none.
func (s *sim) session() *simSession {
	if len(s.sessions) == 0 {
		return nil
	}
	return s.sessions[s.r.IntN(len(s.sessions))]
}

func (s *sim) dial() {
	n := s.node()
	ss := &simSession{node: n, received: map[int]int{}}
	if u := s.r.IntN(simUsers); u > 0 {
		ss.user = "user" + strconv.Itoa(u)
	}
	s.moment()
	ss.Session, ss.c = userSession(s.t, n.Hub, ss.user)
	synctest.Wait()
	s.listen(ss, simEveryone)
	s.sessions = append(s.sessions, ss)
	for range s.r.IntN(3) {
		s.joinTopic(ss, s.r.IntN(simTopics))
	}
}

// listen notes that a session gets a topic's values from now on.
func (s *sim) listen(ss *simSession, topic int) {
	ss.in[topic] = &simListener{node: ss.node, topic: topic, from: s.moment(), to: never}
	s.listeners = append(s.listeners, ss.in[topic])
}

func (s *sim) join() {
	if ss := s.session(); ss != nil {
		s.joinTopic(ss, s.r.IntN(simTopics))
	}
}

func (s *sim) joinTopic(ss *simSession, topic int) {
	s.moment()
	err := ss.node.topics[topic].Join(context.Background(), ss.Session)
	if is := ss.in[topic] != nil; is != errors.Is(err, wshub.ErrAlreadyMember) || !is && err != nil {
		s.t.Errorf("join: %v, was a member: %v", err, is)
	}
	if err == nil {
		s.listen(ss, topic)
	}
}

func (s *sim) leave() {
	ss := s.session()
	if ss == nil {
		return
	}
	topic := s.r.IntN(simTopics)
	if ss.in[topic] == nil {
		return
	}
	s.moment()
	if err := ss.node.topics[topic].Leave(ss.Session); err != nil {
		s.t.Errorf("leave: %v", err)
	}
	s.gone(ss, topic)
}

// gone notes that a session has left a topic.
func (s *sim) gone(ss *simSession, topic int) {
	synctest.Wait()
	s.drain(ss)
	ss.in[topic].to = s.at()
	ss.in[topic] = nil
}

func (s *sim) endSession(ss *simSession) {
	s.moment()
	switch s.r.IntN(3) {
	case 0:
		ss.c.Abort()
	case 1:
		ss.c.Close(1000, "")
	case 2:
		ss.Close(4000, "over")
	}
	s.ended(ss)
}

// ended notes that a session has ended, which it has or is about to.
func (s *sim) ended(ss *simSession) {
	<-ss.Done()
	synctest.Wait()
	s.drain(ss)
	for _, l := range ss.in {
		if l != nil {
			l.to = s.at()
		}
	}
	ss.in = [len(ss.in)]*simListener{}
	s.sessions = slices.DeleteFunc(s.sessions, func(other *simSession) bool { return other == ss })
	s.past = append(s.past, ss)
}

func (s *sim) subscribe() {
	n, topic := s.node(), s.r.IntN(simTopics)
	s.moment()
	st := &simStream{n.topics[topic].Subscribe(context.Background()), &simListener{node: n, topic: topic, from: s.at(), to: never}}
	go func() { // ends with the stream
		for text := range st.C() {
			st.take(s.t, text)
		}
	}()
	s.streams = append(s.streams, st)
	s.listeners = append(s.listeners, st.simListener)
}

func (s *sim) closeStream(st *simStream) {
	s.moment()
	st.Close()
	synctest.Wait()
	st.to = s.at()
	s.checkStream(st)
	s.streams = slices.DeleteFunc(s.streams, func(other *simStream) bool { return other == st })
}

func (s *sim) watch() {
	n, topic := s.node(), s.r.IntN(simTopics)
	n.models[topic] = append(n.models[topic], watch(s.t, n.topics[topic].Watch(context.Background())))
}

func (s *sim) unwatch() {
	n := s.node()
	for topic, models := range n.models {
		for _, m := range models {
			m.stream.Close()
		}
		n.models[topic] = nil
	}
}

// ask has a node ask who is in a topic, which may take longer than other things.
func (s *sim) ask() {
	n, topic := s.node(), s.r.IntN(simTopics)
	s.asking.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.interval)
		defer cancel()
		list, err := n.topics[topic].Present(ctx)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, cluster.ErrClosed) && !errors.Is(err, wshub.ErrClosed) {
			s.t.Errorf("present: %v", err)
		}
		if got := ids(list); len(slices.Compact(got)) != len(list) {
			s.t.Errorf("somebody is there twice: %q", got)
		}
	})
}

func (s *sim) publish(n *simNode, topic int) {
	v := simValue{node: n.index, number: n.numbers[topic] + 1, at: s.moment(), calm: s.network.calm()}
	n.numbers[topic]++
	s.trace("%s publishes %d in topic %d, calm: %t", n.id, v.number, topic, v.calm)
	text := fmt.Sprintf("v %d %d %d", topic, v.node, v.number)
	if topic == simEveryone {
		if err := n.Everyone().Send(context.Background(), wshub.Text(text)); err != nil {
			s.t.Errorf("send to everyone: %v", err)
		}
	} else if err := n.topics[topic].Publish(context.Background(), text); err != nil {
		if v.failed = topic == simSure && errors.Is(err, wshub.ErrBus) && !s.network.up(n); !v.failed {
			s.t.Errorf("publish: %v", err)
		}
		n.refused++
	}
	s.values[topic] = append(s.values[topic], v)
	synctest.Wait()
}

// send sends to a user or to a session.
func (s *sim) send() {
	ss := s.session()
	if ss == nil {
		return
	}
	n := s.node()
	s.moment()
	d := simDirect{calm: s.network.calm(), to: []*simSession{ss}}
	to := n.To(ss.ID())
	if ss.user != "" && s.r.IntN(2) == 0 {
		to, d.user, d.to = n.User(ss.user), ss.user, s.ofUser(ss.user)
	}
	err := to.Send(context.Background(), wshub.Text("d "+strconv.Itoa(len(s.direct))))
	if err != nil && (d.calm && s.network.known() || !errors.Is(err, wshub.ErrNoSession)) { // its node may not be known
		s.t.Errorf("send: %v", err)
	}
	d.calm = d.calm && err == nil
	s.direct = append(s.direct, d)
	synctest.Wait()
}

func (s *sim) ofUser(user string) (list []*simSession) {
	for _, ss := range s.sessions {
		if ss.user == user {
			list = append(list, ss)
		}
	}
	return list
}

// kick closes all sessions of a user, or takes them out of a topic, while nothing is wrong with the network.
func (s *sim) kick() {
	ss := s.session()
	if ss == nil || ss.user == "" || !s.network.calm() {
		return
	}
	n, all := s.node(), s.ofUser(ss.user)
	s.moment()
	if s.r.IntN(2) == 0 {
		if err := n.User(ss.user).Close(context.Background(), 4001, "kicked"); err != nil {
			s.t.Errorf("kick: %v", err)
		}
		for _, ss := range all {
			s.ended(ss)
		}
		return
	}
	topic := s.r.IntN(simTopics)
	if err := n.User(ss.user).Leave(context.Background(), n.topics[topic].Name()); err != nil {
		s.t.Errorf("leave of a user: %v", err)
	}
	synctest.Wait()
	for _, ss := range all {
		if ss.in[topic] != nil {
			if ss.node.topics[topic].Has(ss.Session) {
				s.t.Errorf("%s was not taken out of topic %d", ss.ID(), topic)
			}
			s.gone(ss, topic)
		}
	}
}
