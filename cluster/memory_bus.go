package cluster

import (
	"context"
	"fmt"
	"strconv"
)

// MemoryBus is a connection to a [Memory]. Beside what a [Bus] does it can be made to fail, as connections do.
type MemoryBus struct {
	m      *Memory
	name   string
	number uint64 // of all connections of m
	in     *inbox
	status *teller
	gone   chan struct{} // closed when closed is set
	ended  chan struct{} // closed when Close is through

	// Guarded by m.mu.
	wanted map[string]*route
	closed bool
	killed bool
	down   bool
	cut    chan struct{} // not nil while the connection is cut; closed to have those who wait for its end look again
}

var _ Bus = (*MemoryBus)(nil)

func (m *Memory) connectLocked(name string) *MemoryBus {
	m.made++
	if name == "" {
		name = strconv.FormatUint(m.made, 10)
	}
	return &MemoryBus{
		m: m, name: name, number: m.made,
		in: newInbox(m.queue), status: newTeller(),
		gone: make(chan struct{}), ended: make(chan struct{}),
		wanted: map[string]*route{},
	}
}

// Name returns the connection's name.
func (b *MemoryBus) Name() string { return b.name }

// Publish sends messages. It does not wait.
func (b *MemoryBus) Publish(ctx context.Context, messages ...Message) (int, error) {
	if len(messages) == 0 {
		return 0, b.check(ctx)
	}
	for i, msg := range messages {
		if err := b.publish(ctx, msg); err != nil {
			return i, fmt.Errorf("publish %.40q: %w", msg.Subject, err)
		}
	}
	return len(messages), nil
}

func (b *MemoryBus) publish(ctx context.Context, msg Message) error {
	if err := b.check(ctx); err != nil {
		return err
	}
	if err := CheckSubject(msg.Subject); err != nil {
		return err
	}
	if len(msg.Data) > b.m.maxPayload {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(msg.Data), b.m.maxPayload)
	}
	return b.m.publish(b, msg)
}

// check returns why a call cannot even begin.
func (b *MemoryBus) check(ctx context.Context) error {
	if b.isClosed() {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (b *MemoryBus) isClosed() bool {
	select {
	case <-b.gone:
		return true
	default:
		return false
	}
}

// Subscribe adds subjects. It waits only while the connection is cut.
func (b *MemoryBus) Subscribe(ctx context.Context, subjects ...string) error {
	if err := b.subscribe(ctx, subjects); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

func (b *MemoryBus) subscribe(ctx context.Context, subjects []string) error {
	if b.isClosed() {
		return ErrClosed
	}
	for _, s := range subjects {
		if err := CheckSubject(s); err != nil {
			return err
		}
	}
	for {
		b.m.mu.Lock()
		if b.closed {
			b.m.mu.Unlock()
			return ErrClosed
		}
		if b.killed {
			b.m.mu.Unlock()
			return nil
		}
		for _, s := range subjects {
			b.m.listenLocked(b, s)
		}
		down, cut := b.m.down || b.down, b.cut
		b.m.mu.Unlock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if down {
			return ErrDown
		}
		if cut == nil {
			return nil
		}
		select {
		case <-cut:
		case <-b.gone:
		case <-ctx.Done():
		}
	}
}

// Unsubscribe takes subjects away. It does not wait.
func (b *MemoryBus) Unsubscribe(ctx context.Context, subjects ...string) error {
	if b.isClosed() {
		return fmt.Errorf("unsubscribe: %w", ErrClosed)
	}
	for _, s := range subjects {
		if err := CheckSubject(s); err != nil {
			return fmt.Errorf("unsubscribe: %w", err)
		}
	}
	b.m.mu.Lock()
	for _, s := range subjects {
		b.m.ignoreLocked(b, s)
	}
	b.m.mu.Unlock()
	if err := b.check(ctx); err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	return nil
}

// Receive returns the channel of what is received.
func (b *MemoryBus) Receive() <-chan Message { return b.in.out }

// Status returns the channel of states.
func (b *MemoryBus) Status() <-chan Status { return b.status.out }

// Close ends the connection. The error is always nil.
func (b *MemoryBus) Close() error {
	b.m.mu.Lock()
	first := !b.closed
	if first {
		b.closed = true
		b.m.removeLocked(b)
		close(b.gone)
	}
	b.m.mu.Unlock()
	if first {
		b.in.close()
		b.status.close()
		close(b.ended)
	}
	<-b.ended
	return nil
}

// tellLocked tells the state that the connection is in.
func (b *MemoryBus) tellLocked() {
	if b.closed || b.killed {
		return
	}
	if b.m.down || b.down {
		b.status.tell(Status{State: StateDown, Err: ErrDown})
		return
	}
	b.status.tell(Status{State: StateUp})
}
