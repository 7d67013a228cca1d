package contender

import (
	"sync"
	"sync/atomic"
)

// seats knows who is there, for the libraries that do not: clients by their number, and the members of topics. The zero
// value has nobody. C is how the library names a connection.
//
// A list of members that was handed out is not changed any more, so that whoever broadcasts holds no lock: joins append
// behind its end, and the first one to leave after it was handed out takes a copy.
type seats[C any] struct {
	echoed atomic.Uint64

	mu      sync.Mutex
	byID    []*seat[C] // guarded by mu, as everything below
	rooms   map[int]*room[C]
	clients int
	joins   int
}

// seat is one client. Its fields are guarded by the seats' mu, but for conn, which does not change.
type seat[C any] struct {
	conn   C
	id     int
	gone   bool
	places []place
}

type place struct{ topic, at int32 }

type room[C any] struct {
	members []*seat[C]
	lent    bool // members was handed out
}

// enter makes a seat for a client and joins the topic it asked for.
func (s *seats[C]) enter(p params, conn C) *seat[C] {
	c := &seat[C]{conn: conn, id: p.id}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.byID) <= p.id {
		s.byID = append(s.byID, nil)
	}
	s.byID[p.id] = c
	s.clients++
	s.joinLocked(c, p.topic)
	return c
}

// leave ends a seat and its places. It may be called again.
func (s *seats[C]) leave(c *seat[C]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	for len(c.places) > 0 {
		s.partLocked(c, int(c.places[0].topic))
	}
	if s.byID[c.id] == c {
		s.byID[c.id] = nil
	}
	s.clients--
}

// obey joins or leaves a topic if that is what a client says, and reports whether it was.
func (s *seats[C]) obey(c *seat[C], message []byte) bool {
	topic, join, ok := command(message)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if join {
		s.joinLocked(c, topic)
	} else {
		s.partLocked(c, topic)
	}
	return true
}

// members returns who is in a topic. The list does not change.
func (s *seats[C]) members(topic int) []*seat[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[topic]
	if r == nil {
		return nil
	}
	r.lent = true
	return r.members
}

// client returns the client with a number, or nil.
func (s *seats[C]) client(id int) *seat[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id < 0 || id >= len(s.byID) {
		return nil
	}
	return s.byID[id]
}

// all returns everybody.
func (s *seats[C]) all() []*seat[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*seat[C]
	for _, c := range s.byID {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}

func (s *seats[C]) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients
}

func (s *seats[C]) Joins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joins
}

func (s *seats[C]) Echoed() uint64 { return s.echoed.Load() }

func (s *seats[C]) joinLocked(c *seat[C], topic int) {
	if c.gone || c.placeLocked(topic) >= 0 {
		return
	}
	r := s.rooms[topic]
	if r == nil {
		if s.rooms == nil {
			s.rooms = make(map[int]*room[C])
		}
		r = new(room[C])
		s.rooms[topic] = r
	}
	c.places = append(c.places, place{int32(topic), int32(len(r.members))})
	r.members = append(r.members, c)
	s.joins++
}

// partLocked puts the last member of the topic where c was.
func (s *seats[C]) partLocked(c *seat[C], topic int) {
	i := c.placeLocked(topic)
	if i < 0 {
		return
	}
	r, at := s.rooms[topic], c.places[i].at
	if r.lent {
		r.members, r.lent = append(make([]*seat[C], 0, cap(r.members)), r.members...), false
	}
	last := r.members[len(r.members)-1]
	last.places[last.placeLocked(topic)].at = at
	r.members[at] = last
	r.members[len(r.members)-1] = nil
	r.members = r.members[:len(r.members)-1]
	c.places[i] = c.places[len(c.places)-1]
	c.places = c.places[:len(c.places)-1]
	s.joins--
}

func (c *seat[C]) placeLocked(topic int) int {
	for i, p := range c.places {
		if int(p.topic) == topic {
			return i
		}
	}
	return -1
}
