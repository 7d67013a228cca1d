package mesh

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// ErrBusy means that too much waits for the bus already.
var ErrBusy = errors.New("mesh: the outbox is full")

const (
	maxWaiting      = 8192     // messages in the outbox
	maxWaitingBytes = 16 << 20 // and their bytes
	publishTimeout  = 5 * time.Second
	keptWaiting     = 1024 // room for messages that an idle outbox keeps
)

// outbox is what waits for the bus. The sender, one goroutine that is there while something waits, publishes all of it in
// one call, then what has come meanwhile.
type outbox struct {
	n    *Node
	send func() // n.out.sender; made once, so that go does not allocate

	mu      sync.Mutex
	waiting []cluster.Message // guarded by mu
	sure    []sure            // of those, whose senders wait, in their order; guarded by mu
	spare   []cluster.Message // empty, the sender's last; guarded by mu
	count   int               // of messages here and with the sender; guarded by mu
	bytes   int               // their bytes; guarded by mu
	sending bool              // whether the sender is there; guarded by mu
	closed  bool              // nothing enters any more; guarded by mu
	idle    chan struct{}     // when not nil, closed as the sender ends; guarded by mu

	fresh []*Topic // published to since the last takeNumbers; guarded by mu

	failed int   // messages whose failure was not told; guarded by mu
	cause  error // of the last of them; guarded by mu

	signer signer // the sender's
}

// sure is a message whose publisher waits for its fate.
type sure struct {
	index int          // in the batch
	done  chan<- error // has room for it
}

func (o *outbox) init(n *Node) {
	o.n = n
	o.send = o.sender
	o.signer.init(n.config.Keys)
}

// post puts a message that is not numbered into the outbox; body is copied. Any goroutine may call it; it does not wait.
func (n *Node) post(subject string, k kind, body []byte) {
	e := envelope{kind: k, origin: n.origin, time: time.Now().UnixNano()}
	_ = n.out.add(nil, subject, &e, body, nil)
}

// add puts an envelope with payload, which is copied, into the outbox. For a topic it gives the next number, under the lock
// under which the message enters: the order of numbers is that of messages. When there is no room the number is used all the
// same, and whoever listens will see a gap; but not with done, which is told the message's fate unless add returns an error.
func (o *outbox) add(t *Topic, subject string, e *envelope, payload []byte, done chan<- error) error {
	// The header's length depends on the number. It goes right in front of the payload, which is thus copied before the lock.
	trailer := 0
	if o.signer.on() {
		trailer = trailerBytes
	}
	var header [maxOverhead]byte
	data := make([]byte, maxOverhead+len(payload), maxOverhead+len(payload)+trailer)
	copy(data[maxOverhead:], payload)

	o.mu.Lock()
	defer o.mu.Unlock()
	var err error
	switch {
	case o.closed:
		err = cluster.ErrClosed
	case len(data) > maxWaitingBytes:
		err = cluster.ErrTooLarge
	case o.count >= maxWaiting || o.bytes+len(data) > maxWaitingBytes:
		err = ErrBusy
	}
	if err != nil && done != nil {
		o.n.stats.failed.Add(1)
		return err
	}
	if t != nil {
		t.number++
		e.number = t.number
		if !t.fresh {
			t.fresh = true
			o.fresh = append(o.fresh, t)
		}
	}
	if err != nil {
		o.failLocked(1, err)
		return err
	}
	h := e.append(header[:0])
	data = data[maxOverhead-len(h):]
	copy(data, h)
	if done != nil {
		o.sure = append(o.sure, sure{len(o.waiting), done})
	}
	o.waiting = append(o.waiting, cluster.Message{Subject: subject, Data: data})
	o.count++
	o.bytes += len(data)
	if !o.sending {
		o.sending = true
		o.n.wg.Add(1)
		go o.send()
	}
	return nil
}

// hasRoom reports whether something long, which can wait, may enter: most of the outbox is for values. Any goroutine may call
// it.
func (o *outbox) hasRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count < maxWaiting/4 && o.bytes < maxWaitingBytes/4
}

