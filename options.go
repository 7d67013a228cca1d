package wshub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// Option is a setting of [New]. Of two options that set the same thing the later one counts, except
// [WithOrigins] and [WithObserver], which add.
type Option func(*options)

// options is what New was given, with defaults filled in; immutable after New.
type options struct {
	logger         *slog.Logger
	limits         Limits
	origins        []string
	checkOrigin    func(*http.Request) bool
	authenticate   func(*http.Request) (Identity, error)
	authorize      func(context.Context, *Session, string) error
	member         func(*Session) any
	observers      []Observer
	inbound        Policy
	policy         Policy
	readLimit      int64
	pingInterval   time.Duration
	pingTimeout    time.Duration
	messageTimeout time.Duration
	compress       bool
	threshold      int
	subprotocols   []string
	sendBuffer     int
	writeTimeout   time.Duration
	admission      time.Duration
	settle         time.Duration
	spread         time.Duration
	node           string
	bus            cluster.Bus // nil: none
	signing        [][]byte    // nil: nothing is signed
	presence       time.Duration
	grace          time.Duration
}

func defaultOptions() options {
	return options{
		logger:         slog.Default(),
		readLimit:      512 << 10,
		pingInterval:   30 * time.Second,
		pingTimeout:    15 * time.Second,
		messageTimeout: 30 * time.Second,
		sendBuffer:     32 << 10,
		writeTimeout:   10 * time.Second,
		settle:         5 * time.Second,
		spread:         15 * time.Second,
		presence:       5 * time.Second,
	}
}

// WithLogger sets where the hub logs what nobody else is told: panics, SessionFuncs that fail, upgrades that break.
// Each cause is logged once a minute at most, with the number of lines left out. The default is [slog.Default] at the
// time of New; nil logs nothing.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l == nil {
			l = slog.New(slog.DiscardHandler)
		}
		o.logger = l
	}
}

// WithLimits sets the hub's limits. A negative one is an error of New.
func WithLimits(l Limits) Option { return func(o *options) { o.limits = l } }

// WithOrigins lets pages of the given origins connect, instead of those of the same origin as the request's host; give
// that too where pages of the host itself connect. A pattern is "scheme://host" or "scheme://host:port"; a "*" stands
// for one label of the host, and "*" alone for any origin. Hosts are compared without case, and default ports are equal
// to none. Requests without an Origin header, which do not come from a page, always pass.
func WithOrigins(patterns ...string) Option {
	return func(o *options) { o.origins = append(o.origins, patterns...) }
}

// CheckOrigin sets the function that decides about a request's Origin, in place of [WithOrigins] and same-origin. It
// must be quick and may be called by many goroutines at once. A request that it refuses is answered 403. Beside
// WithOrigins it is an error of New.
func CheckOrigin(allowed func(*http.Request) bool) Option {
	return func(o *options) { o.checkOrigin = allowed }
}

// Authenticate sets the function that tells who is asking for an upgrade, called after limits and origin and before
// anything else, in the request's own goroutine, so that a slow one delays nobody else. An error refuses: a
// [*RejectError] as it says, [ErrName] with 400, [ErrForbidden] with 403, [ErrNotFound] with 404, [ErrLimit] with 429,
// [ErrDraining] and [ErrClosed] with 503, both with a Retry-After, any other with 401; a panic is answered with 500.
// The client sees the status, and the text only of a RejectError. Without Authenticate every session has the zero
// Identity.
func Authenticate(f func(*http.Request) (Identity, error)) Option {
	return func(o *options) { o.authenticate = f }
}

// Authorize sets the function that is asked before each join, with the topic's full name. It runs in the goroutine that
// joins and may wait. Its error refuses: it is the join's, which matches [ErrUnauthorized], and a SessionFunc that
// returns it closes its session with 1008, or as a [*CloseError] or [*RejectError] in it says; [ErrForbidden] and
// [ErrNotFound] tell the client which of the two it is. A panic closes the session with 1011.
func Authorize(f func(ctx context.Context, s *Session, topic string) error) Option {
	return func(o *options) { o.authorize = f }
}

