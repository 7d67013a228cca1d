package wshub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/wshub-go/wshub/internal/wire"
)

// SessionFunc serves one session, in a goroutine of its own. ctx is [Session.Context]. The session ends when it
// returns, and its result decides the close: nil 1000; a [*CloseError] its code; a message that does not decode 1007;
// limits, refusals and what else clients get wrong 1008 ([ErrLimit], [ErrUnauthorized], [ErrForbidden], [ErrNotFound],
// a [*RejectError], [ErrName], [ErrAlreadyMember], [ErrNotMember], [ErrUnknownEvent]); [ErrSlow] 1013; [ErrClosed] and
// [ErrDraining] 1001; anything once the session is closing: nothing. Only the rest is 1011, and logged. A panic is
// 1011, logged with its stack.
type SessionFunc func(ctx context.Context, s *Session) error

// Middleware wraps a SessionFunc. The first one given is the outermost.
type Middleware func(SessionFunc) SessionFunc

// Handler returns a handler that upgrades each request and serves it with fn. ServeHTTP returns once the upgrade is
// done or refused; the session goes on.
func (h *Hub) Handler(fn SessionFunc, mw ...Middleware) http.Handler {
	if fn == nil {
		panic("wshub: Handler: nil SessionFunc")
	}
	v := service{wrap(fn, mw), isEach(fn)}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.serve(w, r, func(*http.Request) (service, error) { return v, nil })
	})
}

// HandlerFor is Handler for SessionFuncs that depend on the request: f is called once for each, after origin, limits
// and authentication and before the upgrade, in the request's goroutine. Take what you need from path, query and
// headers there; the request is not kept. An error refuses the upgrade as [Authenticate]'s does, so that a room that
// does not exist is [ErrNotFound] and 404.
func (h *Hub) HandlerFor(f func(*http.Request) (SessionFunc, error), mw ...Middleware) http.Handler {
	if f == nil {
		panic("wshub: HandlerFor: nil func")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.serve(w, r, func(r *http.Request) (service, error) {
			fn, err := f(r)
			if err == nil && fn == nil {
				err = &RejectError{Status: http.StatusInternalServerError, Reason: "no SessionFunc"}
			}
			if err != nil {
				return service{}, err
			}
			return service{wrap(fn, mw), isEach(fn)}, nil
		})
	})
}

// service is what serves a session.
type service struct {
	fn   SessionFunc // in its middleware; nil: by hand
	each bool        // within the middleware it is Each
}

func wrap(fn SessionFunc, mw []Middleware) SessionFunc {
	for i := len(mw) - 1; i >= 0; i-- {
		fn = mw[i](fn)
	}
	return fn
}

// Accept upgrades a request by hand: origin, limits and authentication as with [Hub.Handler], but no SessionFunc. It
// returns once the session is open: every later send to everyone reaches it, with [WithAdmission] once it is admitted.
// The caller reads [Session.Messages] and calls [Session.Close]; the session also ends when the client closes. An error
// means that the request was answered: it is what [Authenticate] returned, [ErrUpgrade], [ErrPanic], or matches
// [ErrLimit], [ErrDraining], or [ErrUnauthorized].
func (h *Hub) Accept(w http.ResponseWriter, r *http.Request) (*Session, error) {
	return h.accept(w, r, nil)
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request, f func(*http.Request) (service, error)) {
	h.accept(w, r, f) // the answer has told, and the log what nobody else is told
}

// accept is everything from a request to a running session. f is nil without a SessionFunc.
func (h *Hub) accept(w http.ResponseWriter, r *http.Request, f func(*http.Request) (service, error)) (*Session, error) {
	noted := statusWriter{ResponseWriter: w}
	s, err := h.upgrade(&noted, r, f)
	if err != nil {
		h.counts.refused.Add(1)
		h.emit(Event{Kind: EventRefused, Status: noted.status, Cause: err})
		return nil, fmt.Errorf("accept: %w", err)
	}
	return s, nil
}

// statusWriter notes the status of what is answered.
type statusWriter struct {
	http.ResponseWriter
	status int // 0: nothing yet
}

func (n *statusWriter) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

// WriteHeaderNow sends the header on writers that hold it back until the first byte of a body.
func (n *statusWriter) WriteHeaderNow() {
	if w, ok := n.ResponseWriter.(interface{ WriteHeaderNow() }); ok {
		w.WriteHeaderNow()
	}
}

