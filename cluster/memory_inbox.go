package cluster

import "sync"

// inbox is the bounded queue of a connection. Most messages go into the channel at once, so that they can be read when
// push returns. What the channel has no room for waits in more, in its order, for the mover: a goroutine that runs while
// something waits there. A channel as large as the bound would cost 2.6 MB a connection.
type inbox struct {
	out  chan Message
	room int           // for messages in more
	done chan struct{} // closed by close: the mover ends

	mu     sync.Mutex // guards what follows; push does not wait while it holds it, the channel has its own room
	more   []Message
	moved  chan struct{} // closed when the mover has ended; nil while none runs
	closed bool
}

func newInbox(limit int) *inbox {
	direct := min(limit, 256)
	return &inbox{out: make(chan Message, direct), room: limit - direct, done: make(chan struct{})}
}

// push adds a message. It reports false when there is no room. It does not wait.
func (q *inbox) push(msg Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if len(q.more) == 0 {
		select {
		case q.out <- msg:
			return true
		default:
		}
	}
	if len(q.more) >= q.room {
		return false
	}
	q.more = append(q.more, msg)
	if q.moved == nil {
		q.moved = make(chan struct{})
		go q.move(q.moved) // owned by the inbox; ends when nothing waits any more, or with close, which waits for it
	}
	return true
}

// move brings what waits into the channel. A message leaves more only when the channel has it, so that push cannot
// overtake it.
func (q *inbox) move(moved chan<- struct{}) {
	defer close(moved)
	for {
		q.mu.Lock()
		if len(q.more) == 0 || q.closed {
			q.more, q.moved = nil, nil
			q.mu.Unlock()
			return
		}
		msg := q.more[0]
		q.mu.Unlock()
		select {
		case q.out <- msg:
		case <-q.done:
			return
		}
		q.mu.Lock()
		q.more[0] = Message{}
		q.more = q.more[1:]
		q.mu.Unlock()
	}
}

// close ends the queue and its channel. It is called once.
func (q *inbox) close() {
	q.mu.Lock()
	q.closed = true
	moved := q.moved
	q.mu.Unlock()
	close(q.done)
	if moved != nil {
		<-moved
	}
	close(q.out)
}

// teller is the channel of states: the last one that was not read, with the losses of those before it.
type teller struct {
	out chan Status // of one

	mu     sync.Mutex // guards what follows; only its holder sends, so that it never waits
	last   Status
	closed bool
}

func newTeller() *teller { return &teller{out: make(chan Status, 1)} }

// tell replaces the state that waits for the reader.
func (t *teller) tell(s Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tellLocked(s)
}

// lost adds a lost message to the state that waits, or tells it with the last state.
func (t *teller) lost() {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.last
	s.Lost = 1
	t.tellLocked(s)
}

func (t *teller) tellLocked(s Status) {
	if t.closed {
		return
	}
	t.last = Status{State: s.State, Err: s.Err}
	select {
	case unread := <-t.out:
		s.Lost += unread.Lost
	default:
	}
	t.out <- s // has room
}

// close tells that it is over and closes the channel. It is called once.
func (t *teller) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tellLocked(Status{State: StateClosed})
	t.closed = true
	close(t.out)
}
