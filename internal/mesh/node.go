package mesh

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	crand "crypto/rand"

	"github.com/wshub-go/wshub/cluster"
)

// Config is what a node is made with.
type Config struct {
	Bus      cluster.Bus // the node's from New on: Close closes it
	Node     string      // its id, a token of a subject
	Interval time.Duration
	Keys     [][]byte // the first signs, all are taken; none: nothing is signed, and what is signed is refused
	Host     Host
	Everyone TopicHost // the topic of all sessions: always wanted
}

// Node is this process in the cluster.
type Node struct {
	// Immutable after New.
	config   Config
	bus      cluster.Bus
	host     Host
	origin   Origin
	subject  string // this node's
	everyone *Topic
	started  time.Time

	out   outbox
	keep  keeper
	peers peers // see there
	stats counters

	// What others ask of the loop.
	wake    chan struct{} // room for one
	calls   calls
	closing chan struct{} // closed when Close begins
	said    chan struct{} // closed by the loop when it has said goodbye, and ends

	// Written by the loop.
	in       envelope // what is being received
	verifier verifier
	numbers  numbers
	sources  sources
	failures failures

	state struct {
		sync.Mutex
		known bool // whether the bus has told
		state cluster.State
		err   error
	}

	ctx    context.Context // ended when Close has no more time; all calls of the bus have it
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // the loop, the sender, the keeper
	closed struct {
		once atomic.Bool   // set by the first Close
		done chan struct{} // closed when that is through; a Once would keep the others from waiting in fake time
		err  error         // set before done is closed
	}
}

// New starts a node: it listens, and says hello as soon as the bus has its subjects.
func New(c Config) *Node {
	n := &Node{
		config:  c,
		bus:     c.Bus,
		host:    c.Host,
		origin:  newOrigin(),
		subject: nodeSubject(c.Node),
		started: time.Now(),
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		said:    make(chan struct{}),
	}
	n.closed.done = make(chan struct{})
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	n.out.init(n)
	n.numbers.init()
	n.keep.init(n)
	n.verifier.init(c.Keys)
	n.sources.init()
	n.everyone = &Topic{n: n, subject: subjectAll, epoch: uint64(n.started.UnixMicro()), host: c.Everyone}
	n.peers.init(n)

	// What the bus is like is known from here on, so that the first Await need not guess.
	var first *cluster.Status
	select {
	case s := <-c.Bus.Status():
		n.setState(s)
		first = &s
	default:
	}
	n.keep.wantAlways(n.hello)
	n.wg.Add(1)
	go n.loop(first)
	return n
}

func newOrigin() Origin {
	var b [8]byte
	for {
		_, _ = crand.Read(b[:]) // never fails, it crashes the program
		if o := Origin(binary.BigEndian.Uint64(b[:])); o != 0 {
			return o
		}
	}
}

// Origin returns the node's.
func (n *Node) Origin() Origin { return n.origin }

// Everyone returns the topic of Config.Everyone.
func (n *Node) Everyone() *Topic { return n.everyone }

// State returns how the bus is, and why.
func (n *Node) State() (cluster.State, error) {
	n.state.Lock()
	defer n.state.Unlock()
	return n.state.state, n.state.err
}

func (n *Node) setState(s cluster.Status) {
	n.state.Lock()
	defer n.state.Unlock()
	n.state.known, n.state.state, n.state.err = true, s.State, s.Err
}

// isDown reports whether the bus has said that it cannot be used.
func (n *Node) isDown() bool {
	n.state.Lock()
	defer n.state.Unlock()
	return n.state.known && n.state.state != cluster.StateUp
}

