package fanout

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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
	first, last := 0, math.MaxInt
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
	} // else the subscriber has ended, and has no later membership
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
	fmt.Fprintf(&b, "id %d, many %v, stalled %v, sealed %d, over %v, told %+v", c.ID(), c.Subscriber.many() != nil, c.stalled, c.sealed, c.over, c.owner.told())
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
