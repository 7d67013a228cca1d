package wshub

import (
	"sync"
	"sync/atomic"

	"github.com/wshub-go/wshub/internal/mesh"
)

// tableShards is how many locks share the sessions of a hub, and how many steps the keep-alive sweep has.
const tableShards = 64

// table finds the sessions of this node by id and by user. It is in shards, so that a mass disconnect does not stop
// new sessions from being accepted.
//
// Lock order: a tableShard's mu, then Session.mu, then a userShard's mu. The events of the hub are published under the
// first, so that whoever hears of a new session finds it, and under the second, so that nothing follows its end;
// nothing of the user's runs under any of them. The mesh, which does not wait, is told under the last of them.
type table struct {
	n       atomic.Int64 // sessions that may be found
	waiting atomic.Int64 // those that are not admitted yet, which only every finds
	mesh    *mesh.Node   // is told who is here; nil without a bus; immutable after New
	shards  [tableShards]tableShard
	users   [tableShards]userShard
}

type tableShard struct {
	mu   sync.Mutex
	byID map[string]*Session // guarded by mu
}

type userShard struct {
	mu     sync.Mutex
	byName map[string]*userSessions // users without a session or reservation are not in it; guarded by mu
}

// userSessions is guarded by its shard's mu.
type userSessions struct {
	all      []*Session
	reserved int // what reserveUser has counted and is no session of the user's yet
}

func (t *table) shard(id string) *tableShard   { return &t.shards[shardOf(id, tableShards)] }
func (t *table) userShard(u string) *userShard { return &t.users[shardOf(u, tableShards)] }

// len returns the number of sessions that may be found.
func (t *table) len() int { return int(t.n.Load()) }

// held returns the number of sessions that are not admitted yet.
func (t *table) held() int { return int(t.waiting.Load()) }

// hold adds s for every alone to find.
func (t *table) hold(s *Session) {
	sh := t.shard(s.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.putLocked(s)
	t.waiting.Add(1)
}

// add makes s known by its id, whether it was held before or is new. announce is called before anybody can find it; it
// must not call the table.
func (t *table) add(s *Session, announce func()) {
	sh := t.shard(s.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	announce()
	s.known = true
	t.n.Add(1) // first, so that no reader of waiting and then n misses it
	if t.mesh != nil {
		t.mesh.SessionsChanged()
	}
	if sh.byID[s.id] == s {
		t.waiting.Add(-1)
		return
	}
	sh.putLocked(s)
}

func (sh *tableShard) putLocked(s *Session) {
	if sh.byID == nil {
		sh.byID = make(map[string]*Session)
	}
	sh.byID[s.id] = s
}

func (t *table) remove(s *Session) {
	sh := t.shard(s.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byID[s.id] != s {
		return
	}
	delete(sh.byID, s.id)
	if s.known {
		t.n.Add(-1)
		if t.mesh != nil {
			t.mesh.SessionsChanged()
		}
	} else {
		t.waiting.Add(-1)
	}
}

func (t *table) get(id string) *Session {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s := sh.byID[id]; s != nil && s.known {
		return s
	}
	return nil
}

// appendShard appends the sessions of shard i to dst, those that are not admitted too if held is set.
func (t *table) appendShard(dst []*Session, i int, held bool) []*Session {
	sh := &t.shards[i]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, s := range sh.byID {
		if held || s.known {
			dst = append(dst, s)
		}
	}
	return dst
}

// all ranges over the sessions that may be found, shard by shard: those that come or go meanwhile may or may not be
// seen.
func (t *table) all(yield func(*Session) bool) { t.walk(false, yield) }

// every is all with those that are not admitted. It is for what the hub does to any connection.
func (t *table) every(yield func(*Session) bool) { t.walk(true, yield) }

func (t *table) walk(held bool, yield func(*Session) bool) {
	var batch []*Session
	for i := range t.shards {
		batch = t.appendShard(batch[:0], i, held)
		for _, s := range batch {
			if !yield(s) {
				return
			}
		}
	}
}

// reserveUser counts an upgrade under way, or a session that changes its user, against the user's limit (0: none). Each
// success is followed by one addUser or one unreserveUser.
func (t *table) reserveUser(user string, limit int) bool {
	sh := t.userShard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.byName[user]
	if u != nil && limit > 0 && len(u.all)+u.reserved >= limit {
		return false
	}
	sh.ofLocked(user).reserved++
	return true
}

func (t *table) unreserveUser(user string) {
	sh := t.userShard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.byName[user].reserved--
	sh.tidyLocked(user)
}

// addUser turns a reservation into an entry of the index. The caller holds s.mu, or s is not known to anybody else.
func (t *table) addUser(s *Session, user string) {
	sh := t.userShard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.ofLocked(user)
	u.reserved--
	s.userAt = len(u.all)
	u.all = append(u.all, s)
	if len(u.all) == 1 && t.mesh != nil {
		t.mesh.WantUser(user)
	}
}

// removeUser takes s out of the index. The caller holds s.mu.
func (t *table) removeUser(s *Session, user string) {
	sh := t.userShard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.byName[user]
	last := len(u.all) - 1
	moved := u.all[last]
	u.all[s.userAt] = moved
	moved.userAt = s.userAt
	u.all[last] = nil
	u.all = u.all[:last]
	if last == 0 && t.mesh != nil {
		t.mesh.UnwantUser(user)
	}
	sh.tidyLocked(user)
}

// ofUser appends the user's sessions to dst.
func (t *table) ofUser(dst []*Session, user string) []*Session {
	sh := t.userShard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.byName[user]; u != nil {
		dst = append(dst, u.all...)
	}
	return dst
}

// countUser returns how many sessions the user has.
func (t *table) countUser(user string) int {
	sh := t.userShard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.byName[user]; u != nil {
		return len(u.all)
	}
	return 0
}

func (sh *userShard) ofLocked(user string) *userSessions {
	u := sh.byName[user]
	if u == nil {
		if sh.byName == nil {
			sh.byName = make(map[string]*userSessions)
		}
		u = new(userSessions)
		sh.byName[user] = u
	}
	return u
}

func (sh *userShard) tidyLocked(user string) {
	if u := sh.byName[user]; len(u.all) == 0 && u.reserved == 0 {
		delete(sh.byName, user)
	}
}
