package natsbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// round is one ping and its answer, and what is subscribed to and left before the ping. When it is done the server has
// seen all that was written before the round began.
type round struct {
	done    chan struct{} // closed; what follows is set before
	err     error         // there was no answer
	refused error         // the server did not take a subscription
}

// next returns a round that has not begun.
func (b *Bus) next() *round {
	b.mu.Lock()
	r := b.round
	if r == nil {
		r = &round{done: make(chan struct{})}
		b.round = r
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return r
}

// confirm waits for a round on a link: the error is ctx's cause, or errDead. nats.go may have pinged on another
// connection by then; but not while this one is alive.
func (b *Bus) confirm(ctx context.Context, l *link, r *round) error {
	select {
	case <-r.done:
		if r.err != nil || l.why() != nil {
			return errDead
		}
		return nil
	case <-l.life.Done():
		return errDead
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keep does the rounds, one after the other, until the bus is closed. Only here does somebody wait for nats.go's lock,
// which is held during the attempts to connect again.
func (b *Bus) keep() {
	for {
		select {
		case <-b.wake:
		case <-b.life.Done():
			return
		}
		b.mu.Lock()
		r, l, client := b.round, b.link, b.client
		b.round = nil
		b.mu.Unlock()
		if r == nil {
			continue
		}
		b.leave()
		r.refused, r.err = b.join(client, l)
		close(r.done)
	}
}

// want adds subjects to the interest.
func (b *Bus) want(subjects []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range subjects {
		s = b.prefix + s
		if _, ok := b.interest[s]; !ok {
			b.interest[s] = nil
			b.added = append(b.added, s)
		}
	}
}

// unwant takes subjects away, and reports whether there were any.
func (b *Bus) unwant(subjects []string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := false
	for _, s := range subjects {
		s = b.prefix + s
		sub, ok := b.interest[s]
		if !ok {
			continue
		}
		changed = true
		delete(b.interest, s)
		if sub != nil {
			b.leaving = append(b.leaving, sub)
		}
	}
	return changed
}

// leave ends subscriptions. The keeper leaves before it joins, so that a subject is never subscribed to twice.
func (b *Bus) leave() {
	b.mu.Lock()
	leaving := b.leaving
	b.leaving = nil
	b.mu.Unlock()
	for _, sub := range leaving {
		select {
		case b.in.gone <- sub:
		case <-b.life.Done():
			return
		}
		sub.Unsubscribe() // fails when the client is closed
	}
}

// join subscribes to what was added, all on one channel, and pings. While the client has no connection it notes the
// subscriptions, and makes them when it has one.
func (b *Bus) join(client *nats.Conn, l *link) (refused, err error) {
	b.mu.Lock()
	added := b.added
	b.added = nil
	b.mu.Unlock()
	if len(added) == 0 {
		return nil, client.FlushWithContext(l.life)
	}
	before := client.LastError()
	for _, s := range added {
		b.joinOne(client, s)
	}
	err = client.FlushWithContext(l.life)
	// The client tells of a refusal by calling the error handler, at some time; but the error is there before the answer.
	last := client.LastError()
	if last != before && (errors.Is(last, nats.ErrPermissionViolation) || errors.Is(last, nats.ErrMaxSubscriptionsExceeded)) {
		refused = fmt.Errorf("refused by the server: %w", last)
	}
	return refused, err
}

func (b *Bus) joinOne(client *nats.Conn, subject string) {
	b.mu.Lock()
	sub, wanted := b.interest[subject]
	b.mu.Unlock()
	if !wanted || sub != nil {
		return
	}
	sub, err := client.ChanSubscribe(subject, b.in.in)
	if err != nil {
		return // the client is closed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, wanted = b.interest[subject]; wanted {
		b.interest[subject] = sub
	} else {
		b.leaving = append(b.leaving, sub) // whoever took it away meanwhile waits for the next round
	}
}
