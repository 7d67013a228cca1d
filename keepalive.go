package wshub

import (
	"sync"
	"time"
)

// keepAlive asks silent clients for life and closes those that give none. It is one sweep over the session table, shard
// by shard: a round takes half the interval or timeout, whichever is less, and each step of it visits one shard. Ids
// are random, so are shards; 100,000 sessions accepted in one second are pinged evenly over half an interval.
//
// Between steps there is an item in the engine's timer heap and no goroutine; without sessions there is not even that.
// A timer per session would cost 200 bytes each, and as many wake-ups.
type keepAlive struct {
	h        *Hub
	interval time.Duration // 0: off
	timeout  time.Duration

	step   time.Duration // between two steps
	shards int           // visited per step; divides tableShards

	mu     sync.Mutex
	armed  bool   // a step is due or under way; guarded by mu
	cancel func() // of the step that is due; guarded by mu
	ended  bool   // guarded by mu

	next  int        // the shard of the next step; the armed step's own, as is batch
	batch []*Session // reused
}

func (k *keepAlive) init(h *Hub, interval, timeout time.Duration) {
	k.h, k.interval, k.timeout = h, interval, timeout
	if interval == 0 {
		return
	}
	round := min(interval, timeout) / 2
	k.shards = 1
	for k.shards < tableShards && round*time.Duration(k.shards)/tableShards < time.Millisecond {
		k.shards *= 2
	}
	k.step = max(round*time.Duration(k.shards)/tableShards, time.Microsecond)
}

// wake arms the sweep unless it is. It is called after a session was added to the table.
func (k *keepAlive) wake() {
	if k.interval == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.armed && !k.ended {
		k.armed = true
		k.armLocked()
	}
}

func (k *keepAlive) armLocked() {
	k.cancel = k.h.engine.At(time.Now().Add(k.step), func() {
		if k.h.tasks.enter() {
			go k.sweep() // owner: the hub; ends after one step
		}
	})
}

// end stops the sweep for good. A step under way goes on to its end.
func (k *keepAlive) end() {
	k.mu.Lock()
	k.ended = true
	cancel := k.cancel
	k.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// sweep is one step. Steps do not overlap: the next is armed at the end of this one.
func (k *keepAlive) sweep() {
	defer k.h.tasks.leave()
	now := time.Now()
	for range k.shards {
		k.batch = k.h.table.appendShard(k.batch[:0], k.next, true)
		k.next = (k.next + 1) % tableShards
		for _, s := range k.batch {
			k.visit(s, now)
		}
		clear(k.batch) // hold no session that has ended
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	// A session added after this look finds armed unset and wakes the sweep.
	if t := &k.h.table; k.ended || t.held() == 0 && t.len() == 0 {
		k.armed = false
		return
	}
	k.armLocked()
}

// visit pings a client that has been silent for the interval, and closes one that has not answered in time.
func (k *keepAlive) visit(s *Session, now time.Time) {
	idle := s.conn.Idle(now)
	if s.ended() {
		return
	}
	if idle == 0 {
		// Its signs of life are not read now: the handler is busy. The ping may find that nobody is there any more,
		// which nothing else would tell a session that only waits.
		if now.Sub(s.pinged) >= k.interval {
			s.pinged = now
			s.conn.QueuePing()
		}
		return
	}
	life := now.Add(-idle)
	switch {
	case s.pinged.After(life):
		if now.Sub(s.pinged) >= k.timeout {
			s.decide(verdict{code: StatusPolicyViolation, reason: "keep-alive timeout", cause: ErrKeepAlive}, atOnce)
		}
	case idle >= k.interval:
		s.pinged = now
		s.conn.QueuePing()
	}
}
