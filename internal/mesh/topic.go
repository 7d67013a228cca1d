package mesh

import (
	"context"
	"time"
)

// Topic is a topic as the cluster knows it.
type Topic struct {
	// Immutable.
	n       *Node
	name    string // "" is everyone
	subject string
	epoch   uint64
	host    TopicHost

	number uint64 // the last that was given; guarded by outbox.mu
	fresh  bool   // in outbox.fresh; guarded by outbox.mu

	peers topicPeers // see there
}

// Topic returns a topic's part of the cluster, which begins a new epoch: greater than 0 and than that of every earlier topic
// of this name. It costs nothing until it is wanted or published to. The caller has one at a time for a name.
func (n *Node) Topic(name string, epoch uint64, host TopicHost) *Topic {
	return &Topic{n: n, name: name, subject: subject(prefixTopic, name), epoch: epoch, host: host}
}

// Want has the node listen to the topic until Unwant, which takes effect after a while (lingering), so that one that
// comes back costs nothing. They are called in turns, and do not wait.
func (t *Topic) Want()   { t.n.keep.want(t.subject, t, "", nil) }
func (t *Topic) Unwant() { t.n.keep.unwant(t.subject, t) }

// Await waits until the bus listens to the topic, which is wanted: not while the bus is down, and 1 s at most.
func (t *Topic) Await(ctx context.Context) { t.n.keep.await(ctx, t.subject) }

// MaxKey is how long a key may be that travels with its value.
const MaxKey = 16

// Outgoing is a value for other nodes.
type Outgoing struct {
	Payload        // copied
	Key     []byte // at most MaxKey bytes, else it is left out and the receiver has to decode the value
}

// Publish gives the value a number and puts it into the outbox; it does not wait. What cannot leave is told as Failed.
func (t *Topic) Publish(v Outgoing) { _ = t.publish(v, nil) }

// PublishSure is Publish that waits until the bus has taken the message, bounded by ctx. With an error (ErrClosed,
// ErrDown, ErrTooLarge of package cluster, ErrBusy, ctx's cause) it was not taken, or nobody knows.
func (t *Topic) PublishSure(ctx context.Context, v Outgoing) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done := make(chan error, 1)
	if err := t.publish(v, done); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *Topic) publish(v Outgoing, done chan<- error) error {
	e := envelope{kind: kindValue, binary: v.Binary, origin: t.n.origin, time: time.Now().UnixNano(), epoch: t.epoch}
	if len(v.Key) <= MaxKey {
		e.key = v.Key
	}
	return t.n.out.add(t, t.subject, &e, v.Data, done)
}

// Next returns the number that the next Publish will give, as long as nobody else publishes.
func (t *Topic) Next() (epoch, number uint64) {
	t.n.out.mu.Lock()
	defer t.n.out.mu.Unlock()
	return t.epoch, t.number + 1
}

// receiveValue takes a value that another node has published. The loop calls it.
func (n *Node) receiveValue(s *source, e *envelope, subject string) {
	if e.number == 0 {
		n.refuse(ErrMalformed)
		return
	}
	i, to := n.keep.lookup(subject)
	if i == nil || !i.values {
		n.stats.unwanted.Add(1)
		return
	}
	switch {
	case !n.take(s, i, to.topic, e):
		n.stats.repeated.Add(1)
	case to.topic == nil:
		n.stats.unwanted.Add(1)
	default:
		to.topic.host.Receive(Value{
			Payload: Payload{Binary: e.binary, Data: e.payload},
			Origin:  e.origin,
			Epoch:   e.epoch,
			Number:  e.number,
			Time:    time.Unix(0, e.time),
			Key:     e.key,
		})
	}
}
