package wshub

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"sync"
)

// Limits bounds what a hub takes on. A zero field is its default; each limit has a sentinel error of its own, and all
// of those match [ErrLimit]. Limits hold exactly, also under concurrent dials and joins. They are those of one hub: in a
// cluster a user may have SessionsPerUser sessions on each node, and a topic SessionsPerTopic members.
type Limits struct {
	// Sessions is the number of sessions at once, by default unlimited. One more is answered 503 with Retry-After.
	Sessions int
	// SessionsPerUser is the number of sessions of one user at once, by default unlimited. One more is answered 429.
	// Sessions without a user do not count.
	SessionsPerUser int
	// SessionsPerAddr is the number of sessions of one IP address at once, by default unlimited. One more is answered
	// 429. Behind a proxy all clients share the proxy's address, unless something in front of the hub sets
	// [net/http.Request.RemoteAddr].
	SessionsPerAddr int
	// Upgrades is the number of requests at once between their arrival and the end of their upgrade, authentication
	// included; by default 4096. One more is answered 503 with Retry-After.
	Upgrades int
	// TopicsPerSession is the number of topics one session may be a member of, by default unlimited.
	TopicsPerSession int
	// SessionsPerTopic is the number of members a topic may have, by default unlimited.
	SessionsPerTopic int
	// Pending is the number of values that a topic keeps for members that lag, by default 65,536. In a cluster as many of
	// other nodes may wait until there is room for them; what is more is lost, and told by an [EventGap].
	Pending int
	// PendingBytes is the number of bytes that a topic keeps for members that lag, by default 64 MiB; as many may wait.
	PendingBytes int64
	// Keys is the number of keys that a topic tells apart at once, by default 65,536.
	Keys int
}

// The defaults of Limits.
const (
	defaultUpgrades     = 4096
	defaultPending      = 65_536
	defaultPendingBytes = 64 << 20
	defaultKeys         = 65_536
)

// check returns what is wrong with l, naming each field.
func (l Limits) check() error {
	var errs []error
	for _, f := range []struct {
		name string
		n    int64
	}{
		{"Sessions", int64(l.Sessions)},
		{"SessionsPerUser", int64(l.SessionsPerUser)},
		{"SessionsPerAddr", int64(l.SessionsPerAddr)},
		{"Upgrades", int64(l.Upgrades)},
		{"TopicsPerSession", int64(l.TopicsPerSession)},
		{"SessionsPerTopic", int64(l.SessionsPerTopic)},
		{"Pending", int64(l.Pending)},
		{"PendingBytes", l.PendingBytes},
		{"Keys", int64(l.Keys)},
	} {
		if f.n < 0 {
			errs = append(errs, fmt.Errorf("wshub: WithLimits: %s is %d, want 0 (the default) or more", f.name, f.n))
		}
	}
	if l.Sessions > 0 && l.SessionsPerUser > l.Sessions {
		errs = append(errs, fmt.Errorf("wshub: WithLimits: SessionsPerUser (%d) exceeds Sessions (%d)", l.SessionsPerUser, l.Sessions))
	}
	if l.Sessions > 0 && l.SessionsPerAddr > l.Sessions {
		errs = append(errs, fmt.Errorf("wshub: WithLimits: SessionsPerAddr (%d) exceeds Sessions (%d)", l.SessionsPerAddr, l.Sessions))
	}
	return errors.Join(errs...)
}

// withDefaults returns l with zero fields that have a default set to it.
func (l Limits) withDefaults() Limits {
	if l.Upgrades == 0 {
		l.Upgrades = defaultUpgrades
	}
	if l.Pending == 0 {
		l.Pending = defaultPending
	}
	if l.PendingBytes == 0 {
		l.PendingBytes = defaultPendingBytes
	}
	if l.Keys == 0 {
		l.Keys = defaultKeys
	}
	return l
}

// hashSeed spreads ids, users and addresses over shards, differently in each process, so that nobody can choose names
// that meet in one shard.
var hashSeed = maphash.MakeSeed()

// shardOf returns the shard of key among n, a power of two.
func shardOf(key string, n int) int { return int(maphash.String(hashSeed, key) & uint64(n-1)) }

// addrCounts counts sessions by IP address, in shards, so that a mass disconnect does not stop new dials.
type addrCounts struct {
	shards [16]struct {
		mu sync.Mutex
		n  map[string]int // addresses without a session are not in it; guarded by mu
	}
}

// take counts one more for addr, unless that would exceed limit. give takes it back.
func (c *addrCounts) take(addr string, limit int) bool {
	sh := &c.shards[shardOf(addr, len(c.shards))]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.n[addr] >= limit {
		return false
	}
	if sh.n == nil {
		sh.n = make(map[string]int)
	}
	sh.n[addr]++
	return true
}

func (c *addrCounts) give(addr string) {
	sh := &c.shards[shardOf(addr, len(c.shards))]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.n[addr]--; sh.n[addr] == 0 {
		delete(sh.n, addr)
	}
}

// addrOf returns the IP address of an http.Request.RemoteAddr, or all of it when it has another form.
func addrOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}

// gate counts what is under way and tells when a closed gate's last has left.
type gate struct {
	mu     sync.Mutex
	n      int           // guarded by mu
	closed bool          // guarded by mu
	empty  chan struct{} // made by close, closed when n is 0; guarded by mu
}

// enter counts one more, unless the gate is closed.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.n++
	return true
}

// leave counts one less. Whoever leaves last closes the channel, after the lock is gone.
func (g *gate) leave() {
	g.mu.Lock()
	g.n--
	var empty chan struct{}
	if g.n == 0 && g.closed {
		empty = g.empty
	}
	g.mu.Unlock()
	if empty != nil {
		close(empty)
	}
}

// len returns how many have entered and not left.
func (g *gate) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

// emptied returns the channel that close does, or nil while the gate is open.
func (g *gate) emptied() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.empty
}

// close refuses all that comes later and returns a channel that is closed once all have left. first is false when the
// gate was closed before.
func (g *gate) close() (empty <-chan struct{}, first bool) {
	g.mu.Lock()
	first = !g.closed
	if first {
		g.closed = true
		g.empty = make(chan struct{})
	}
	ch := g.empty
	none := first && g.n == 0
	g.mu.Unlock()
	if none {
		close(ch)
	}
	return ch, first
}