// WithMember sets the function that says what [Topic.Present] and [Topic.Watch] tell of a session: its result as JSON
// is [Member].Data, nil is none. It is asked before each join, after [Authorize], in the goroutine that joins, and may
// wait. What it says then holds until the session leaves. More than 1 KiB of JSON, or none that can be made, fails the
// join with [ErrMemberData]; a panic closes the session with 1011. With it the hub keeps the data of each membership,
// about 50 bytes and the JSON, also while nobody watches.
func WithMember(f func(*Session) any) Option { return func(o *options) { o.member = f } }

// WithAdmission sets the time that a session has, from Accept on, to get a user (from [Authenticate],
// [Session.SetUser] or [Session.Renew]) or to join a topic; one that has neither by then is closed at once with 1008,
// and [ErrNotAdmitted] is its cause. Until it is admitted it counts against [Limits], and in [HubStats] as Unadmitted
// and Accepted: it is not among [Hub.Everyone], cannot be found, is not counted otherwise, and no [Event] tells of it,
// nor of its end. Its own methods work. 0, the default, admits every session in Accept; less is an error of New.
func WithAdmission(timeout time.Duration) Option { return func(o *options) { o.admission = timeout } }

// WithObserver adds observers of what happens on this node. Shutdown lets them have the last events, for as long as its
// context allows, and then ends them; after Close they are told what still happens.
func WithObserver(obs ...Observer) Option {
	return func(o *options) { o.observers = append(o.observers, obs...) }
}

// WithInbound sets what happens to the client's messages while the handler is busy. By default 16 wait in
// [Session.Messages], or 1 MiB of them, and then reading pauses, which in the end makes the client's writes wait. The
// parts of p mean:
//
//   - Block(n, max): n wait, then reading pauses; after max the session closes with 1008. MaxBytes pauses it too.
//   - DropOldest(n), DropNewest(n): n wait, or MaxBytes; then the oldest or newest is dropped and counted.
//   - Evict(n, grace): n wait, or MaxBytes; with one more and the oldest older than grace the session closes with 1008.
//   - Coalesce: one waits, the latest.
//   - Rate, RateBytes: with Block or Coalesce reading is delayed, by more than Block's max the session closes with
//     1008; with a drop policy what exceeds the rate is dropped and counted; with Evict the session closes with 1008.
//
// Parts that say nothing here (FlushEvery, PackText, History, Replay) are an error of New.
func WithInbound(p Policy) Option { return func(o *options) { o.inbound = p } }

// WithPolicy sets the hub's policy, which topics inherit the parts of that they do not set, and which holds for
// [Hub.Everyone]. The default is Evict(1024, 250ms) with MaxBytes(1 MiB).
func WithPolicy(p Policy) Option { return func(o *options) { o.policy = p } }

// WithReadLimit sets the bytes that one message of a client may have, after inflation; 512 KiB by default, at least 1.
// A longer one closes the session with 1009.
func WithReadLimit(bytes int64) Option { return func(o *options) { o.readLimit = bytes } }

// WithKeepAlive sets after how long a silence a client is pinged (between interval and half of the lesser of the two
// later), and how long it then has to answer before the session closes. A whole message or control frame is life, bytes
// alone are not. While the handler is busy and reading pauses, a client is pinged and need not answer. The default is
// 30 s and 15 s; 0, 0 turns it off, and otherwise both are at least 1 ms.
func WithKeepAlive(interval, timeout time.Duration) Option {
	return func(o *options) { o.pingInterval, o.pingTimeout = interval, timeout }
}

// WithMessageTimeout sets the time from the first byte of a client's message to its last; 30 s by default, 0 is any
// time. A slower one closes the session with 1008.
func WithMessageTimeout(d time.Duration) Option { return func(o *options) { o.messageTimeout = d } }

// WithCompression accepts permessage-deflate, for messages of at least threshold bytes in our direction. It is off by
// default. A message to many sessions is compressed once.
func WithCompression(threshold int) Option {
	return func(o *options) { o.compress, o.threshold = true, threshold }
}

// WithSubprotocols sets the subprotocols that the hub speaks, the preferred one first; none by default. They must be
// HTTP tokens, and none twice.
func WithSubprotocols(names ...string) Option {
	return func(o *options) { o.subprotocols = slices.Clone(names) }
}