// failLocked has the loop tell that messages did not leave.
func (o *outbox) failLocked(count int, cause error) {
	o.n.stats.failed.Add(uint64(count))
	if o.failed == 0 {
		o.n.nudge()
	}
	o.failed += count
	o.cause = cause
}

// sender publishes what waits until nothing does. add starts it.
func (o *outbox) sender() {
	defer o.n.wg.Done()
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) > 0 {
		batch, sure := o.waiting, o.sure
		o.waiting, o.sure, o.spare = o.spare, nil, nil
		o.mu.Unlock()

		size := 0
		for i := range batch {
			size += len(batch[i].Data)
			batch[i].Data = o.signer.sign(batch[i].Subject, batch[i].Data)
		}
		failed, cause := o.publish(batch, sure)
		count := len(batch)
		clear(batch)

		o.mu.Lock()
		if failed > 0 {
			o.failLocked(failed, cause)
		}
		o.count -= count
		o.bytes -= size
		o.spare = batch[:0]
	}
	if cap(o.waiting) > keptWaiting {
		o.waiting = nil
	}
	if cap(o.spare) > keptWaiting {
		o.spare = nil
	}
	o.sending = false
	if o.idle != nil {
		close(o.idle)
	}
}

// publish gives a batch to the bus, tells those who wait for one of its messages, and returns how many were not taken of
// those for which nobody waits. Without the lock.
func (o *outbox) publish(batch []cluster.Message, waiting []sure) (failed int, cause error) {
	at := 0 // of batch, where the next call begins
	// upTo tells the fate of the messages before end.
	upTo := func(end int, err error) {
		for ; at < end; at++ {
			if err == nil {
				o.n.stats.published.Add(1)
				o.n.stats.publishedBytes.Add(uint64(len(batch[at].Data)))
			}
			switch {
			case len(waiting) > 0 && waiting[0].index == at:
				if err != nil {
					o.n.stats.failed.Add(1)
				}
				waiting[0].done <- err
				waiting = waiting[1:]
			case err != nil:
				failed++
				cause = err
			}
		}
	}
	for at < len(batch) {
		if o.n.ctx.Err() != nil {
			upTo(len(batch), cluster.ErrClosed)
			break
		}
		ctx, cancel := context.WithTimeout(o.n.ctx, publishTimeout)
		taken, err := o.n.bus.Publish(ctx, batch[at:]...)
		cancel()
		switch taken = min(max(taken, 0), len(batch)-at); {
		case err == nil:
			upTo(len(batch), nil)
		case errors.Is(err, cluster.ErrTooLarge) || errors.Is(err, cluster.ErrSubject):
			upTo(at+taken, nil)
			upTo(min(at+1, len(batch)), err) // this one; those behind it can be tried
		default:
			upTo(at+taken, nil)
			upTo(len(batch), err)
		}
	}
	return failed, cause
}

// close takes nothing more and waits until the sender is done, or ctx or the node's ends: what waits is then given up, and the
// error is its cause.
func (o *outbox) close(ctx context.Context) error {
	o.mu.Lock()
	o.closed = true
	if !o.sending {
		o.mu.Unlock()
		return nil
	}
	idle := make(chan struct{})
	o.idle = idle
	o.mu.Unlock()
	select {
	case <-idle:
		return context.Cause(o.n.ctx) // nil while that lasts
	case <-o.n.ctx.Done():
		return context.Cause(o.n.ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// failures tell the host what did not leave, now and then. The loop's.
type failures struct{ next time.Time }

const failurePause = 100 * time.Millisecond

// tell tells the host the failures since the last time, unless that was just now: then it returns when to call again.
func (f *failures) tell(n *Node, now time.Time, last bool) (next time.Time) {
	o := &n.out
	o.mu.Lock()
	failed, cause := o.failed, o.cause
	if failed > 0 && now.Before(f.next) && !last {
		o.mu.Unlock()
		return f.next
	}
	o.failed, o.cause = 0, nil
	o.mu.Unlock()
	if failed > 0 {
		f.next = now.Add(failurePause)
		n.host.Failed(failed, cause)
	}
	return time.Time{}
}
