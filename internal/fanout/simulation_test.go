package fanout

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
)

var (
	simSeeds = flag.Int("sim.seeds", 0, "how many simulations to run; 0: a few")
	simFirst = flag.Uint64("sim.first", 1, "the seed of the first")
	simOps   = flag.Int("sim.ops", 3000, "operations in each")
)

// TestSimulation drives an engine with random topics, rules, filters, exceptions, joins, leaves, ends, stalls and direct
// sends, in fake time, and compares with a model that knows what was published and what arrived. The driver is one
// goroutine, so it knows exactly what each member was offered; the engine's workers run beside it.
func TestSimulation(t *testing.T) {
	seeds := uint64(*simSeeds)
	if seeds == 0 {
		if seeds = 6; raceEnabled {
			seeds = 3
		}
	}
	for seed := *simFirst; seed < *simFirst+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, Config{MailboxCount: 16, WriteTimeout: 5 * time.Second, Workers: 1 + int(seed%3)}, func(t *testing.T, e *Engine) {
				s := newSim(t, e, seed)
				s.run(*simOps)
			})
		})
	}
}

type sim struct {
	t      *testing.T
	e      *Engine
	r      *rand.Rand
	topics []*simTopic
	subs   []*simSub
	ended  []*simSub // replaced by others
	g      int       // numbers everything published and sent
	sent   uint64    // direct messages accepted
}

type simTopic struct {
	*Topic
	id      int
	values  []simValue
	members []*simMember // all there ever were
}

type simValue struct {
	g, topic, key int // topic -1: direct; key 0: none
	except, only  []uint64
}

// text is the value as published.
func (v simValue) text() string { return fmt.Sprintf("%d.%d.%d", v.g, v.topic, v.key) }

type simMember struct {
	*Member
	sub     *simSub
	topic   *simTopic
	rule    *Rule
	mod     int   // filter: g%mod != 0; 0: no filter
	replay  []int // indices of the values replayed
	join    int   // index of the first value offered
	end     int   // index after the last; -1: not known to the driver
	live    bool
	updated bool // rules of more than one kind: only the account is compared
	atLeave int  // values received when Leave had returned; -1: has not left
}

type simSub struct {
	*client
	members []*simMember
	stalled bool
	sealed  int // value of sim.g at Seal; 0: not sealed
	over    bool
	direct  []int
	frames  int // parsed of conn.frames
	got     []simValue
	batch   []int // got[i] arrived in the batch[i]th frame
}

var simRules = []*Rule{
	{N: 1 << 20, Age: time.Hour},
	{N: 1 << 20, Age: time.Hour},
	{N: 1 << 20, Age: time.Hour, Pack: true, Sep: "|"},
	{N: 20, Age: 250 * time.Millisecond},
	{N: 1000, MaxBytes: 200, Age: 100 * time.Millisecond},
	{Overflow: DropOldest, N: 5},
	{Overflow: DropOldest, N: 1 << 20, MaxBytes: 100},
	{Overflow: DropOldest, N: 50, Limit: 20, Burst: 3},
	{Overflow: DropOldest, N: 50, Flush: 70 * time.Millisecond, Pack: true, Sep: "|"},
	{Overflow: DropNewest, N: 5},
	{Overflow: DropNewest, N: 50, MaxBytes: 100, ByteLimit: 1000, ByteBurst: 100},
	{Overflow: Block, N: 30, Age: 200 * time.Millisecond},
	{Coalesce: true, N: 1},
	{Coalesce: true, N: 1, Pack: true, Sep: "|"},
	{Coalesce: true, N: 1, Limit: 50, Burst: 1},
	{Coalesce: true, N: 1, Flush: 50 * time.Millisecond},
	{Coalesce: true, N: 1, Flush: 30 * time.Millisecond, Limit: 100, Burst: 10, ByteLimit: 2000, ByteBurst: 200},
}