// Unwrap is for [http.ResponseController].
func (n *statusWriter) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// reservation is what an upgrade under way has taken of the limits. undo gives all of it back.
type reservation struct {
	h       *Hub
	upgrade bool   // of Limits.Upgrades
	entered bool   // the gate
	counted bool   // of Limits.Sessions
	addr    string // of Limits.SessionsPerAddr; "": none taken
	user    string // of Limits.SessionsPerUser; "": none taken
}

func (v *reservation) undo() {
	if v.entered {
		v.h.gate.leave()
	}
	if v.user != "" {
		v.h.table.unreserveUser(v.user)
	}
	if v.counted {
		v.h.release(v.addr)
	}
	if v.upgrade {
		v.h.upgraded()
	}
}

// upgraded says that an upgrade is under way no more.
func (h *Hub) upgraded() {
	h.upgrading.Add(-1)
	h.upgrades.Release(1)
}

// upgrade checks the request, upgrades it and starts the session. Whatever fails, also by a panic, leaves nothing
// taken.
func (h *Hub) upgrade(w http.ResponseWriter, r *http.Request, f func(*http.Request) (service, error)) (s *Session, err error) {
	taken := reservation{h: h}
	defer func() {
		if s == nil {
			taken.undo()
		}
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			h.logPanic("upgrade", nil, p, debug.Stack())
			refuse(w, &RejectError{Status: http.StatusInternalServerError})
			s, err = nil, panicError(p)
		}
	}()

	if h.gate.emptied() != nil {
		return nil, turnAway(w, http.StatusServiceUnavailable, ErrDraining)
	}
	if !h.upgrades.TryAcquire(1) {
		return nil, turnAway(w, http.StatusServiceUnavailable, ErrTooManyUpgrades)
	}
	h.upgrading.Add(1)
	taken.upgrade = true
	if err := h.take(r, &taken); err != nil {
		status := http.StatusServiceUnavailable // for the hub's sake
		if errors.Is(err, ErrTooManySessionsPerAddr) {
			status = http.StatusTooManyRequests // for the client's
		}
		return nil, turnAway(w, status, err)
	}
	if !h.originAllowed(r) {
		return nil, refuse(w, &RejectError{Status: http.StatusForbidden, Reason: "origin not allowed"})
	}
	var ident Identity
	if auth := h.opts.authenticate; auth != nil {
		if ident, err = auth(r); err != nil {
			return nil, refuse(w, err)
		}
		if ident.expired(time.Now()) {
			return nil, refuse(w, ErrExpired)
		}
	}
	if ident.User != "" {
		if !h.table.reserveUser(ident.User, h.opts.limits.SessionsPerUser) {
			return nil, turnAway(w, http.StatusTooManyRequests, ErrTooManySessionsPerUser)
		}
		taken.user = ident.User
	}
	var v service
	if f != nil {
		if v, err = f(r); err != nil {
			return nil, refuse(w, err)
		}
	}
	// From here on Drain and Shutdown wait for the session.
	if !h.gate.enter() {
		return nil, turnAway(w, http.StatusServiceUnavailable, ErrDraining)
	}
	taken.entered = true
	conn, err := wire.Accept(w, r, h.wireOptions())
	if err != nil {
		h.log("upgrade", slog.LevelDebug, "upgrade failed", "err", err)
		return nil, fmt.Errorf("%w: %w", ErrUpgrade, err)
	}
	s = h.open(conn, r, ident, taken.addr, v.fn != nil)
	h.upgraded()
	s.start(v)
	return s, nil
}

// take counts the session against the hub's limit and the address's.
func (h *Hub) take(r *http.Request, taken *reservation) error {
	if limit := h.opts.limits.Sessions; h.taken.Add(1) > int64(limit) && limit > 0 {
		h.taken.Add(-1)
		return ErrTooManySessions
	}
	if limit := h.opts.limits.SessionsPerAddr; limit > 0 {
		addr := addrOf(r.RemoteAddr)
		if !h.addrs.take(addr, limit) {
			h.taken.Add(-1)
			return ErrTooManySessionsPerAddr
		}
		taken.addr = addr
	}
	taken.counted = true
	return nil
}

// release gives back what take counted.
func (h *Hub) release(addr string) {
	if addr != "" {
		h.addrs.give(addr)
	}
	h.taken.Add(-1)
}

