package redisbus

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/wshub-go/wshub/cluster"
)

// Bus is a [cluster.Bus] over Redis. All its methods may be called by any goroutine.
type Bus struct {
	options
	source *source
	links  []*link // one for each lane
	inbox  *inbox
	status *teller

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // readers
	close   func() error
}

var _ cluster.Bus = (*Bus)(nil)

// Connect returns a bus over the server at an address, as go-redis takes it:
//
//	redis://user:password@localhost:6379
//	rediss://localhost:6379                             with TLS
//	unix:///run/redis.sock
//	redis://a:6379?addr=b:6379&addr=c:6379              servers of a cluster: some of them are enough
//
// It does not wait for the connection, which is made, and made again, in the background: a server that is not there is not
// an error. A database number does not matter, see the package.
func Connect(address string, opts ...Option) (*Bus, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	s, err := parse(address, o)
	if err != nil {
		return nil, err
	}
	return start(s, o), nil
}

// New returns a bus over the servers of a client, a *redis.Client, one made by redis.NewFailoverClient, or a
// *redis.ClusterClient, otherwise like Connect. The bus uses the client's options (where the servers are, who we are, TLS,
// dialer, OnConnect), not its connections, its hooks, its timeouts and its retries: it has connections of its own, which
// Close closes. The client stays the caller's, who may close it after the bus, or before when it is not a failover client.
func New(client redis.UniversalClient, opts ...Option) (*Bus, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	s, err := adopt(client, o)
	if err != nil {
		return nil, err
	}
	return start(s, o), nil
}

func start(s *source, o options) *Bus {
	b := &Bus{options: o, source: s}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.inbox = newInbox(o.messages, o.bytes, b.ctx.Done())
	b.close = sync.OnceValue(b.end)
	for _, front := range lanes(o) {
		b.links = append(b.links, newLink(b, front))
	}
	b.status = newTeller(len(b.links))
	b.running.Add(len(b.links))
	for _, l := range b.links {
		go l.run() // owner: b; ends with Close
	}
	return b
}

// Subscribe adds subjects to those the bus listens to, and waits until the server has confirmed them. While there can be no
// connection it returns cluster.ErrDown at once; when the connection is lost it waits for the next one. After any error but
// cluster.ErrClosed and cluster.ErrSubject the subjects are wanted all the same.
func (b *Bus) Subscribe(ctx context.Context, subjects ...string) error {
	return b.change(ctx, "subscribe", subjects, (*interest).want)
}

// Unsubscribe takes subjects away, and waits until the server has confirmed that; while there is no connection there is
// nothing to wait for. After any error but cluster.ErrClosed and cluster.ErrSubject they are not wanted all the same.
func (b *Bus) Unsubscribe(ctx context.Context, subjects ...string) error {
	return b.change(ctx, "unsubscribe", subjects, (*interest).unwant)
}

// change gives subjects to their links and waits for the call.
func (b *Bus) change(ctx context.Context, what string, subjects []string, f func(in *interest, names []string, c *call) ([]*call, error)) error {
	if b.ctx.Err() != nil {
		return fmt.Errorf("redisbus: %s: %w", what, cluster.ErrClosed)
	}
	for _, s := range subjects {
		if err := cluster.CheckSubject(s); err != nil {
			return fmt.Errorf("redisbus: %s: %w", what, err)
		}
	}
	c := newCall()
	var away error
	for i, names := range b.byLane(subjects) {
		if len(names) == 0 {
			continue
		}
		l := b.links[i]
		ended, err := f(&l.interest, names, c)
		if err != nil {
			away = err
		}
		endAll(ended, nil)
		signal(l.wake)
	}
	c.end(nil)
	if err := b.wait(ctx, c, away); err != nil {
		return fmt.Errorf("redisbus: %s: %w", what, err)
	}
	return nil
}

func (b *Bus) wait(ctx context.Context, c *call, away error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if away != nil {
		return away
	}
	select {
	case <-c.done:
		return c.err
	case <-b.ctx.Done():
		return cluster.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *Bus) byLane(subjects []string) [][]string {
	if len(b.links) == 1 {
		return [][]string{subjects}
	}
	lanes := make([][]string, len(b.links))
	for _, s := range subjects {
		i := laneOf(s, len(lanes))
		lanes[i] = append(lanes[i], s)
	}
	return lanes
}

// prune is called when a link has found its server: what belongs to servers that no link has is closed.
func (b *Bus) prune() {
	used := make(map[string]bool)
	for _, l := range b.links {
		if node := l.node.Load(); node != nil {
			used[node.Options().Addr] = true
		}
	}
	b.source.keep(used)
}

// Receive returns the channel of everything that is received. Whoever reads it too slowly loses what does not fit, see
// [Buffer].
func (b *Bus) Receive() <-chan cluster.Message { return b.inbox.out }

// deliver hands a message on, or drops it.
func (b *Bus) deliver(m cluster.Message) {
	if !b.inbox.push(m) {
		b.status.lost(1)
	}
}

// Status returns the channel of states. Its first is [cluster.StateDown]: the connection is yet to be made.
func (b *Bus) Status() <-chan cluster.Status { return b.status.out }

// Close ends the bus: its goroutines, its connections, its channels, and calls that wait. It waits for an attempt to connect
// only with a dialer that does not look at its context, as that of a client with TLS.
func (b *Bus) Close() error { return b.close() }

func (b *Bus) end() error {
	b.cancel()
	err := b.source.close() // first: it ends those who publish
	b.running.Wait()
	b.inbox.close()
	b.status.close()
	if err != nil {
		return fmt.Errorf("redisbus: close: %w", err)
	}
	return nil
}
