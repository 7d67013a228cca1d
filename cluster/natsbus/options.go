package natsbus

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
)

// Option is a setting of [Connect]. Of two options that set the same thing the later one counts, except [NATS], which
// adds.
type Option func(*options)

type options struct {
	prefix   string // with its dot, or ""
	name     string
	messages int
	bytes    int
	nats     []nats.Option
}

// maxPrefix is how long a prefix may be: with a subject of cluster.MaxSubject bytes it stays far below the 4,096 bytes
// that a NATS server takes as a control line. One that is longer would make it close the connection, for good.
const maxPrefix = 128

// Prefix puts tokens in front of every subject, with a dot between: with Prefix("chat.eu") the subject "wshub.all" is
// "chat.eu.wshub.all" on the server. Buses with different prefixes do not hear each other. It is of the form of a
// subject, see [cluster.CheckSubject], and at most 128 bytes long. The default is none.
func Prefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// Name is what the server calls the connection in its monitoring. The default is "wshub".
func Name(name string) Option { return func(o *options) { o.name = name } }

// Buffer limits what waits for the reader of Receive: that many messages, and that many bytes of subjects and data; both
// are at least 1. What does not fit is lost, the newest first, and told as [cluster.Status]. 64 messages more can be in
// the channel itself. The default is 65,536 messages and 64 MiB.
func Buffer(messages, bytes int) Option {
	return func(o *options) { o.messages, o.bytes = messages, bytes }
}

// NATS passes options on to nats.go: credentials, TLS, dialers, timeouts, and handlers, which are called after the bus's
// own. A handler must not call Close of the bus.
//
// The bus sets these itself, whatever is passed: it reconnects for ever, also when the broker was down at the start or
// refuses the credentials, and keeps nothing for later (ReconnectBufSize(-1)). These are only its defaults: PingInterval
// 2 s with MaxPingsOutstanding 2, ReconnectWait 500 ms with ReconnectJitter 1 s, Timeout 2 s, NoEcho.
func NATS(opts ...nats.Option) Option { return func(o *options) { o.nats = append(o.nats, opts...) } }

func newOptions(opts []Option) (*options, error) {
	o := &options{name: "wshub", messages: 65_536, bytes: 64 << 20}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("natsbus: option is nil")
		}
		opt(o)
	}
	if o.messages < 1 || o.bytes < 1 {
		return nil, fmt.Errorf("natsbus: Buffer(%d, %d): both are at least 1", o.messages, o.bytes)
	}
	if o.prefix != "" {
		if err := cluster.CheckSubject(o.prefix); err != nil {
			return nil, fmt.Errorf("natsbus: Prefix: %w", err)
		}
		if len(o.prefix) > maxPrefix {
			return nil, fmt.Errorf("natsbus: Prefix: %w: %d bytes, at most %d are allowed", cluster.ErrSubject, len(o.prefix), maxPrefix)
		}
		o.prefix += "."
	}
	return o, nil
}

// forNATS returns what nats.Connect gets: our defaults, then the user's, then what the bus could not be without.
func (o *options) forNATS(b *Bus) []nats.Option {
	all := []nats.Option{
		nats.Name(o.name),
		nats.NoEcho(),
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectJitter(time.Second, time.Second),
	}
	all = append(all, o.nats...)
	return append(all, func(n *nats.Options) error { return b.take(n) })
}

// take sets what the bus relies on, and puts itself in front of the user's handlers and between nats.go and the network.
func (b *Bus) take(n *nats.Options) error {
	n.AllowReconnect = true
	n.MaxReconnect = -1
	n.RetryOnFailedConnect = true
	n.IgnoreAuthErrorAbort = true // else the second refusal of the credentials would end the client for good
	n.ReconnectBufSize = -1
	n.SkipSubjectValidation = true // CheckSubject asks for more
	n.NoCallbacksAfterClientClose = false

	connected, reconnected := n.ConnectedCB, n.ReconnectedCB
	n.ConnectedCB = func(nc *nats.Conn) { b.connected(nc); call(connected, nc) }
	n.ReconnectedCB = func(nc *nats.Conn) { b.connected(nc); call(reconnected, nc) }
	disconnectedErr, disconnected := n.DisconnectedErrCB, n.DisconnectedCB
	n.DisconnectedErrCB = func(nc *nats.Conn, err error) {
		b.disconnected(err)
		if disconnectedErr != nil {
			disconnectedErr(nc, err)
			return
		}
		call(disconnected, nc)
	}
	failed := n.ReconnectErrCB
	n.ReconnectErrCB = func(nc *nats.Conn, err error) {
		b.failed(err)
		if failed != nil {
			failed(nc, err)
		}
	}
	closed := n.ClosedCB
	n.ClosedCB = func(nc *nats.Conn) { b.gaveUp(nc.LastError()); call(closed, nc) }
	wrong := n.AsyncErrorCB
	n.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
		b.wrong(sub, err)
		if wrong != nil {
			wrong(nc, sub, err)
		}
	}

	if p := n.InProcessServer; p != nil {
		n.InProcessServer = inProcess{b, p}
		return nil
	}
	if n.CustomDialer != nil {
		n.CustomDialer = &dialer{bus: b, custom: n.CustomDialer}
		return nil
	}
	d := net.Dialer{Timeout: n.Timeout}
	if n.Dialer != nil {
		d = *n.Dialer
	}
	if n.AllowMultipathTCP != nil {
		d.SetMultipathTCP(*n.AllowMultipathTCP)
	}
	n.CustomDialer = &dialer{bus: b, plain: d}
	return nil
}

func call(f nats.ConnHandler, nc *nats.Conn) {
	if f != nil {
		f(nc)
	}
}