func newSim(t *testing.T, e *Engine, seed uint64) *sim {
	s := &sim{t: t, e: e, r: rand.New(rand.NewPCG(seed, 1)), g: 1}
	for i := range 10 {
		cfg := TopicConfig{MaxPending: 1 << 16, MaxBytes: 1 << 30, MaxKeys: 1 << 16}
		switch i {
		case 1:
			cfg.MaxPending = 40
		case 2:
			cfg.MaxBytes = 500
		case 3:
			cfg.History = 10
		case 4:
			cfg.History, cfg.HistoryByKey = 4, true
		case 5:
			cfg.MaxMembers = 20
		}
		s.topics = append(s.topics, &simTopic{Topic: e.NewTopic(cfg), id: i})
	}
	n := 20 + s.r.IntN(100)
	if seed%5 == 0 {
		n = 1500
	}
	for range n {
		s.subs = append(s.subs, s.newSub())
	}
	return s
}

func (s *sim) newSub() *simSub {
	c := &simSub{client: newClient(s.e)}
	if s.r.IntN(3) == 0 {
		c.conn.compress = true
		c.conn.threshold = 1 << 20
	}
	for range s.r.IntN(4) {
		s.join(c)
	}
	return c
}

// wide members are in very many topics; their extra topics are quiet.
func (s *sim) widen(c *simSub) {
	for range manySubs + 1 {
		c.join(s.t, newTopic(s.e), lossless)
	}
}

func (s *sim) run(ops int) {
	for range 2 {
		s.widen(s.subs[s.r.IntN(len(s.subs))])
	}
	every := max(300, len(s.subs))
	for i := range ops {
		s.step()
		if i%every == every-1 {
			s.moment()
		}
		if i%(4*every) == 4*every-1 {
			s.quiet()
		}
		if s.t.Failed() {
			break
		}
	}
	s.quiet()
	for _, c := range s.subs {
		s.end(c)
	}
	s.quiet()
	for _, topic := range s.topics {
		if a := topic.Tally(); topic.Len() != 0 || a.Pending != 0 {
			s.t.Errorf("topic %d at the end: %d members, %+v", topic.id, topic.Len(), a)
		}
	}
}

func (s *sim) step() {
	r := s.r
	c := s.subs[r.IntN(len(s.subs))]
	switch n := r.IntN(1000); {
	case n < 450:
		for range 1 + r.IntN(8) {
			s.publish()
		}
	case n < 520:
		if err := c.TrySend(s.entry(simValue{topic: -1})); err == nil {
			c.direct = append(c.direct, s.g)
			s.sent++
		}
	case n < 640:
		c.conn.stall(r.IntN(60))
		c.stalled = true
	case n < 760:
		c.conn.resume()
		c.stalled = false
	case n < 840:
		s.join(c)
	case n < 890:
		if i := r.IntN(len(c.members) + 1); i < len(c.members) {
			s.leave(c.members[i])
		}
	case n < 900:
		if i := r.IntN(len(c.members) + 1); i < len(c.members) {
			s.update(c.members[i])
		}
	case n < 915:
		if c.sealed == 0 && !c.over {
			c.Seal()
			c.sealed = s.g
		}
	case n < 918:
		c.Stop()
		s.lose(c)
	case n < 921:
		c.conn.fail(os.ErrClosed)
		s.lose(c)
	case n < 923:
		c.conn.queueControl(8, "close")
		c.Visit()
		s.lose(c)
	case n < 926:
		s.end(c)
	case n < 960:
		time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
	case n < 962:
		time.Sleep(time.Duration(r.IntN(3)) * time.Second)
	case n < 980:
		synctest.Wait()
	default:
		for _, m := range c.members {
			balanced(s.t, "member", m.Tally())
		}
		topic := s.topics[r.IntN(len(s.topics))]
		balanced(s.t, "topic", topic.Tally())
		balanced(s.t, "direct", s.e.Direct())
	}
	if c.over && r.IntN(4) == 0 {
		s.end(c)
		c.conn.resume()
		c.stalled = false
		s.ended = append(s.ended, c)
		s.subs[slices.Index(s.subs, c)] = s.newSub()
	}
}

func (s *sim) entry(v simValue) *queue.Entry {
	s.g++
	v.g = s.g
	e := entry(v.text())
	e.Value, e.Except, e.Only = v, v.except, v.only
	if v.key > 0 {
		e.Key = v.key
	}
	return e
}

