package mesh

import (
	"cmp"
	"slices"
	"time"
)

const (
	// beatGrace is how long values may come behind the heartbeat that tells their numbers: no bus keeps the order of different
	// subjects.
	beatGrace = time.Second
	// maxSuspects bounds the gaps that wait for it.
	maxSuspects = 1 << 16
	// sourceFor is how long the numbers of an origin that is silent are kept. One that was cut off and comes back still has
	// them, so that what was missed is told.
	sourceFor = 10 * time.Minute
	// maxSources bounds the origins whose numbers are kept.
	maxSources = 4096
)

// source is an origin that was heard of. The loop's.
type source struct {
	origin Origin
	node   string // as it was when last looked up
	heard  time.Time
	gone   bool // not in sources any more: baselines of it count for nothing
}

// sources are the origins that were heard of. The loop's.
type sources struct {
	all      map[Origin]*source
	swept    time.Time
	suspects []suspect // in the order of due
}

// baseline is what was heard of a source on one topic.
type baseline struct {
	of          *source
	epoch, last uint64 // the last number that was received or told as missing
	soft        bool   // last is from a heartbeat alone: values up to it may still come, and are not missing if none does

	before, beforeLast uint64 // the epoch before, 0: none, and its last number
}

// suspect is a number that a heartbeat has told. What is missing up to it at due is a gap.
type suspect struct {
	i             *interest
	of            *source
	epoch, number uint64
	due           time.Time
}

func (s *sources) init() { s.all = make(map[Origin]*source) }

// source returns the source of an origin that is heard of now. The loop calls it.
func (n *Node) source(o Origin, now time.Time) *source {
	s := n.sources.all[o]
	if s == nil {
		if len(n.sources.all) >= maxSources {
			n.dropSource()
		}
		s = &source{origin: o}
		n.sources.all[o] = s
		n.nudge() // for sweep
	}
	s.heard = now
	return s
}

// dropSource makes room for another source: one of those whose node is not known, if there is any.
func (n *Node) dropSource() {
	var victim *source
	for o, s := range n.sources.all {
		victim = s
		if n.peers.nodeOf(o) == "" {
			break
		}
	}
	victim.gone = true
	delete(n.sources.all, victim.origin)
}

// sweep forgets sources that have long been silent and whose nodes are not known, and returns when to call again, zero for
// never. The loop calls it.
func (n *Node) sweep(now time.Time) (next time.Time) {
	if len(n.sources.all) == 0 {
		return time.Time{}
	}
	if now.Sub(n.sources.swept) >= sourceFor/2 {
		n.sources.swept = now
		for o, s := range n.sources.all {
			if now.Sub(s.heard) > sourceFor && n.peers.nodeOf(o) == "" {
				s.gone = true
				delete(n.sources.all, o)
			}
		}
	}
	return n.sources.swept.Add(sourceFor / 2)
}

// forget is called when the node of an origin is gone. It may come back, see sourceFor. The loop calls it.
func (n *Node) forget(o Origin) {
	if s := n.sources.all[o]; s != nil {
		n.name(s)
	}
}

// name looks up a source's node.
func (n *Node) name(s *source) {
	if node := n.peers.nodeOf(s.origin); node != "" {
		s.node = node
	}
}

// baseline returns what was heard of s on the topic, nil for nothing.
func (i *interest) baseline(s *source) *baseline {
	at, ok := i.find(s.origin)
	if !ok || i.origins[at].of != s {
		return nil
	}
	return &i.origins[at]
}

func (i *interest) find(o Origin) (int, bool) {
	return slices.BinarySearchFunc(i.origins, o, func(b baseline, o Origin) int { return cmp.Compare(b.of.origin, o) })
}

// begin adds a baseline, and drops those of sources that are gone: so there are never more than there were sources at once.
func (i *interest) begin(b baseline) {
	i.origins = slices.DeleteFunc(i.origins, func(b baseline) bool { return b.of.gone })
	at, _ := i.find(b.of.origin)
	i.origins = slices.Insert(i.origins, at, b)
}

