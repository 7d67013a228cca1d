package natsbus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
)

// Bus is a connection to NATS. All its methods may be called by any goroutine at any time.
type Bus struct {
	prefix string // with its dot
	in     *inbox
	status *teller

	life    context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup // the bus's goroutines
	first   chan struct{}  // closed when the first state has been told
	ended   chan struct{}  // closed when Close is through
	wake    chan struct{}  // of one: the keeper has to look

	mu        sync.Mutex // guards what follows; nothing waits under it
	state     cluster.State
	told      bool  // state is
	why       error // why it is not up
	closing   bool  // Close was called
	link      *link // the last one there was
	serving   bool  // its handshake is over
	client    *nats.Conn
	dialError error
	interest  map[string]*nats.Subscription // by full subject; nil: not asked of the client yet
	added     []string                      // full subjects that may be nil in interest
	leaving   []*nats.Subscription          // that are not in interest any more
	round     *round                        // the next one, which somebody waits for
}

var _ cluster.Bus = (*Bus)(nil)

// errDead means that the link has ended on which somebody waited.
var errDead = errors.New("connection lost")

// Connect connects to the servers of the URL, or to those of several URLs with commas between, as nats.Connect does. It
// waits for the first attempt with each of them, which takes 4 s at most for one address (twice nats.Timeout). That they cannot be reached, or
// refuse the credentials, is no error: the bus is then in [cluster.StateDown] and goes on trying. An error is about the
// URL or the options.
func Connect(url string, opts ...Option) (*Bus, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	b := &Bus{
		prefix:   o.prefix,
		status:   newTeller(),
		first:    make(chan struct{}),
		ended:    make(chan struct{}),
		wake:     make(chan struct{}, 1),
		interest: map[string]*nats.Subscription{},
	}
	b.life, b.end = context.WithCancel(context.Background())
	b.in = newInbox(o, b.life.Done(), func(n uint64) { b.status.lost(n, nil) })
	client, err := nats.Connect(url, o.forNATS(b)...)
	if err != nil {
		b.end()
		return nil, fmt.Errorf("natsbus: connect: %w", err)
	}
	b.mu.Lock()
	b.client = client
	b.mu.Unlock()
	b.running.Go(b.in.run) // owned by the bus, as the next: they end with life
	b.running.Go(b.keep)
	<-b.first
	return b, nil
}

// Publish sends messages, and waits until the server has answered that it has them: one round trip for all of them,
// which concurrent calls share. That is what nil means; without the answer the bus would not know for as long as it takes
// to notice that a server is gone, up to 6 s. While the bus is down Publish returns at once. After an error that is not
// about a single message n is 0, and the server may have some of them nevertheless.
//
// There is one wait that ctx does not end: a call that is caught in the moment in which a connection breaks may have to
// wait for the next attempt to connect, during which nats.go holds its lock. Connect says how long that takes.
func (b *Bus) Publish(ctx context.Context, m ...cluster.Message) (int, error) {
	n, err := b.publish(ctx, m)
	if err != nil {
		err = fmt.Errorf("natsbus: publish: %w", err)
	}
	return n, err
}

