package natsbus

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
)

// direct is the room of the channel that Receive returns.
const direct = 64

// handoff is the room of the channel that all subscriptions of nats.go share. nats.go drops what finds it full; since
// the inbox never waits, that needs a process that gets no time for tens of milliseconds.
const handoff = 32_768

// recount is how often a subscription that lost messages is asked for more of them.
const recount = 100 * time.Millisecond

// inbox brings messages from nats.go to the reader. It never waits for him: what does not fit is lost, and counted. One
// goroutine, run, owns all but the channels.
//
// A message is lost in one of two places, and counted there alone: here, one by one, or in nats.go, which counts them for
// each subscription, and says so only when a subscription begins to lose: not again before it was given a message. So
// the subscription is asked until it was.
type inbox struct {
	in   chan *nats.Msg
	out  chan cluster.Message
	slow chan *nats.Subscription // begins to lose
	gone chan *nats.Subscription // is about to be ended
	done <-chan struct{}
	lost func(n uint64)
	cut  int // bytes of the prefix

	// Owned by run.
	waiting     []cluster.Message // from head on
	head        int
	bytes       int // of them
	maxMessages int
	maxBytes    int
	dropped     map[*nats.Subscription]*drops
	ticker      *time.Ticker
	ticks       <-chan time.Time // nil while nobody has to be asked
}

// drops is what is known of a subscription that has lost messages.
type drops struct {
	counted   int
	delivered int64
	losing    bool // it may lose more without saying so
}

func newInbox(o *options, done <-chan struct{}, lost func(uint64)) *inbox {
	return &inbox{
		in:          make(chan *nats.Msg, handoff),
		out:         make(chan cluster.Message, direct),
		slow:        make(chan *nats.Subscription),
		gone:        make(chan *nats.Subscription),
		done:        done,
		lost:        lost,
		cut:         len(o.prefix),
		maxMessages: o.messages,
		maxBytes:    o.bytes,
		dropped:     map[*nats.Subscription]*drops{},
	}
}

// run ends with done, and drops what waits then.
func (q *inbox) run() {
	defer q.rest()
	for {
		var out chan<- cluster.Message
		var next cluster.Message
		if q.head < len(q.waiting) {
			out, next = q.out, q.waiting[q.head]
		}
		select {
		case m := <-q.in:
			q.push(m)
		case out <- next:
			q.pop()
		case sub := <-q.slow:
			q.begin(sub)
		case sub := <-q.gone:
			q.forget(sub)
		case <-q.ticks:
			q.askAll()
		case <-q.done:
			return
		}
	}
}

func (q *inbox) push(m *nats.Msg) {
	msg := cluster.Message{Subject: m.Subject[q.cut:], Data: m.Data}
	if q.head == len(q.waiting) {
		select {
		case q.out <- msg:
			return
		default:
		}
	}
	n := size(msg)
	if len(q.waiting)-q.head >= q.maxMessages || q.bytes+n > q.maxBytes {
		q.lost(1)
		return
	}
	if q.head > 1024 && q.head > len(q.waiting)/2 {
		kept := copy(q.waiting, q.waiting[q.head:])
		clear(q.waiting[kept:])
		q.waiting, q.head = q.waiting[:kept], 0
	}
	q.waiting = append(q.waiting, msg)
	q.bytes += n
}

func (q *inbox) pop() {
	q.bytes -= size(q.waiting[q.head])
	q.waiting[q.head] = cluster.Message{}
	q.head++
	if q.head == len(q.waiting) {
		q.waiting, q.head = q.waiting[:0], 0
		if cap(q.waiting) > 4096 {
			q.waiting = nil
		}
	}
}

func size(m cluster.Message) int { return len(m.Subject) + len(m.Data) }

// begin notes that a subscription has begun to lose.
func (q *inbox) begin(sub *nats.Subscription) {
	if q.dropped[sub] == nil {
		q.dropped[sub] = &drops{}
	}
	q.ask(sub)
	q.dropped[sub].losing = true // whatever was delivered up to now
	if q.ticker == nil {
		q.ticker = time.NewTicker(recount)
		q.ticks = q.ticker.C
	}
}

// forget is for a subscription that is about to be ended.
func (q *inbox) forget(sub *nats.Subscription) {
	q.ask(sub)
	delete(q.dropped, sub)
}

// askAll asks those that may have lost more, and rests when there are none left.
func (q *inbox) askAll() {
	losing := false
	for sub, d := range q.dropped {
		if d.losing {
			q.ask(sub)
			losing = losing || d.losing
		}
	}
	if !losing {
		q.rest()
	}
}

func (q *inbox) rest() {
	if q.ticker != nil {
		q.ticker.Stop()
		q.ticker, q.ticks = nil, nil
	}
}

// ask counts what a subscription has lost since it was asked. It is losing until it was given a message and has lost none
// since: then nats.go will say so when it begins again. Delivered is read first, so that what was lost between the two
// counts as after it.
func (q *inbox) ask(sub *nats.Subscription) {
	d := q.dropped[sub]
	if d == nil {
		return
	}
	delivered, err := sub.Delivered()
	if err != nil {
		d.losing = false
		return
	}
	dropped, err := sub.Dropped()
	if err != nil {
		d.losing = false
		return
	}
	if n := dropped - d.counted; n > 0 {
		q.lost(uint64(n))
	} else if delivered > d.delivered {
		d.losing = false
	}
	d.counted, d.delivered = dropped, delivered
}
