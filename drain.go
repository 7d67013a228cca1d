package wshub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// drain is how far the hub has come with giving up its sessions.
type drain struct {
	began  sync.Once
	begun  chan struct{} // closed when Drain, Shutdown or Close begins
	ready  time.Time     // when it is no longer waited for load balancers; written before begun is closed
	ended  sync.Once
	ending chan struct{} // closed when Shutdown or Close begins: nothing is waited for any more

	pace *semaphore.Weighted // of 1: who holds it asks the sessions to go
	gap  time.Duration       // between two of them on average, 0 until the first is asked; the pacer's
	// asked is set before the pacer looks for sessions for the last time. One that starts later asks itself to go.
	asked atomic.Bool
}

func (d *drain) init() {
	d.begun = make(chan struct{})
	d.ending = make(chan struct{})
	d.pace = semaphore.NewWeighted(1)
}

// begin closes begun, once.
func (d *drain) begin(settle time.Duration) {
	d.began.Do(func() {
		d.ready = time.Now().Add(settle)
		close(d.begun)
	})
}

// end lets Drain wait for nothing but the end of the sessions.
func (d *drain) end() { d.ended.Do(func() { close(d.ending) }) }

// drainReason is what clients are told.
const drainReason = "server draining"

// Draining returns a channel that is closed when the first of [Hub.Drain], [Hub.Shutdown] and [Hub.Close] begins. It is
// the signal for what else should come to an end, such as long work in a SessionFunc.
func (h *Hub) Draining() <-chan struct{} { return h.drain.begun }

// Drain empties the hub without haste, so that clients which come back at once do not meet the remaining nodes all
// together. [Hub.Draining] is closed and the hub is not ready any more; after the settle time of [WithDrain] upgrades
// are refused with 503, also those under way; then the sessions are asked to go one after the other, in random order
// and at random times over the spread: Messages closes, the SessionFunc returns (it has 5 s), what is pending goes out,
// and the session closes with 1001. Publishing, joining and events go on until [Hub.Shutdown], which is still to be
// called.
//
// It returns nil when the last session has ended, or an error that tells how many are left when ctx ends first; what
// was begun is not undone then, and a further Drain goes on where this one left off, as one that is already waiting
// does. A Shutdown or Close meanwhile ends all waiting but that for the sessions. Drain may be called at any time; a
// SessionFunc that calls it and waits waits for itself.
func (h *Hub) Drain(ctx context.Context) error {
	h.drain.begin(h.opts.settle)
	if h.drain.pace.Acquire(ctx, 1) == nil {
		h.pace(ctx)
		h.drain.pace.Release(1)
	}
	empty := h.gate.emptied()
	select {
	case <-empty:
		return nil
	default:
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain: %d sessions are left: %w", h.gate.len(), context.Cause(ctx))
	}
}

// pace asks all sessions to go. It returns when it has, when there are none, or when somebody else has to: ctx ended,
// or the hub shuts down. Callers hold drain.pace.
func (h *Hub) pace(ctx context.Context) {
	d := &h.drain
	if !d.wait(ctx, nil, d.ready) {
		return
	}
	empty, _ := h.gate.close()
	// Upgrades that had passed the gate become sessions meanwhile; the next round is for them.
	for {
		left := h.staying()
		if len(left) == 0 {
			break
		}
		if d.gap == 0 {
			d.gap = h.opts.spread / time.Duration(len(left))
		}
		start := time.Now()
		for i, s := range left {
			// Each at a random time of its own slot: even, and yet no two nodes in step.
			at := start.Add(time.Duration((float64(i) + rand.Float64()) * float64(d.gap)))
			if !d.wait(ctx, empty, at) {
				return
			}
			s.decide(closedWith(StatusGoingAway, drainReason), asked)
			left[i] = nil // the rest of the spread may be long
		}
	}
	d.asked.Store(true)
	for _, s := range h.staying() {
		s.decide(closedWith(StatusGoingAway, drainReason), asked)
	}
}

// staying returns the sessions that are not closing, in random order: it is that of the table, and so of their ids.
func (h *Hub) staying() (left []*Session) {
	for s := range h.table.every {
		if !s.ended() {
			left = append(left, s)
		}
	}
	return left
}

// wait waits until a time and reports whether to go on: not once ctx or the hub ends, or empty is closed. What is due
// within a millisecond is due: a hundred thousand sessions within seconds need no timer each.
func (d *drain) wait(ctx context.Context, empty <-chan struct{}, until time.Time) bool {
	if rest := time.Until(until); rest >= time.Millisecond {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-empty:
		case <-d.ending:
		case <-timer.C:
		}
	}
	select {
	case <-ctx.Done():
		return false
	case <-empty:
		return false
	case <-d.ending:
		return false
	default:
		return true
	}
}
