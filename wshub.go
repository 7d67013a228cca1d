package wshub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/mesh"
	"github.com/wshub-go/wshub/internal/wire"
)

// Hub holds the sessions and topics of one node, which may be one of many, see [WithBus]. Make one with [New]; nothing
// needs starting, and an idle hub has no goroutine, but for its bus. All methods may be called by any goroutine.
type Hub struct {
	opts    options // immutable after New, as is inbound
	inbound inbound
	origins originCheck

	engine    *fanout.Engine
	rule      *fanout.Rule // of everyone's members
	reg       registry
	mesh      *mesh.Node    // nil without a bus; immutable after New
	everyone  *fanout.Topic // each session is a member from its admission on
	far       *farTopic     // everyone's part of the cluster; nil without a bus
	late      lateMail
	errands   errands
	events    *fanout.Topic // of Event values; its members are the streams of Events, and observers
	observers observers
	table     table
	keepAlive keepAlive
	logs      logLimiter

	// What limits count.
	taken     atomic.Int64 // sessions and upgrades under way
	addrs     addrCounts
	upgrades  *semaphore.Weighted
	upgrading atomic.Int64 // those that hold upgrades

	over    context.Context // of what other nodes have sent and waits for room here; set with mesh, as is endFar
	endFar  context.CancelFunc
	parted  atomic.Bool
	started time.Time   // immutable after New
	closed  atomic.Bool // set before Shutdown looks for sessions
	off     atomic.Bool // set before cutOff does
	drain   drain
	gate    gate // sessions, from just before their upgrade to their end
	tasks   gate // goroutines of the hub itself, and streams until their channel is closed

	counts counts
}

