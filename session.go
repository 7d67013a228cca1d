package wshub

import (
	"context"
	"fmt"
	"iter"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/wire"
)

// Session is one client's connection to a hub. All methods may be called by any goroutine, at any time, also after the
// session has ended. Only [Session.Send] and [Session.Renew] may wait.
type Session struct {
	hub  *Hub
	sub  *fanout.Subscriber
	conn *wire.Conn

	id        string
	addr      string // what it counts for in Limits.SessionsPerAddr; "" when that is unlimited
	ctx       context.Context
	cancel    context.CancelCauseFunc
	connected time.Time

	// holders is who still uses the session: who reads, or brings it to its end, and the SessionFunc if there is one.
	// Whoever takes it to zero ends the session.
	holders atomic.Int32
	reading reading
	// shut is set once a close was decided, after the verdict. Nobody joins or sends once it is sealed or stopped too.
	shut atomic.Bool
	// mute is set once CloseRead was called, before the stage says so.
	mute atomic.Bool
	// pinged is when the keep-alive sweep last asked for life. The sweep's own.
	pinged time.Time
	// userAt is the place in the user index, guarded by its shard.
	userAt int
	// known says that the session may be found, guarded by its shard of the table.
	known bool

	mu       sync.Mutex
	verdict  verdict       // why it closes, set once; guarded by mu
	stage    stage         // how far closing has come; guarded by mu
	wake     chan struct{} // tells who reads that stage changed; nil until it waits; guarded by mu
	msgs     chan Message  // nil until first wanted; guarded by mu
	deaf     bool          // no message comes any more; guarded by mu
	done     chan struct{} // nil until first wanted; guarded by mu
	ident    Identity      // guarded by mu
	renewals uint64        // how often ident was replaced; guarded by mu
	expiry   func()        // cancels the timer of ident.Expires; guarded by mu
	patience func()        // cancels the timer of WithAdmission; guarded by mu
	attrs    []attr        // guarded by mu
	early    *[]Event      // those before EventConnected is out; nil from then on; guarded by mu
	endedAt  time.Time     // zero until the session has ended; guarded by mu
	unlisted bool          // out of the user index for good, what is unread is counted, and no event but the last; guarded by mu
}

// ID returns the session's id. It starts with the node's and is not secret, but cannot be guessed.
func (s *Session) ID() string { return s.id }

// Context returns the context that the SessionFunc gets: the request's values, and ended once no message comes any
// more and those that did were taken (at most 5 s later). Its cause tells why, as a [*CloseError] when there is no
// other.
func (s *Session) Context() context.Context { return s.ctx }

// RemoteAddr returns the address of the connection's other end, which behind a proxy is the proxy's.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Subprotocol returns what was negotiated from [WithSubprotocols], or "".
func (s *Session) Subprotocol() string { return s.conn.Subprotocol() }

// ConnectedAt returns when the session was accepted.
func (s *Session) ConnectedAt() time.Time { return s.connected }

// Ended returns when the session ended, and whether it has. It has ended when Done is closed.
func (s *Session) Ended() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endedAt, !s.endedAt.IsZero()
}

// Done returns a channel that is closed when the session has ended entirely: the connection is closed, the SessionFunc
// has returned, all memberships are over, the EventDisconnected is out. Inside the SessionFunc wait for its context
// instead: Done waits for the SessionFunc.
func (s *Session) Done() <-chan struct{} {
	s.mu.Lock()
	if s.done != nil {
		defer s.mu.Unlock()
		return s.done
	}
	s.done = make(chan struct{})
	done, over := s.done, !s.endedAt.IsZero()
	s.mu.Unlock()
	if over { // end found no channel to close
		close(done)
	}
	return done
}

// Err returns why the session closed: nil while it is open, and after a normal close (1000, 1001, or without a code).
// Once Messages is closed the reason is known.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verdict.cause
}

// Messages returns the client's messages, as [WithInbound] lets them in. It is always the same channel; the hub closes
// it when no message comes any more, after all that arrived before the client's close. Each message goes to one
// receiver. What the SessionFunc sends in answer to them until it returns, at most for 5 s after its context has ended,
// leaves before the frame that answers the client's close; it takes a context for Send other than its own.
func (s *Session) Messages() <-chan Message {
	ch, over := s.inbox()
	if over {
		close(ch)
	}
	s.beginReading()
	return ch
}

// inbox returns the channel of Messages. over is set when the channel is new and nothing will ever come.
func (s *Session) inbox() (ch chan Message, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.msgs == nil {
		s.msgs = make(chan Message, s.hub.inbound.n)
		over = s.deaf
	}
	return s.msgs, over
}

// Send sends a message to this session alone. It keeps its place among earlier and later publishes of this node. It
// waits while too much is pending for the session (1,024 messages or 1 MiB), until ctx ends or the session closes,
// which a client that takes nothing at all does after [WithWriteTimeout]. The message's bytes are not retained. The
// error is [ErrSessionClosed] when the session is closing, [ErrKind] or [ErrUTF8] for a message that no client may get,
// and matches [ErrPendingFull] when ctx ended the wait.
func (s *Session) Send(ctx context.Context, m Message) error {
	e := s.hub.engine.Entry()
	err := m.fill(e)
	if err == nil {
		err = sendError(s.sub.Send(ctx, e))
	}
	if err != nil {
		return fmt.Errorf("send to session %s: %w", s.id, err)
	}
	return nil
}

// Close closes the session with code and reason, after what was published and sent before: flushed within
// [WithWriteTimeout], then the close frame, then at most 5 s for the client's. It does not wait for any of it; Done
// does. The first close wins, also over the SessionFunc's result; later ones change nothing. The code must be one that
// may be sent (1000 to 1003, 1007 to 1014, 3000 to 4999); a reason over 123 bytes is cut.
func (s *Session) Close(code StatusCode, reason string) error {
	if !code.valid() {
		return fmt.Errorf("close session %s: %w", s.id, badCode(code))
	}
	s.decide(closedWith(code, reason), graceful)
	return nil
}

// Topics ranges over the full names of the topics that the session is a member of when the loop begins.
func (s *Session) Topics() iter.Seq[string] { return s.hub.sessionTopics(s) }

// LeaveAll leaves every topic, as [Topic.Leave] does. It does not wait.
func (s *Session) LeaveAll() { s.hub.leaveAll(s) }

// ended reports whether a close was decided.
func (s *Session) ended() bool { return s.shut.Load() }

// end is called once, by whoever uses the session last.
func (s *Session) end() {
	h := s.hub
	s.sub.Stop() // nobody joins beside or after this; whoever has decided the close may not have come so far
	h.leaveAll(s)
	s.sub.Detach()
	s.sub.Told() // no event of a drop after the EventDisconnected
	s.settleAdmission()

	s.mu.Lock()
	s.unlisted = true
	if s.ident.User != "" {
		h.table.removeUser(s, s.ident.User)
	}
	expiry, v := s.expiry, s.verdict
	unread := len(s.msgs)
	s.mu.Unlock()
	if expiry != nil {
		expiry()
	}
	h.counts.unread.Add(uint64(unread))
	h.table.remove(s)
	h.release(s.addr)
	s.emit(Event{Kind: EventDisconnected, Code: v.code, Reason: v.reason, Cause: v.cause, Took: time.Since(s.connected)})

	s.mu.Lock()
	s.endedAt = time.Now()
	done := s.done
	s.mu.Unlock()
	if done != nil {
		close(done)
	}
	h.gate.leave()
}
