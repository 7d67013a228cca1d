package redisbus

import "sync"

const (
	batch  = 500  // subjects in a command
	window = 4000 // subjects under way: their confirmations must fit into the server's output buffer
)

// interest is what a link is to listen to, and how much of that the server knows. It is data under a lock: the link's
// writer takes commands from it, its reader tells it what was confirmed. A subject whose last command is not what is
// wanted waits in one of two lines; whoever takes it out looks again.
type interest struct {
	mu       sync.Mutex
	subjects map[string]*subject
	add      []string // may hold repeats, and what is no longer wanted
	remove   []string // likewise
	under    int      // confirmations that are awaited
	up       bool     // there is a connection
	away     error    // why there is none, once it is known that there cannot be one now
	missing  int      // subjects that are not yet back since the connection was lost
}

// subject is one that is wanted, or that the server still has.
type subject struct {
	wanted bool
	sent   bool    // the last command on this connection was to subscribe
	under  int     // commands that are not confirmed
	back   bool    // counts in missing
	calls  []*call // wait for what is wanted
}

// settled reports whether the server has confirmed what is wanted.
func (s *subject) settled() bool { return s.under == 0 && s.sent == s.wanted }

// want adds subjects. The call is to wait for those that are not there yet, except when want returns why there can be no
// connection now. ended are calls that wait no longer: for one of these to be gone.
func (in *interest) want(names []string, c *call) (ended []*call, away error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, name := range names {
		s := in.subjects[name]
		if s == nil {
			s = &subject{}
			in.subjects[name] = s
		}
		if !s.wanted {
			ended = append(ended, s.calls...)
			s.wanted, s.calls = true, nil
			if !in.up {
				s.back = true
				in.missing++
			}
			if !s.sent && in.up {
				in.add = append(in.add, name)
			}
		}
		if in.away == nil && !s.settled() {
			c.add()
			s.calls = append(s.calls, c)
		}
	}
	return ended, in.away
}

// unwant takes subjects away, likewise.
func (in *interest) unwant(names []string, c *call) (ended []*call, _ error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, name := range names {
		s := in.subjects[name]
		if s == nil {
			continue
		}
		if s.wanted {
			ended = append(ended, s.calls...)
			s.wanted, s.calls = false, nil
			in.backLocked(s)
			if s.sent {
				in.remove = append(in.remove, name)
			}
		}
		if s.settled() {
			delete(in.subjects, name)
			continue
		}
		c.add()
		s.calls = append(s.calls, c)
	}
	return ended, nil
}

// backLocked is called when a subject is there again, or not wanted any more.
func (in *interest) backLocked(s *subject) {
	if s.back {
		s.back = false
		in.missing--
	}
}

// next takes the subjects of the next command; none when there is nothing to do, or too much under way.
func (in *interest) next() (names []string, subscribe bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	room := min(batch, window-in.under)
	if !in.up || room <= 0 {
		return nil, false
	}
	names = in.takeLocked(&in.remove, room, false)
	if len(names) == 0 {
		subscribe = true
		names = in.takeLocked(&in.add, room, true)
	}
	in.under += len(names)
	return names, subscribe
}

// takeLocked takes up to n subjects out of a line that are to be wanted, or not, and are not so yet.
func (in *interest) takeLocked(line *[]string, n int, wanted bool) []string {
	var names []string
	for len(*line) > 0 && len(names) < n {
		name := (*line)[0]
		*line = (*line)[1:]
		if s := in.subjects[name]; s != nil && s.wanted == wanted && s.sent != wanted {
			s.sent = wanted
			s.under++
			names = append(names, name)
		}
	}
	if len(*line) == 0 {
		*line = nil
	}
	return names
}

// confirmed is told what the server has confirmed. known is false when nobody had asked: the server has taken a subject
// away. more reports that the writer has something to do: there is room for another command, or nothing is missing any more.
func (in *interest) confirmed(name string) (ended []*call, more, known bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	s := in.subjects[name]
	if s == nil || s.under == 0 {
		return nil, false, false
	}
	s.under--
	in.under--
	if s.settled() {
		ended, s.calls = s.calls, nil
		if s.wanted {
			more = s.back && in.missing == 1
			in.backLocked(s)
		} else {
			delete(in.subjects, name)
		}
	}
	return ended, more || in.under <= window-batch && len(in.add)+len(in.remove) > 0, true
}

// connected is told that there is a connection.
func (in *interest) connected() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.up, in.away, in.under = true, nil, 0
	in.add, in.remove = make([]string, 0, len(in.subjects)), nil
	for name := range in.subjects {
		in.add = append(in.add, name)
	}
}

// whole reports whether all is there again that was wanted when the connection was made.
func (in *interest) whole() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.missing == 0
}

// lost is told that the connection is, or that there is none. When away is not nil nobody is to wait for the next one:
// the calls that it returns end with it. Else those that waited for subjects to be gone do, which they are.
func (in *interest) lost(away error) (ended []*call) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.up, in.away = false, away
	in.add, in.remove = nil, nil
	for name, s := range in.subjects {
		s.sent, s.under = false, 0
		if !s.wanted {
			delete(in.subjects, name)
		} else if !s.back {
			s.back = true
			in.missing++
		}
		if !s.wanted || away != nil {
			ended = append(ended, s.calls...)
			s.calls = nil
		}
	}
	return ended
}

// gone returns why there is no connection, nil when that is not known.
func (in *interest) gone() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.away
}
