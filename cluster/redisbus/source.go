package redisbus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	dialTimeout    = 2 * time.Second // for a connection
	commandTimeout = 5 * time.Second // for a pipeline to be written, and for it to be answered
	poolSize       = 8               // connections for publishing, for each server
)

// source is where servers come from: one server, or a cluster. Its clients are the bus's own, since a client as it is
// made by default repeats what may have been sent already, and does not look at deadlines.
type source struct {
	client  *redis.Client
	cluster *redis.ClusterClient // nil: client is the server

	mu         sync.Mutex
	publishers map[string]*publisher // by address, guarded by mu; nil once closed
}

// publisher is a client to publish with on one server. It is another one than that of the links, and is left for a new one
// when a link has lost its connection: what is in its pool may be dead without a sign, and go-redis does not try to dial
// for a second after a few attempts that failed.
type publisher struct {
	client *redis.Client
	made   time.Time
	before *redis.Client // the one that it has replaced; calls may still be in it
}

// parse makes a source of an address.
func parse(address string, o options) (*source, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, badAddress(err)
	}
	if o.sharded || u.Query().Has("addr") {
		c, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, badAddress(err)
		}
		return newClusterSource(c), nil
	}
	c, err := redis.ParseURL(address)
	if err != nil {
		return nil, badAddress(err)
	}
	c.Dialer = dialer(c.TLSConfig)
	return newSource(c), nil
}

// badAddress wraps an error without the address, which may have a password.
func badAddress(err error) error {
	if bad := (*url.Error)(nil); errors.As(err, &bad) {
		err = bad.Err
	}
	return fmt.Errorf("redisbus: address: %w", err)
}

// adopt makes a source of a client's options.
func adopt(client redis.UniversalClient, o options) (*source, error) {
	switch client := client.(type) {
	case *redis.Client:
		if client == nil {
			break
		}
		if o.sharded {
			return nil, errors.New("redisbus: sharded channels need a *redis.ClusterClient")
		}
		c := *client.Options()
		return newSource(&c), nil
	case *redis.ClusterClient:
		if client == nil {
			break
		}
		c := *client.Options()
		return newClusterSource(&c), nil
	}
	return nil, fmt.Errorf("redisbus: a client of type %T: want a *redis.Client or a *redis.ClusterClient", client)
}

func newSource(o *redis.Options) *source {
	s := &source{publishers: make(map[string]*publisher)}
	tune(o)
	s.client = redis.NewClient(o)
	return s
}

func newClusterSource(o *redis.ClusterOptions) *source {
	s := &source{publishers: make(map[string]*publisher)}
	o.Addrs = slices.Clone(o.Addrs)
	o.ReadOnly, o.RouteByLatency, o.RouteRandomly = false, false, false // links go to masters
	made := o.NewClient
	if made == nil {
		made = redis.NewClient
	}
	o.NewClient = func(o *redis.Options) *redis.Client {
		if o.Dialer == nil {
			o.Dialer = dialer(o.TLSConfig)
		}
		tune(o)
		return made(o)
	}
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	s.cluster = redis.NewClusterClient(o)
	return s
}

// tune makes options of what a bus needs: no repeats, deadlines that hold, nothing in the background.
func tune(o *redis.Options) {
	o.Protocol = 2 // all that is needed, and cheaper to read
	o.PushNotificationProcessor = nil
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.ClientSideCache, o.ClientSideCacheConfig = nil, nil
	o.AutoPipelineOptions = nil

	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout = dialTimeout
	o.ReadTimeout, o.WriteTimeout = commandTimeout, commandTimeout
	o.ContextTimeoutEnabled = true

	o.PoolSize, o.PipelinePoolSize, o.MaxConcurrentDials = poolSize, -1, 0
	o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = 0, 0, 0
	o.PoolTimeout = commandTimeout
	o.Dialer = lend(o.Dialer)
}

// dialer is the client's own, except that the context ends it with TLS too.
func dialer(c *tls.Config) dialFunc {
	plain := &net.Dialer{Timeout: dialTimeout}
	if c == nil {
		return plain.DialContext
	}
	return (&tls.Dialer{NetDialer: plain, Config: c}).DialContext
}

// server returns the client of the server that has a lane: of a cluster the master of the slot of the lane's front or, when
// channels are not sharded and every server has all of them, any.
func (s *source) server(ctx context.Context, front string, sharded bool) (*redis.Client, error) {
	if s.cluster == nil {
		return s.client, nil
	}
	if !sharded {
		front = strconv.Itoa(rand.Int())
	}
	return s.cluster.MasterForKey(ctx, front)
}

// moved has the source find out where the slots are. It does not wait.
func (s *source) moved(ctx context.Context) {
	if s.cluster != nil {
		s.cluster.ReloadState(ctx)
	}
}

// publisher returns the client to publish with on a node, nil when the source is closed.
func (s *source) publisher(node *redis.Client) *redis.Client {
	addr := node.Options().Addr
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.publishers[addr]
	if p == nil {
		if s.publishers == nil {
			return nil
		}
		p = newPublisher(node)
		s.publishers[addr] = p
	}
	return p.client
}

// keep closes the publishers of all other addresses: servers that have left the cluster.
func (s *source) keep(used map[string]bool) {
	var end []*redis.Client
	s.mu.Lock()
	for addr, p := range s.publishers {
		if !used[addr] {
			end = append(end, p.before, p.client)
			delete(s.publishers, addr)
		}
	}
	s.mu.Unlock()
	closeAll(end)
}

// renew makes a node's publisher, in place of one that is older than the last time that the node did not answer. Calls that
// are in that one may end; with drop they are made to, since nobody will answer them.
func (s *source) renew(node *redis.Client, bad time.Time, drop bool) {
	addr := node.Options().Addr
	var end []*redis.Client
	s.mu.Lock()
	if p := s.publishers[addr]; s.publishers != nil && (p == nil || p.made.Before(bad)) {
		next := newPublisher(node)
		switch {
		case p == nil:
		case drop:
			end = append(end, p.before, p.client)
		default:
			end = append(end, p.before)
			next.before = p.client
		}
		s.publishers[addr] = next
	}
	s.mu.Unlock()
	closeAll(end)
}

func newPublisher(node *redis.Client) *publisher {
	o := *node.Options()
	return &publisher{client: redis.NewClient(&o), made: time.Now()}
}

func (s *source) close() error {
	var end []*redis.Client
	s.mu.Lock()
	for _, p := range s.publishers {
		end = append(end, p.before, p.client)
	}
	s.publishers = nil
	s.mu.Unlock()
	err := closeAll(end)
	if s.cluster != nil {
		return errors.Join(err, s.cluster.Close())
	}
	return errors.Join(err, s.client.Close())
}

func closeAll(clients []*redis.Client) (err error) {
	for _, c := range clients {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}