// take reports whether a value is new, not a repeat, and tells the gap in front of it. topic is nil while nobody wants it:
// then nothing is told.
func (n *Node) take(s *source, i *interest, topic *Topic, e *envelope) bool {
	b := i.baseline(s)
	if b == nil {
		i.begin(baseline{of: s, epoch: e.epoch, last: e.number})
		return true
	}
	from, promised := b.last+1, uint64(0)
	switch {
	case e.epoch < b.epoch:
		return false
	case e.epoch > b.epoch:
		b.next(e.epoch)
		from = 1
	case b.soft && e.number <= b.last:
		from, promised = e.number, b.last // it begins here, and what the heartbeat told should come
	case e.number <= b.last:
		return false
	}
	b.last, b.soft = e.number, false
	n.missing(s, topic, from, e.number-1)
	if promised > e.number {
		n.suspect(suspect{i, s, e.epoch, promised, time.Now().Add(beatGrace)})
	}
	return true
}

// next begins an epoch.
func (b *baseline) next(epoch uint64) {
	b.before, b.beforeLast = b.epoch, b.last
	b.epoch, b.last, b.soft = epoch, 0, false
}

// missing tells a gap, if there is one.
func (n *Node) missing(s *source, topic *Topic, from, to uint64) {
	if to < from || topic == nil {
		return
	}
	n.name(s)
	n.stats.gaps.Add(1)
	n.stats.missing.Add(to - from + 1)
	n.host.Gap(Gap{Node: s.node, Topic: topic.name, From: from, To: to})
}

// heard takes the last number of a topic, "" for everyone, from a heartbeat of an origin. What is missing up to it a little
// later is a gap. The loop calls it.
func (n *Node) heard(o Origin, name string, epoch, number uint64) {
	at := subjectAll
	if name != "" {
		at = subject(prefixTopic, name)
	}
	i, to := n.keep.lookup(at)
	if i == nil || to.topic == nil {
		return
	}
	now := time.Now()
	s := n.source(o, now)
	b := i.baseline(s)
	if b == nil {
		// A heartbeat from before the bus had the subject says nothing of where the origin begins: what was published between
		// the two was never to be received. If one of the values comes that it tells of, those behind it should.
		if since := n.keep.since(i); !since.IsZero() && now.Sub(since) >= beatGrace {
			i.begin(baseline{of: s, epoch: epoch, last: number, soft: true})
			return
		}
	} else if !b.lacks(epoch, number) {
		return
	}
	n.suspect(suspect{i, s, epoch, number, now.Add(beatGrace)})
}

// suspect has confirm look at s when it is due, which is now and beatGrace.
func (n *Node) suspect(s suspect) {
	list := &n.sources.suspects
	if len(*list) >= maxSuspects {
		n.confirm((*list)[0].due)
	}
	*list = append(*list, s)
	n.nudge()
}

// lacks reports whether something is missing up to a number.
func (b *baseline) lacks(epoch, number uint64) bool {
	switch {
	case epoch == b.epoch:
		return number > b.last
	case epoch == b.before && epoch != 0:
		return number > b.beforeLast
	}
	return epoch > b.epoch && number > 0
}

// confirm tells the gaps that heartbeats have shown and that no value has closed in the meantime. It returns when to call
// again, zero for never. The loop calls it.
func (n *Node) confirm(now time.Time) (next time.Time) {
	list := n.sources.suspects
	for len(list) > 0 && !now.Before(list[0].due) {
		s := list[0]
		list[0] = suspect{}
		list = list[1:]
		i, to := n.keep.lookup(s.i.subject)
		if i != s.i || to.topic == nil {
			continue // not wanted any more
		}
		b := i.baseline(s.of)
		if b == nil || !b.lacks(s.epoch, s.number) {
			continue
		}
		last := &b.last
		switch {
		case s.epoch == b.before && s.epoch != b.epoch:
			last = &b.beforeLast
		case s.epoch > b.epoch:
			b.next(s.epoch)
		}
		from := *last + 1
		*last = s.number
		b.soft = b.soft && s.epoch != b.epoch
		n.missing(s.of, to.topic, from, s.number)
	}
	n.sources.suspects = list
	if len(list) == 0 {
		n.sources.suspects = nil
		return time.Time{}
	}
	return list[0].due
}
