package fanout

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
)

var (
	simSeeds = flag.Int("sim.seeds", 6, "how many simulations to run")
	simFirst = flag.Uint64("sim.first", 1, "the seed of the first")
	simOps   = flag.Int("sim.ops", 3000, "operations in each")
)

// TestSimulation drives an engine with random topics, rules, filters, exceptions, joins, leaves, ends, stalls and direct
// sends, in fake time, and compares with a model that knows what was published and what arrived. The driver is one
// goroutine, so it knows exactly what each member was offered; the engine's workers run beside it.
func TestSimulation(t *testing.T) {
	for seed := *simFirst; seed < *simFirst+uint64(*simSeeds); seed++ {
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
	for i := len(t.values) - 1; i >= 0 && len(indices) < n; i-- {
		if k := t.values[i].key; !t.cfg.HistoryByKey || !seen[k] {
			seen[k] = true
			indices = append(indices, i)
		}
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

// parse reads the frames that have arrived since.
func (c *simSub) parse(t *testing.T) {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	for ; c.frames < len(c.conn.frames); c.frames++ {
		if c.conn.frames[c.frames] == "close" {
			continue
		}
		for text := range strings.SplitSeq(c.conn.frames[c.frames], "|") {
			parts := strings.Split(text, ".")
			if len(parts) != 3 {
				if !strings.HasPrefix(text, "j") {
					t.Errorf("a frame holds %q", text)
				}
				continue
			}
			var v simValue
			v.g, _ = strconv.Atoi(parts[0])
			v.topic, _ = strconv.Atoi(parts[1])
			v.key, _ = strconv.Atoi(parts[2])
			c.got = append(c.got, v)
			c.batch = append(c.batch, c.frames)
		}
	}
}

// offers returns all values that m was offered, as far as the driver knows; exact reports whether it knows the end.
func (m *simMember) offers() (values []simValue, exact bool) {
	for _, i := range m.replay {
		values = append(values, m.topic.values[i])
	}
	end := m.end
	exact = end >= 0 || m.live && m.sub.sealed == 0 && m.sub.owner.told() == (told{})
	if end < 0 {
		end = len(m.topic.values)
	}
	return append(values, m.topic.values[m.join:end]...), exact
}

// received returns the numbers of the values that m got, in order of arrival.
func (m *simMember) received() (got []simValue) {
	first, last := 0, 1<<60
	if len(m.replay) > 0 {
		first = m.topic.values[m.replay[0]].g
	} else if m.join < len(m.topic.values) {
		first = m.topic.values[m.join].g
	} else {
		return nil
	}
	if m.end >= 0 {
		if m.end == 0 {
			return nil
		}
		last = m.topic.values[m.end-1].g
	} else if !m.live {
		// A later membership of the same topic is out of the question: the subscriber has ended.
	}
	for _, v := range m.sub.got {
		if v.topic == m.topic.id && v.g >= first && v.g <= last {
			got = append(got, v)
		}
	}
	return got
}

// moment compares at a moment at which nothing happens, whoever is stalled.
func (s *sim) moment() {
	synctest.Wait()
	for _, c := range s.subs {
		c.Visit() // a pace may have run out less than a tick of the clock ago
	}
	synctest.Wait()
	for _, c := range slices.Concat(s.subs, s.ended) {
		c.parse(s.t)
		sent := make([]uint64, len(s.topics))
		dropped := make([]uint64, len(s.topics))
		direct := 0
		for _, v := range c.got {
			if v.topic >= 0 {
				sent[v.topic]++
			} else {
				direct++
			}
		}
		for _, m := range c.members {
			a := m.Tally()
			balanced(s.t, "member", a)
			sent[m.topic.id] -= a.Sent
			dropped[m.topic.id] += a.Dropped
			values, exact := m.offers()
			if exact && a.Offered != uint64(len(values)) || a.Offered > uint64(len(values)) {
				s.t.Errorf("topic %d (%v): %d offers, want %d (exact %v): %+v", m.topic.id, *m.rule, a.Offered, len(values), exact, a)
			}
		}
		for i, n := range sent {
			if n != 0 {
				s.t.Errorf("topic %d: %d values arrived more than were counted as sent: %s", i, int64(n), c.describe())
			}
			c.owner.mu.Lock()
			told := c.owner.dropped[s.topics[i].Topic]
			c.owner.mu.Unlock()
			if told != dropped[i] {
				s.t.Errorf("topic %d: %d dropped, the owner was told of %d", i, dropped[i], told)
			}
		}
		s.order(c)
	}
	for _, topic := range s.topics {
		var sum Tally
		for _, m := range topic.members {
			sum = sum.Add(m.Tally())
		}
		if a := topic.Tally(); a != sum {
			s.t.Errorf("topic %d: %+v, its members %+v", topic.id, a, sum)
		}
	}
	if a := s.e.Direct(); a.Offered != s.sent {
		s.t.Errorf("Direct: %+v, %d accepted", a, s.sent)
	}
}

// order checks what arrived against the order of publishing, and that nothing was repeated.
func (s *sim) order(c *simSub) {
	loose := make(map[int]bool) // topics whose values may come late
	fresh := make([]int, len(s.topics))
	for _, m := range c.members {
		if m.updated || m.rule.Coalesce || m.rule.paced() {
			loose[m.topic.id] = true
		}
		if m.topic.cfg.History > 0 && m.join > 0 {
			fresh[m.topic.id] = m.topic.values[m.join-1].g // up to here they are replays
		}
	}
	last := 0
	seen := make(map[int]bool, len(c.got))
	type line struct{ topic, key int }
	keys := make(map[line]int)
	for _, v := range c.got {
		if seen[v.g] {
			s.t.Errorf("%s arrived twice", v.text())
		}
		seen[v.g] = true
		if k := (line{v.topic, v.key}); v.g < keys[k] {
			s.t.Errorf("%s arrived after a newer one of its key", v.text())
		} else {
			keys[k] = v.g
		}
		if v.topic >= 0 && (loose[v.topic] || v.g <= fresh[v.topic]) {
			continue
		}
		if v.g < last {
			s.t.Errorf("%s arrived after number %d: %s", v.text(), last, c.describe())
		}
		last = v.g
	}
}

// describe tells what a subscriber is in.
func (c *simSub) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "id %d, many %v, stalled %v, sealed %d, over %v, told %+v", c.ID(), c.many != nil, c.stalled, c.sealed, c.over, c.owner.told())
	for _, m := range c.members {
		fmt.Fprintf(&b, "\n\ttopic %d, rule %+v, updated %v, join %d, replay %v, live %v, %+v", m.topic.id, *m.rule, m.updated, m.join, m.replay, m.live, m.Tally())
	}
	return b.String()
}

// quiet lifts all stalls, lets paces run out, and then compares what arrived with what was published.
func (s *sim) quiet() {
	for _, c := range s.subs {
		c.conn.resume()
		c.stalled = false
	}
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	s.moment()
	if s.t.Failed() {
		return
	}
	for _, c := range slices.Concat(s.subs, s.ended) {
		for _, m := range c.members {
			s.compare(c, m)
		}
		s.compareDirect(c)
	}
	if a := s.e.Direct(); a.Pending != 0 {
		s.t.Errorf("Direct, all read: %+v", a)
	}
	for _, topic := range s.topics {
		resting(s.t, topic.Topic)
		if topic.cfg.History == 0 && topic.log.Keys() != 0 {
			s.t.Errorf("topic %d at rest: %d keys", topic.id, topic.log.Keys())
		}
	}
}

func (s *sim) compare(c *simSub, m *simMember) {
	t := s.t
	a := m.Tally()
	values, exact := m.offers()
	var admitted []simValue
	for _, v := range values {
		if m.admits(v) {
			admitted = append(admitted, v)
		}
	}
	got := m.received()
	what := fmt.Sprintf("topic %d, rule %+v, live %v, sealed %d: %+v", m.topic.id, *m.rule, m.live, c.sealed, a) + c.describe()
	for _, v := range got {
		if !slices.ContainsFunc(admitted, func(o simValue) bool { return o.g == v.g }) {
			t.Errorf("%s: %s is not for it", what, v.text())
		}
	}
	if m.atLeave >= 0 && !m.rule.Pack && !m.updated && len(got) > m.atLeave+1 {
		t.Errorf("%s: %d values arrived before Leave returned, %d after", what, m.atLeave, len(got)-m.atLeave)
	}
	if sealed := c.sealed > 0; sealed && c.owner.told() == (told{flushed: 1}) && m.live && !m.updated {
		// All up to the seal was sent, or is accounted for by the rule.
		admitted = slices.DeleteFunc(admitted, func(v simValue) bool { return v.g > c.sealed })
	} else if !exact || !m.live {
		if a.Pending != 0 {
			t.Errorf("%s: pending after its end", what)
		}
		if lossless := m.rule.Overflow == Evict && !m.rule.Coalesce && !m.updated; lossless {
			for i, v := range got {
				if v.g != admitted[i].g {
					t.Errorf("%s: value %d is %d, want %d", what, i, v.g, admitted[i].g)
					break
				}
			}
		}
		return
	} else if a.Pending != 0 || a.Evicted != 0 || a.Undelivered != 0 || a.Filtered != uint64(len(values)-len(admitted)) {
		t.Errorf("%s: of %d values %d are for it", what, len(values), len(admitted))
	}
	if m.updated {
		return
	}
	switch r := m.rule; {
	case r.Coalesce:
		if a.Dropped != 0 || a.Sent+a.Coalesced != uint64(len(admitted)) {
			t.Errorf("%s: %d values are for it", what, len(admitted))
		}
		last, want := make(map[int]int), make(map[int]int)
		for _, v := range got {
			last[v.key] = v.g
		}
		for _, v := range admitted {
			want[v.key] = v.g
		}
		for key, g := range want {
			if last[key] != g {
				t.Errorf("%s: key %d ends at %d, want %d", what, key, last[key], g)
			}
		}
	case r.Overflow == DropOldest || r.Overflow == DropNewest:
		if c.sealed > 0 {
			break // bounds count values beyond the seal
		}
		if a.Coalesced != 0 || a.Sent+a.Dropped != uint64(len(admitted)) {
			t.Errorf("%s: %d values are for it", what, len(admitted))
		}
	default:
		if !slices.EqualFunc(got, admitted, func(a, b simValue) bool { return a.g == b.g }) {
			t.Errorf("%s: got %d values, want %d", what, len(got), len(admitted))
		}
	}
}

func (s *sim) compareDirect(c *simSub) {
	var got []int
	for _, v := range c.got {
		if v.topic < 0 {
			got = append(got, v.g)
		}
	}
	want := c.direct
	if c.owner.told() != (told{}) && c.owner.told() != (told{flushed: 1}) || c.over {
		want = want[:min(len(got), len(want))] // a prefix
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("direct messages %v, want %v", got, want)
	}
}
