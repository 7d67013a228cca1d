package natsbus

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
)

// The methods here are handlers of nats.go, which calls them one at a time, on a goroutine of its own.

// connected is called when the handshake of a connection is over. The bus is up once the server has the subscriptions.
func (b *Bus) connected(client *nats.Conn) {
	b.mu.Lock()
	b.client = client
	l := b.link
	b.serving = !b.closing
	b.mu.Unlock()
	if b.confirm(b.life, l, b.next()) != nil {
		return // disconnected or Close says why
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link == l && b.state != cluster.StateClosed {
		b.setLocked(cluster.StateUp, nil)
	}
}

// disconnected is called when a connection has ended, and before the next one is tried.
func (b *Bus) disconnected(why error) {
	if why == nil {
		why = errDead
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != cluster.StateClosed {
		b.setLocked(cluster.StateDown, why)
	}
}

// failed is called after an attempt to connect.
func (b *Bus) failed(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(why, nats.ErrNoServers) && b.dialError != nil {
		why = b.dialError // which nats.go keeps to itself at the first attempt
	}
	switch {
	case b.state != cluster.StateDown:
	case b.told:
		b.why = why // for those who ask; that the bus is down has been told
	default:
		b.setLocked(cluster.StateDown, why)
	}
}

// gaveUp is called when the client is closed.
func (b *Bus) gaveUp(why error) {
	if why == nil {
		why = nats.ErrConnectionClosed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != cluster.StateClosed {
		b.setLocked(cluster.StateClosed, why)
	}
}

// wrong is called for what does not end the connection.
func (b *Bus) wrong(sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer) && sub != nil:
		select {
		case b.in.slow <- sub:
		case <-b.life.Done():
		}
	case errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), "for Publish"):
		b.status.lost(1, err)
	case errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		b.status.lost(0, err)
	default: // of the attempts to connect, as the refusal of credentials
		b.mu.Lock()
		if b.state == cluster.StateDown {
			b.why = err
		}
		b.mu.Unlock()
	}
}

// setLocked tells the state if it has changed.
func (b *Bus) setLocked(state cluster.State, why error) {
	changed := !b.told || b.state != state
	b.state, b.why = state, why
	if changed {
		b.status.tell(cluster.Status{State: state, Err: why})
	}
	if !b.told {
		b.told = true
		close(b.first)
	}
}