func (b *Bus) publish(ctx context.Context, m []cluster.Message) (int, error) {
	if b.isClosed() {
		return 0, b.closedError()
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if len(m) == 0 {
		return 0, nil
	}
	l, client, err := b.use()
	if err != nil {
		return 0, err
	}
	n, refused := b.write(ctx, l, client, m)
	if n > 0 {
		if err := b.confirm(ctx, l, b.next()); err != nil {
			return 0, b.explain(err)
		}
	}
	return n, refused
}

// write gives messages to the client, up to the first that it does not take.
func (b *Bus) write(ctx context.Context, l *link, client *nats.Conn, m []cluster.Message) (int, error) {
	for i := range m {
		if err := cluster.CheckSubject(m[i].Subject); err != nil {
			return i, err
		}
		if err := l.room(ctx); err != nil {
			return i, b.explain(err)
		}
		if err := client.Publish(b.prefix+m[i].Subject, m[i].Data); err != nil {
			if errors.Is(err, nats.ErrMaxPayload) {
				return i, fmt.Errorf("%w: %d bytes on %q, at most %d are allowed: %w",
					cluster.ErrTooLarge, len(m[i].Data), m[i].Subject, client.MaxPayload(), err)
			}
			return i, b.notUp(err)
		}
	}
	return len(m), nil
}

// Subscribe adds subjects, all in one round trip, and waits for the answer. While the bus is down it returns
// [cluster.ErrDown] at once, and the subjects are subscribed to when it is up again, before it says so. That the server
// does not permit one of them is an error too, after which the bus asks again with each new connection.
func (b *Bus) Subscribe(ctx context.Context, subjects ...string) error {
	if err := b.subscribe(ctx, subjects); err != nil {
		return fmt.Errorf("natsbus: subscribe: %w", err)
	}
	return nil
}

func (b *Bus) subscribe(ctx context.Context, subjects []string) error {
	if b.isClosed() {
		return b.closedError()
	}
	for _, s := range subjects {
		if err := cluster.CheckSubject(s); err != nil {
			return err
		}
	}
	if len(subjects) > 0 {
		b.want(subjects)
	}
	return b.settle(ctx, len(subjects) > 0)
}

// Unsubscribe takes subjects away, all in one round trip, and waits for the answer. While the bus is down there is
// nothing to wait for.
func (b *Bus) Unsubscribe(ctx context.Context, subjects ...string) error {
	if err := b.unsubscribe(ctx, subjects); err != nil {
		return fmt.Errorf("natsbus: unsubscribe: %w", err)
	}
	return nil
}

func (b *Bus) unsubscribe(ctx context.Context, subjects []string) error {
	if b.isClosed() {
		return b.closedError()
	}
	for _, s := range subjects {
		if err := cluster.CheckSubject(s); err != nil {
			return err
		}
	}
	changed := b.unwant(subjects)
	err := b.settle(ctx, changed)
	if errors.Is(err, cluster.ErrDown) {
		return nil
	}
	return err
}

// settle waits until the server has heard of what has changed in interest.
func (b *Bus) settle(ctx context.Context, changed bool) error {
	var r *round
	b.mu.Lock()
	l, serving := b.link, b.serving && b.link.why() == nil
	b.mu.Unlock()
	if changed && serving {
		r = b.next()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !serving {
		return b.explain(errDead)
	}
	if r == nil {
		return nil
	}
	if err := b.confirm(ctx, l, r); err != nil {
		return b.explain(err)
	}
	return r.refused
}

// Receive returns the channel of what is received, see [Buffer].
func (b *Bus) Receive() <-chan cluster.Message { return b.in.out }

// Status returns the channel of states. The bus is up when the server has all its subscriptions. It is closed when
// nats.go has closed the connection for good, after an error of the server that it does not know; the channels stay open
// until Close. A Status with an Err and no new state tells what the server did not permit.
func (b *Bus) Status() <-chan cluster.Status { return b.status.out }

// Close ends the connection. It does not wait for the server; calls that wait return [cluster.ErrClosed], and what the
// reader has not taken is gone, except for 64 messages that may be in the channel. The error is always nil. It must not
// be called by a handler of [NATS].
func (b *Bus) Close() error {
	b.mu.Lock()
	if b.closing {
		b.mu.Unlock()
		<-b.ended
		return nil
	}
	b.closing = true
	if b.state != cluster.StateClosed {
		b.setLocked(cluster.StateClosed, nil)
	}
	l, client := b.link, b.client
	b.mu.Unlock()

	b.end()
	if l != nil {
		l.fail(cluster.ErrClosed) // nats.go may wait for it with its lock held, in a handshake
	}
	client.Close()
	b.running.Wait()
	b.status.close()
	close(b.in.out)
	close(b.ended)
	return nil
}

// use returns the link and the client if the bus can publish.
func (b *Bus) use() (*link, *nats.Conn, error) {
	b.mu.Lock()
	up := b.state == cluster.StateUp && b.link.why() == nil
	l, client := b.link, b.client
	b.mu.Unlock()
	if !up {
		return nil, nil, b.explain(errDead)
	}
	return l, client, nil
}

func (b *Bus) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == cluster.StateClosed
}

func (b *Bus) closedError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why == nil {
		return cluster.ErrClosed
	}
	return fmt.Errorf("%w: %w", cluster.ErrClosed, b.why)
}

// explain says in the words of package cluster that somebody waited for the link in vain. A context's cause stays as it
// is.
func (b *Bus) explain(err error) error {
	if err != errDead {
		return err
	}
	return b.notUp(err)
}

// notUp says why the bus could not do something: why it is closed or down, and as long as that is not known, err.
func (b *Bus) notUp(err error) error {
	if b.isClosed() {
		return b.closedError()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why != nil {
		err = b.why
	} else if b.link != nil && b.link.why() != nil {
		err = b.link.why()
	}
	return fmt.Errorf("%w: %w", cluster.ErrDown, err)
}
