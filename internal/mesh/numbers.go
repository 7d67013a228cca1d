package mesh

import "time"

// lastNumber is the last number that was given on a topic; name "" is everyone.
type lastNumber struct {
	name          string
	epoch, number uint64
}

const (
	// recentFor is how long allNumbers tells a topic at least; at most twice as long.
	recentFor = time.Minute
	// numbersAtOnce is how many topics are looked at before publishers have their turn.
	numbersAtOnce = 256
)

// numbers are the last numbers of topics as heartbeats have told them, in two generations: those told since turned, and those
// told in the time before. The loop's.
type numbers struct {
	young, old map[string]lastNumber // by name
	turned     time.Time
}

func (r *numbers) init() { r.young, r.old = map[string]lastNumber{}, map[string]lastNumber{} }

// add adds what is told now.
func (r *numbers) add(list []lastNumber, now time.Time) {
	if now.Sub(r.turned) >= recentFor {
		r.old, r.young, r.turned = r.young, make(map[string]lastNumber), now
	}
	for _, l := range list {
		if l.epoch >= r.young[l.name].epoch {
			r.young[l.name] = l
		}
	}
}

// takeNumbers returns the last numbers of the topics that were published to since the last call. What is posted after it is
// behind those messages in the outbox. The loop calls it.
func (n *Node) takeNumbers() []lastNumber {
	o := &n.out
	o.mu.Lock()
	fresh := o.fresh
	o.fresh = nil
	o.mu.Unlock()
	last := make([]lastNumber, 0, len(fresh))
	for len(fresh) > 0 {
		some := fresh[:min(len(fresh), numbersAtOnce)]
		fresh = fresh[len(some):]
		o.mu.Lock()
		for _, t := range some {
			last = append(last, lastNumber{t.name, t.epoch, t.number})
			t.fresh = false
		}
		o.mu.Unlock()
	}
	n.numbers.add(last, time.Now())
	return last
}

// allNumbers returns the last numbers of the topics that were published to in the last minute and those that takeNumbers
// will return next, for someone who may have missed the heartbeats that told them. A topic can be there more than once; the
// later counts. The loop calls it.
func (n *Node) allNumbers() []lastNumber {
	r := &n.numbers
	all := make([]lastNumber, 0, len(r.old)+len(r.young))
	for _, l := range r.old {
		if _, later := r.young[l.name]; !later {
			all = append(all, l)
		}
	}
	for _, l := range r.young {
		all = append(all, l)
	}
	o := &n.out
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.fresh {
		all = append(all, lastNumber{t.name, t.epoch, t.number})
	}
	return all
}