// Close says goodbye, lets what is in the outbox out while ctx lasts, closes the bus and waits for the goroutines.
// ctx ended is no reason to leave a goroutine; a second call waits for the first, which has no more time than either. The
// error is the bus's, or ctx's cause when something was left in the outbox. The Host must not call it.
func (n *Node) Close(ctx context.Context) error {
	if n.closed.once.Swap(true) {
		select {
		case <-n.closed.done:
		case <-ctx.Done():
			n.cancel(context.Cause(ctx))
			<-n.closed.done
		}
		return n.closed.err
	}
	close(n.closing)
	<-n.said
	n.keep.close()
	err := n.out.close(ctx)
	n.cancel(nil)
	if e := n.bus.Close(); e != nil {
		err = e
	}
	n.wg.Wait()
	n.setState(cluster.Status{State: cluster.StateClosed}) // nobody is left to read it from the bus
	n.closed.err = err
	close(n.closed.done)
	return err
}

// loop reads the bus and does what is due, until Close. New starts it.
func (n *Node) loop(first *cluster.Status) {
	defer n.wg.Done()
	defer close(n.said)
	received, status := n.bus.Receive(), n.bus.Status()
	if first != nil {
		n.status(*first)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case m, ok := <-received:
			if !ok {
				received = nil // the bus has given up, which its status says
				continue
			}
			n.receive(m)
			n.receiveMore(received)
		case s, ok := <-status:
			if !ok {
				status = nil
				continue
			}
			n.setState(s)
			n.status(s)
		case <-n.wake:
			timer.Reset(n.due())
		case <-timer.C:
			timer.Reset(n.due())
		case <-n.closing:
			n.bye()
			n.failures.tell(n, time.Now(), true)
			return
		}
	}
}

// due does what is due and returns how long nothing is. The loop calls it.
func (n *Node) due() time.Duration {
	n.calls.run()
	now := time.Now()
	next := n.pulse(now)
	for _, t := range []time.Time{
		n.failures.tell(n, now, false),
		n.confirm(now),
		n.sweep(now),
	} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return time.Until(next)
}

func (n *Node) status(s cluster.Status) {
	n.stats.lost.Add(s.Lost)
	n.host.Bus(s)
	if s.State == cluster.StateUp {
		n.keep.retry()
	}
}

// receiveMore takes messages that wait already, a few only: there are other things to do. A select of one case is quicker than
// the loop's.
func (n *Node) receiveMore(received <-chan cluster.Message) {
	for range 64 {
		select {
		case m, ok := <-received:
			if !ok {
				return // the loop sees it too
			}
			n.receive(m)
		default:
			return
		}
	}
}

// receive takes a message of the bus. The loop calls it.
func (n *Node) receive(m cluster.Message) {
	e := &n.in
	err := e.parse(m.Data)
	if err == nil && e.origin == n.origin {
		return // the bus hears what it publishes
	}
	n.stats.received.Add(1)
	n.stats.receivedBytes.Add(uint64(len(m.Data)))
	now := time.Now()
	if err == nil {
		err = n.verifier.verify(m.Subject, m.Data, e, now)
	}
	if err != nil {
		n.refuse(err)
		return
	}
	s := n.source(e.origin, now)
	switch {
	case e.kind >= firstControl:
		n.control(e, m.Subject)
	case e.kind == kindValue:
		n.receiveValue(s, e, m.Subject)
	default:
		n.receiveDirect(e, m.Subject)
	}
}

// nudge has the loop call pulse soon. Any goroutine may call it; it does not wait.
func (n *Node) nudge() {
	select {
	case n.wake <- struct{}{}:
	default: // it will
	}
}

// do has the loop call f soon, after those of earlier calls, unless the node is closed before. Any goroutine may call it,
// the loop too; it does not wait.
func (n *Node) do(f func()) {
	n.calls.add(f)
	n.nudge()
}

// calls are what the loop is to do for others.
type calls struct {
	mu   sync.Mutex
	list []func() // guarded by mu
}

func (c *calls) add(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, f)
}

// run calls them in their order. The loop calls it.
func (c *calls) run() {
	c.mu.Lock()
	list := c.list
	c.list = nil
	c.mu.Unlock()
	for _, f := range list {
		f()
	}
}
