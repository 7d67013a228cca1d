package fanout

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
)

// Config holds the bounds that all subscribers of an engine share. Zero fields take the defaults.
type Config struct {
	WriteTimeout time.Duration // for one frame to leave, default 10s
	MailboxCount int           // direct messages pending per subscriber, default 1024
	MailboxBytes int64         // their bytes, default 1 MiB
	Workers      int           // goroutines that fan out at once, default GOMAXPROCS
}

// Engine fans the logs of topics out to subscribers. It starts nothing: workers run while a topic has values that were
// not offered yet, and end when there is none.
type Engine struct {
	cfg   Config        // immutable
	clock atomic.Uint64 // the last stamp given
	ids   atomic.Uint64 // the last subscriber id given

	mu      sync.Mutex
	runs    []*Topic      // runs[first:] wait for a worker, oldest first; guarded by mu
	first   int           // guarded by mu
	active  []*Topic      // topics with a pass due or under way; guarded by mu
	workers int           // guarded by mu
	running int           // workers, drains and timer callbacks; guarded by mu
	idle    chan struct{} // closed when running becomes 0; nil when nobody waits; guarded by mu

	timers   timers
	direct   totals
	worker   func()    // work; a method value made by every go statement would be an allocation per publish
	visitors sync.Pool // of *visitor
	entries  sync.Pool // of *queue.Entry, for direct messages
}

// New returns an engine.
func New(cfg Config) *Engine {
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = 10 * time.Second
	}
	if cfg.MailboxCount <= 0 {
		cfg.MailboxCount = 1024
	}
	if cfg.MailboxBytes <= 0 {
		cfg.MailboxBytes = 1 << 20
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	e := &Engine{cfg: cfg}
	e.worker = e.work
	e.clock.Store(1) // so that no seal is 0, and none is the stamp of a later value
	e.visitors.New = func() any { return new(visitor) }
	e.entries.New = func() any { return new(queue.Entry) }
	return e
}

// Direct returns the account of all direct messages.
func (e *Engine) Direct() Tally { return e.direct.tally(e.direct.offered.Load) }

// Entry returns an empty entry for a direct message; the engine takes it back once it was sent.
func (e *Engine) Entry() *queue.Entry { return e.entries.Get().(*queue.Entry) }