// open makes the session: member of everyone, found by id and user, announced, unless it waits to be admitted.
func (h *Hub) open(conn *wire.Conn, r *http.Request, ident Identity, addr string, served bool) *Session {
	s := &Session{hub: h, conn: conn, id: h.newID(), addr: addr, ident: ident, connected: time.Now(), early: new([]Event)}
	s.holders.Store(1) // who reads
	if served {
		s.holders.Store(2)
	} else {
		s.stage = byHand
	}
	s.reading.msgRate, s.reading.byteRate = h.inbound.limiters()
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(r.Context()))
	s.sub = h.engine.NewSubscriber(conn, (*hooks)(s))
	conn.SetWake(s.sub.Visit)
	if n := h.opts.limits.TopicsPerSession; n > 0 {
		s.sub.Limit(n + 1) // with everyone
	}
	if h.opts.admission > 0 && ident.User == "" {
		s.hold()
	} else {
		s.stage |= admitted // before its user's sessions have it: from then on others may close it
		if ident.User != "" {
			h.table.addUser(s, ident.User)
		}
		s.enroll()
	}
	h.counts.accepted.Add(1)
	s.mu.Lock()
	s.expireLocked()
	s.mu.Unlock()
	h.keepAlive.wake()
	return s
}

// start starts the session's goroutines.
func (s *Session) start(v service) {
	s.reading.role.Store(roleNone)
	if v.fn != nil {
		go s.run(v.fn) // owner: the session; ends when fn returns
	}
	if v.each && !s.hub.inbound.queues() && !s.ended() { // whoever has decided a close before found that nobody may read
		s.watchBusy() // and whether Each begins at all
	} else {
		s.beginReading()
	}
	// Shutdown marks the hub closed before it looks for sessions, and so do cutOff, and Drain when it looks for the
	// last time: one of the two sees the other.
	switch h := s.hub; {
	case h.off.Load():
		s.cutOff()
	case h.closedErr() != nil:
		s.decide(closedWith(StatusGoingAway, shutdownReason), asked)
	case h.drain.asked.Load():
		s.decide(closedWith(StatusGoingAway, drainReason), asked)
	}
}

// run calls fn and closes the session with its result.
func (s *Session) run(fn SessionFunc) {
	defer s.letGo()
	var err error
	finished := false
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked("session func", p, debug.Stack())
		} else if !finished {
			err = errGoexit
		}
		s.finish(err)
	}()
	err = fn(s.ctx, s)
	finished = true
}

// panicked tells the log and the events of a panic in user code, and returns it as an error.
func (s *Session) panicked(where string, value any, stack []byte) error {
	s.hub.logPanic(where, s, value, stack)
	return panicError(value)
}

var errGoexit = errors.New("wshub: the SessionFunc ended its goroutine")

// finish closes the session with the SessionFunc's result.
func (s *Session) finish(err error) {
	defer s.mark(returned)
	if errors.Is(err, ErrSessionClosed) {
		s.awaitVerdict()
	}
	if s.ended() {
		return // the result changes nothing any more
	}
	code, reason, fault := statusFor(err)
	v := closedWith(code, reason)
	if v.cause != nil {
		v.cause = err
	}
	if s.decide(v, graceful) && fault {
		s.emit(Event{Kind: EventError, Cause: err})
		if !errors.Is(err, ErrPanic) { // logged with its stack already
			s.hub.log("session func", slog.LevelError, "session func failed", "session", s.id, "err", err)
		}
	}
}

// awaitVerdict waits until it is known why the session closes, at most for a second. A Send or Join fails as soon as
// the engine has given the session up, and its caller may get here before the engine has said why: without the wait the
// client would see 1011 for 1013. When the error is about another session nothing comes, and it is this one's after
// all.
func (s *Session) awaitVerdict() {
	end := time.Now().Add(time.Second)
	for nap := 10 * time.Microsecond; !s.ended() && time.Now().Before(end); nap = min(2*nap, 50*time.Millisecond) {
		time.Sleep(nap)
	}
}

// letGo is called by each holder when it is done with the session.
func (s *Session) letGo() {
	if s.holders.Add(-1) == 0 {
		s.end()
	}
}

// retryAfter is what a hub that is full or closed tells clients, in seconds: long enough for a restart, and for
// sessions to go.
const retryAfter = "5"

// turnAway answers a request for which there is no room now.
func turnAway(w http.ResponseWriter, status int, err error) error {
	w.Header().Set("Retry-After", retryAfter)
	http.Error(w, err.Error(), status)
	return err
}

// refuse answers as err says, see refusal.
func refuse(w http.ResponseWriter, err error) error {
	status, text, later := refusal(err)
	if later {
		w.Header().Set("Retry-After", retryAfter)
	}
	var rej *RejectError
	if errors.As(err, &rej) {
		for k, vs := range rej.Header {
			w.Header()[k] = slices.Clone(vs)
		}
	}
	http.Error(w, text, status)
	return err
}
