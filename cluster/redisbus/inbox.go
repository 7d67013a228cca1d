package redisbus

import (
	"sync"

	"github.com/wshub-go/wshub/cluster"
)

// direct is the room of the channel that Receive returns.
const direct = 64

// inbox is what was received and is not read yet. Most of it goes into the channel at once. What that has no room for waits
// behind it for the mover, a goroutine that runs while something waits.
type inbox struct {
	out      chan cluster.Message
	messages int // room behind the channel
	bytes    int // likewise
	done     <-chan struct{}
	moving   sync.WaitGroup // the mover

	mu      sync.Mutex // guards what follows; push holds it while it tries the channel, which does not wait
	waiting []cluster.Message
	size    int // bytes of what is waiting
}

func newInbox(messages, bytes int, done <-chan struct{}) *inbox {
	return &inbox{out: make(chan cluster.Message, direct), messages: messages, bytes: bytes, done: done}
}

// push adds a message unless there is no room. It does not wait.
func (q *inbox) push(m cluster.Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		select {
		case q.out <- m:
			return true
		default:
		}
	}
	size := sizeOf(m)
	if len(q.waiting) >= q.messages || size > q.bytes-q.size {
		return false
	}
	q.waiting = append(q.waiting, m)
	q.size += size
	if len(q.waiting) == 1 {
		q.moving.Go(q.move) // ends when nothing waits, or with the bus
	}
	return true
}

// move brings what waits into the channel. A message leaves only when the channel has it, so that push cannot pass it.
func (q *inbox) move() {
	for m, ok := q.first(); ok; m, ok = q.next() {
		select {
		case q.out <- m:
		case <-q.done:
			return
		}
	}
}

func (q *inbox) first() (cluster.Message, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting[0], true
}

// next takes the first away and returns what is behind it.
func (q *inbox) next() (m cluster.Message, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size -= sizeOf(q.waiting[0])
	q.waiting[0] = cluster.Message{}
	if q.waiting = q.waiting[1:]; len(q.waiting) == 0 {
		q.waiting = nil
		return m, false
	}
	return q.waiting[0], true
}

// close closes the channel. Nobody pushes any more, and done is closed.
func (q *inbox) close() {
	q.moving.Wait()
	close(q.out)
}

func sizeOf(m cluster.Message) int { return len(m.Subject) + len(m.Data) }