// Wait returns when no goroutine of the engine runs, or with ctx's error. Timers that are not due do not count.
func (e *Engine) Wait(ctx context.Context) error {
	for {
		e.mu.Lock()
		if e.running == 0 {
			e.mu.Unlock()
			return nil
		}
		if e.idle == nil {
			e.idle = make(chan struct{})
		}
		idle := e.idle
		e.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (e *Engine) begin() {
	e.mu.Lock()
	e.running++
	e.mu.Unlock()
}

func (e *Engine) end() {
	e.mu.Lock()
	e.endLocked()
	e.mu.Unlock()
}

func (e *Engine) endLocked() {
	e.running--
	if e.running == 0 && e.idle != nil {
		close(e.idle)
		e.idle = nil
	}
}

// schedule makes the topic dirty and gives it to the workers unless they have it.
func (e *Engine) schedule(t *Topic) {
	hire := false
	e.mu.Lock()
	t.dirty.Store(true)
	if !t.run.active {
		t.run.active = true
		t.run.index = len(e.active)
		e.active = append(e.active, t)
		e.pushLocked(t)
		hire = e.hireLocked()
	}
	e.mu.Unlock()
	if hire {
		e.start()
	}
}

// pushLocked queues the topic.
func (e *Engine) pushLocked(t *Topic) {
	// With half of the places free, at least, a move pays for as many pushes; with one free every push would move all.
	if e.first > len(e.runs)/2 && len(e.runs) == cap(e.runs) {
		n := copy(e.runs, e.runs[e.first:])
		clear(e.runs[n:])
		e.runs, e.first = e.runs[:n], 0
	}
	e.runs = append(e.runs, t)
}

// hireLocked counts one more worker if there may be one: then the caller starts it, once it has unlocked. Starting a
// goroutine may wake a thread, which may take the processor of this one.
func (e *Engine) hireLocked() bool {
	if e.workers >= e.cfg.Workers {
		return false
	}
	e.workers++
	e.running++
	return true
}

func (e *Engine) start() {
	go e.worker() // owner: the engine; ends when no topic waits
}

// popLocked takes the topic that has waited longest; there is one.
func (e *Engine) popLocked() *Topic {
	t := e.runs[e.first]
	e.runs[e.first] = nil
	if e.first++; e.first == len(e.runs) {
		e.runs, e.first = e.runs[:0], 0
	}
	return t
}

// deactivateLocked takes a topic whose pass is complete off the active list.
func (e *Engine) deactivateLocked(t *Topic) {
	last := len(e.active) - 1
	moved := e.active[last]
	e.active[t.run.index] = moved
	moved.run.index = t.run.index
	e.active[last] = nil
	e.active = e.active[:last]
	t.run.active = false
}

// stride is how many chunks a worker takes at a time: 512 members, some 30 µs on null connections, so that a topic of
// three waits that long behind a topic of a million.
const stride = 8

// patience is for how long strides of a topic wait behind others of it before one more worker is hired for them. A topic
// that becomes dirty has one hired at once, so none waits because the members of another are many. With a worker for the
// second stride at once, a thousand members on two processors cost as much and came no earlier, but that worker's thread
// took the publisher's processor away: 99 % of the calls took up to 160 µs, and with patience 65.
//
// The last processor waits longer for its worker: it is the publishers', and that of whatever else the machine does.
// With 20 ms for it instead of one, a thousand members on two processors got 99 % of their frames within 13.2 ms instead
// of 16.2 (medians of 12 runs, which spread by a factor of two; a bare loop of writes 10.0), at 7.3 µs of CPU each instead
// of 7.5; ten thousand got half of theirs in 79 ms instead of 76.
const (
	patience     = time.Millisecond
	lastPatience = 20 * time.Millisecond
)

// patienceLocked is for how long strides have to wait before the next worker is hired.
func (e *Engine) patienceLocked() time.Duration {
	if e.workers+1 >= e.cfg.Workers {
		return lastPatience
	}
	return patience
}

// passMax is how many entries a pass offers at most.
const passMax = maxBatches * readMax / 2

// work is a worker: it takes the topic that has waited longest, visits one stride of its chunks and puts it back at the
// end of the line, until no topic waits.
func (e *Engine) work() {
	v := e.visitors.Get().(*visitor)
	var since time.Time // that topics wait and nobody was hired; zero: none does
	e.mu.Lock()
	for len(e.runs) > 0 {
		t := e.popLocked()
		r := &t.run
		if !r.passing {
			r.passing = true
			r.next, r.busy = 0, 0
			// The dirty bit goes before the head is read: an append after the read finds it clear and sets it.
			t.dirty.Store(false)
			// A pass takes a bounded part of a long burst: its members then share the few batches that are remembered. With
			// 100,000 entries in one pass to 100,000 members each would have made the same 400 batches.
			r.head = min(t.log.Head(), r.head+passMax)
			// The members are looked up after the head: who joined before the head's last append is among them.
			r.chunks = t.chunkList()
		}
		head := r.head
		lo := r.next
		hi := min(lo+stride, len(r.chunks))
		chunks := r.chunks[lo:hi]
		r.next = hi
		r.busy++
		if hi < len(r.chunks) {
			e.pushLocked(t)
		}
		hire := false
		if len(e.runs) == 0 {
			since = time.Time{}
		} else if now := time.Now(); since.IsZero() {
			since = now
		} else if now.Sub(since) > e.patienceLocked() {
			since, hire = now, e.hireLocked()
		}
		e.mu.Unlock()
		if hire {
			e.start()
		}

		v.pass(t, head, chunks)

		e.mu.Lock()
		r.busy--
		if r.next < len(r.chunks) || r.busy > 0 {
			continue // another stride is queued or under way
		}
		r.chunks = nil
		e.mu.Unlock()
		t.passed(head)
		e.mu.Lock()
		r.passing = false
		if t.dirty.Load() || head < t.log.Head() {
			e.pushLocked(t)
		} else {
			e.deactivateLocked(t)
		}
	}
	e.workers--
	e.endLocked()
	e.mu.Unlock()
	e.visitors.Put(v)
}

// recycle takes a direct message's entry back, with its bytes: they were written, and only the mailbox had it.
func (e *Engine) recycle(x *queue.Entry) {
	x.Reset()
	e.entries.Put(x)
}