func (s *sim) publish() {
	r := s.r
	topic := s.topics[r.IntN(len(s.topics))]
	v := simValue{topic: topic.id}
	if r.IntN(4) > 0 {
		v.key = 1 + r.IntN(6)
	}
	some := func() (ids []uint64) {
		ids = []uint64{}
		for range r.IntN(3) {
			ids = append(ids, s.subs[r.IntN(len(s.subs))].ID())
		}
		for _, m := range topic.members {
			if r.IntN(4) == 0 {
				ids = append(ids, m.sub.ID())
			}
		}
		return ids
	}
	switch r.IntN(12) {
	case 0:
		v.except = some()
	case 1:
		v.only = some()
	}
	e := s.entry(v)
	err := topic.TryPublish(e)
	if err == queue.ErrFull && r.IntN(3) == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(300))*time.Millisecond)
		err = topic.Publish(ctx, e)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			err = queue.ErrFull
		}
	}
	switch err {
	case nil:
		v.g = s.g
		topic.values = append(topic.values, v)
	case queue.ErrFull:
	default:
		s.t.Errorf("Publish: %v", err)
	}
}

func (s *sim) join(c *simSub) {
	topic := s.topics[s.r.IntN(len(s.topics))]
	m := &simMember{sub: c, topic: topic, rule: simRules[s.r.IntN(len(simRules))], end: -1, live: true, atLeave: -1}
	if topic.cfg.History > 0 && slices.ContainsFunc(c.members, func(o *simMember) bool { return o.topic == topic }) {
		return // a replay may repeat what an earlier membership got
	}
	var where func(any) bool
	if s.r.IntN(4) == 0 {
		m.mod = 2 + s.r.IntN(3)
		where = m.where
	}
	replay := s.r.IntN(12)
	var err error
	m.Member, err = topic.Join(c.Subscriber, m.rule, where, replay)
	if err != nil {
		if err != ErrMember && err != ErrStopped && (err != ErrFull || topic.cfg.MaxMembers == 0) {
			s.t.Errorf("Join: %v", err)
		}
		return
	}
	m.join = len(topic.values)
	m.replay = topic.replay(replay)
	topic.members = append(topic.members, m)
	c.members = append(c.members, m)
}

func (m *simMember) where(v any) bool { return m.mod == 0 || v.(simValue).g%m.mod != 0 }

func (m *simMember) admits(v simValue) bool {
	return m.where(v) && !slices.Contains(v.except, m.sub.ID()) && (v.only == nil || slices.Contains(v.only, m.sub.ID()))
}

// replay returns the indices of the values that a join gets first.
func (t *simTopic) replay(n int) (indices []int) {
	n = min(n, t.cfg.History)
	seen := make(map[int]bool)
	aside := 0
	for i := len(t.values) - 1; i >= 0 && len(indices) < n; i-- {
		v := t.values[i]
		if v.only != nil { // what a few were told is no history, but in the end it takes the place
			if aside++; !t.cfg.HistoryByKey && aside > 8*t.cfg.History {
				break
			}
			continue
		}
		if t.cfg.HistoryByKey && seen[v.key] {
			continue
		}
		seen[v.key] = true
		indices = append(indices, i)
	}
	slices.Reverse(indices)
	return indices
}

// ending notes where the offers of a member end, which is known unless the engine ended it before.
func (m *simMember) ending(known bool) {
	if m.live {
		m.live = false
		if known && m.sub.owner.told() == (told{}) {
			m.end = len(m.topic.values)
		}
	}
}

func (s *sim) leave(m *simMember) {
	if !m.Leave() {
		return
	}
	m.ending(m.sub.sealed == 0 && !m.sub.over)
	m.sub.parse(s.t)
	m.atLeave = len(m.received())
}

func (s *sim) update(m *simMember) {
	r := simRules[s.r.IntN(len(simRules))]
	if m.live && m.Update(r, m.filter()) == nil {
		m.updated = true
	}
}

func (m *simMember) filter() func(any) bool {
	if m.mod == 0 {
		return nil
	}
	return m.where
}

// lose notes that a subscriber's data has ended; the engine knows where.
func (s *sim) lose(c *simSub) {
	c.over = true
	for _, m := range c.members {
		m.ending(false)
	}
}

func (s *sim) end(c *simSub) {
	c.Detach()
	for _, m := range c.members {
		m.ending(c.sealed == 0 && !c.over)
	}
	c.over = true
}