// New returns a hub. The error tells everything that is wrong with the options, each by its name.
func New(opts ...Option) (*Hub, error) {
	o := defaultOptions()
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	h := &Hub{started: time.Now()}
	errs := []error{o.check()}
	var err error
	if h.inbound, err = newInbound(o.inbound); err != nil {
		errs = append(errs, fmt.Errorf("wshub: WithInbound: %w", err))
	}
	if h.origins, err = compileOrigins(o.origins); err != nil {
		errs = append(errs, fmt.Errorf("wshub: WithOrigins: %w", err))
	}
	given := o.policy
	o.policy = defaultPolicy().With(given)
	if err := o.policy.validate(policyScope{place: placeHub, given: given, maxPending: o.limits.Pending, bus: o.bus != nil}); err != nil {
		errs = append(errs, fmt.Errorf("wshub: WithPolicy: %w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	h.opts = o
	h.engine = fanout.New(fanout.Config{WriteTimeout: o.writeTimeout})
	h.upgrades = semaphore.NewWeighted(int64(o.limits.Upgrades))
	h.drain.init()
	h.keepAlive.init(h, o.pingInterval, o.pingTimeout)
	h.rule = newRule(h.effective(Policy{}), o.limits)
	h.reg.init(h)
	h.everyone = h.newEveryone()
	h.events = h.newEvents()
	for _, obs := range o.observers {
		h.observe(obs)
	}
	if o.bus != nil { // last: the bus of a New that fails is its caller's
		h.meet()
	}
	return h, nil
}

// Session returns the session with the given id, if it is on this node.
func (h *Hub) Session(id string) (*Session, bool) {
	s := h.table.get(id)
	return s, s != nil
}

// Sessions ranges over the sessions of this node, in no order. Sessions that come or go meanwhile may or may not be
// seen.
func (h *Hub) Sessions() iter.Seq[*Session] { return h.table.all }

// UserSessions ranges over the sessions of a user on this node; of "" there are none.
func (h *Hub) UserSessions(id string) iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		if id == "" {
			return
		}
		for _, s := range h.table.ofUser(nil, id) {
			if !yield(s) {
				return
			}
		}
	}
}

// Len returns the number of sessions of this node.
func (h *Hub) Len() int { return h.table.len() }

// Node returns the node's id.
func (h *Hub) Node() string { return h.opts.node }

// shutdownReason is what clients are told.
const shutdownReason = "server shutting down"

// Shutdown ends the hub gracefully: upgrades are refused with 503, publishing fails with [ErrClosed], each session's
// Messages closes, its SessionFunc returns (it has 5 s), what is pending for it goes out, and it closes with 1001. It
// returns when the last session has ended, streams are closed, and no goroutine of the hub remains; observers have been
// told of everything, and readers of events have up to 1 s to take the last ones. When ctx ends first the rest is
// closed at once, as by [Hub.Close], and the error is ctx's. It may be called at any time, more than once, and beside
// Drain and Close; a SessionFunc that calls it and waits waits for itself. [Hub.Drain] before it takes its time.
//
// With [WithBus] the node says goodbye to the others once its sessions have ended, so that they need not wait for its
// silence, and closes the bus. An error of that is Shutdown's when there is no other.
func (h *Hub) Shutdown(ctx context.Context) error {
	empty := h.begin(func(s *Session) {
		s.decide(closedWith(StatusGoingAway, shutdownReason), asked)
	})
	select {
	case <-empty:
	case <-ctx.Done():
		left := h.gate.len()
		h.cutOff()
		h.part(ctx)
		return fmt.Errorf("shutdown: %d sessions were closed at once: %w", left, context.Cause(ctx))
	}
	parted := h.part(ctx) // before events end: it may tell some
	h.settleEvents(ctx)
	h.closeStreams()
	tasks, _ := h.tasks.close()
	select {
	case <-tasks:
	case <-ctx.Done():
		return fmt.Errorf("shutdown: %w", context.Cause(ctx))
	}
	if err := h.engine.Wait(ctx); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	if parted != nil {
		return fmt.Errorf("shutdown: %w", parted)
	}
	return nil
}

// eventsWait bounds how long Shutdown waits for streams of events.
const eventsWait = time.Second

// settleEvents lets those who read events have the last ones, observers while ctx lasts, before they end. Nobody tells
// when somebody has taken a value, so this looks, ever less often.
func (h *Hub) settleEvents(ctx context.Context) {
	defer h.observers.end()
	end := time.Now().Add(eventsWait)
	behind := func() bool {
		return h.observers.behind() || h.events.Len() > 0 && h.events.Tally().Pending > 0 && time.Now().Before(end)
	}
	for nap := time.Millisecond; behind(); nap = min(2*nap, 50*time.Millisecond) {
		select {
		case <-time.After(nap):
		case <-ctx.Done():
			return
		}
	}
}

// Close ends the hub at once: each session's connection is closed after a close frame of 1001 that it may or may not
// see, what is pending is not sent, contexts end. It does not wait for SessionFuncs to return; use [Hub.Shutdown]
// after it for that. It may be called at any time and more than once.
//
// With [WithBus] the node says goodbye to the others, for which it has 1 s, and closes the bus. The error is that of
// closing the bus, and nil without one.
func (h *Hub) Close() error {
	h.begin(func(*Session) {})
	h.cutOff()
	ctx, cancel := context.WithTimeout(context.Background(), partWait)
	defer cancel()
	if err := h.part(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// partWait bounds how long Close lets the node say goodbye.
const partWait = time.Second

// begin closes the hub to whatever is new and calls f for each session.
func (h *Hub) begin(f func(*Session)) (empty <-chan struct{}) {
	h.closed.Store(true)
	h.drain.begin(0)
	empty, _ = h.gate.close()
	h.drain.end() // after the gate was closed: Drain then waits for its last to leave
	h.keepAlive.end()
	h.reg.stopTimers()
	for s := range h.table.every {
		f(s)
	}
	return empty
}

// cutOff closes all connections and streams now.
func (h *Hub) cutOff() {
	h.off.Store(true)
	for s := range h.table.every {
		s.cutOff()
	}
	h.closeStreams()
	h.tasks.close()
}

// cutOff is what the hub's does to one session.
func (s *Session) cutOff() {
	s.expel(closedWith(StatusGoingAway, shutdownReason))
	s.abort()
}

// closedErr is nil while the hub is open.
func (h *Hub) closedErr() error {
	if h.closed.Load() {
		return ErrClosed
	}
	return nil
}

// originAllowed reports whether the request may come from where it does.
func (h *Hub) originAllowed(r *http.Request) bool {
	if check := h.opts.checkOrigin; check != nil {
		return check(r)
	}
	return h.origins.allow(r)
}

func (h *Hub) wireOptions() wire.Options {
	o := &h.opts
	return wire.Options{
		HoldClose:         true, // until what came before has been answered, see conclude
		Subprotocols:      o.subprotocols,
		Compress:          o.compress,
		CompressThreshold: o.threshold,
		ReadLimit:         o.readLimit,
		MessageTimeout:    o.messageTimeout,
		SendBuffer:        o.sendBuffer,
		WriteTimeout:      o.writeTimeout,
	}
}

// newID returns an id for a session: the node, a dot, which no node has in it, and 130 random bits.
func (h *Hub) newID() string { return h.opts.node + "." + rand.Text() }

// randomNode returns a node id that no other node has.
func randomNode() string { return rand.Text()[:12] }

// log writes to the hub's logger, once a minute at most for each cause.
func (h *Hub) log(cause string, level slog.Level, msg string, args ...any) {
	if write := h.line(cause, level, msg, args...); write != nil {
		write()
	}
}

// line returns what writes a line to the hub's logger, or nil when the cause has had its line of the minute.
func (h *Hub) line(cause string, level slog.Level, msg string, args ...any) (write func()) {
	if !h.opts.logger.Enabled(context.Background(), level) {
		return nil
	}
	ok, left := h.logs.allow(cause, time.Now())
	if !ok {
		return nil
	}
	if left > 0 {
		args = append(args, "suppressed", left)
	}
	return func() { h.opts.logger.Log(context.Background(), level, msg, args...) }
}

// panicError is what a panic in user code becomes.
func panicError(value any) error {
	if err, ok := value.(error); ok {
		return fmt.Errorf("%w: %w", ErrPanic, err)
	}
	return fmt.Errorf("%w: %v", ErrPanic, value)
}

// logPanic logs a panic in user code. s may be nil.
func (h *Hub) logPanic(where string, s *Session, value any, stack []byte) {
	if write := h.panicLine(where, s, value, stack); write != nil {
		write()
	}
}

func (h *Hub) panicLine(where string, s *Session, value any, stack []byte) (write func()) {
	args := []any{"where", where, "panic", value, "stack", string(stack)}
	if s != nil {
		args = append(args, "session", s.id)
	}
	return h.line("panic in "+where, slog.LevelError, "panic", args...)
}

// logFilter logs the panic of a filter and does not wait for it: the caller is a worker, and a logger may block.
func (h *Hub) logFilter(s *Session, p *fanout.PanicError) {
	h.aside(h.panicLine("filter", s, p.Value, p.Stack))
}

// aside calls write, unless it is nil, and does not wait for it.
func (h *Hub) aside(write func()) {
	switch {
	case write == nil:
	case h.tasks.enter():
		go func() { // owner: the hub; ends when the line is written
			defer h.tasks.leave()
			write()
		}()
	default: // closed: nobody waits for the worker any more
		write()
	}
}