// WithSendBuffer sets how many bytes per session may be on their way to the client and not yet sent; 32 KiB by default,
// at least 1. More makes single connections of long round-trip times faster, and slow clients visible later.
func WithSendBuffer(bytes int) Option { return func(o *options) { o.sendBuffer = bytes } }

// WithWriteTimeout sets the time that one frame has to leave, and a close to flush what is pending; 10 s by default,
// more than 0. When a frame does not leave in time the session ends, with [ErrWriteTimeout] as its cause.
func WithWriteTimeout(d time.Duration) Option { return func(o *options) { o.writeTimeout = d } }

// WithDrain sets what [Hub.Drain] takes its time for: settle is how long new sessions are still accepted, for load
// balancers to see that the node is not ready; spread is the time over which the sessions are asked to go. The default
// is 5 s and 15 s; 0 is at once, and less an error of New.
func WithDrain(settle, spread time.Duration) Option {
	return func(o *options) { o.settle, o.spread = settle, spread }
}

// WithNode sets the node's id, with which all its session ids begin: 1 to 64 of A-Z, a-z, 0-9, "_" and "-". It is
// random by default. In a cluster no two nodes may have the same id at the same time; those that do are told of it by
// an [EventBus] with [ErrNodeConflict].
func WithNode(id string) Option { return func(o *options) { o.node = id } }

// check returns everything that is wrong with o, and fills in what depends on several options.
func (o *options) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("wshub: "+format, args...)) }

	if err := o.limits.check(); err != nil {
		errs = append(errs, err)
	}
	o.limits = o.limits.withDefaults()
	if o.checkOrigin != nil && len(o.origins) > 0 {
		bad("CheckOrigin conflicts with WithOrigins(%q): give one of them", o.origins)
	}
	if o.readLimit < 1 {
		bad("WithReadLimit: %d bytes, want at least 1", o.readLimit)
	}
	switch i, t := o.pingInterval, o.pingTimeout; {
	case i < 0 || t < 0:
		bad("WithKeepAlive(%v, %v): negative", i, t)
	case (i == 0) != (t == 0):
		bad("WithKeepAlive(%v, %v): want both above 0, or both 0 for none", i, t)
	case i > 0 && min(i, t) < time.Millisecond:
		bad("WithKeepAlive(%v, %v): want at least 1ms", i, t)
	}
	if o.messageTimeout < 0 {
		bad("WithMessageTimeout: %v, want 0 (none) or more", o.messageTimeout)
	}
	if o.threshold < 0 {
		bad("WithCompression: threshold of %d bytes, want 0 or more", o.threshold)
	}
	if o.sendBuffer < 1 {
		bad("WithSendBuffer: %d bytes, want at least 1", o.sendBuffer)
	}
	if o.writeTimeout <= 0 {
		bad("WithWriteTimeout: %v, want more than 0", o.writeTimeout)
	}
	if o.admission < 0 {
		bad("WithAdmission: %v, want 0 (no limit) or more", o.admission)
	}
	if o.settle < 0 || o.spread < 0 {
		bad("WithDrain(%v, %v): negative", o.settle, o.spread)
	}
	for i, p := range o.subprotocols {
		switch {
		case !isToken(p):
			bad("WithSubprotocols: %q is no HTTP token", p)
		case slices.Contains(o.subprotocols[:i], p):
			bad("WithSubprotocols: %q twice", p)
		}
	}
	if o.node == "" {
		o.node = randomNode()
	} else if !validNode(o.node) {
		bad("WithNode: %q, want 1 to 64 of A-Z a-z 0-9 _ -", o.node)
	}
	if o.presence < 100*time.Millisecond || o.presence > time.Minute {
		bad("WithPresence: interval of %v, want 100ms to 1m", o.presence)
	}
	if o.grace < 0 || o.grace > time.Minute {
		bad("WithPresence: grace of %v, want 0 (none) to 1m", o.grace)
	}
	if o.signing != nil && o.bus == nil {
		bad("WithSigning without WithBus: there is nothing to sign")
	}
	if o.signing != nil && len(o.signing) == 0 {
		bad("WithSigning: no key")
	}
	for i, key := range o.signing {
		if len(key) < minKey {
			bad("WithSigning: key %d has %d bytes, want at least %d", i+1, len(key), minKey)
		}
	}
	return errors.Join(errs...)
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func validNode(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 64
}
