package redisbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wshub-go/wshub/cluster"
)

// A pipeline has at most so many messages, and no further one after so many bytes: what does not fit goes into the next.
const (
	pipelineMessages = 1000
	pipelineBytes    = 1 << 20
)

// Publish sends messages in their order, as pipelines, and waits for the server's answers. Of what it returns as not taken,
// the server may have got some when the connection was lost meanwhile; it is not sent again. It looks at the
// context's deadline; when the context is cancelled while the server owes an answer, it still waits for that, for a few
// seconds at most.
func (b *Bus) Publish(ctx context.Context, messages ...cluster.Message) (n int, err error) {
	n, err = b.publish(ctx, messages)
	if err != nil {
		err = fmt.Errorf("redisbus: publish: %w", err)
	}
	return n, err
}

func (b *Bus) publish(ctx context.Context, messages []cluster.Message) (int, error) {
	if b.ctx.Err() != nil {
		return 0, cluster.ErrClosed
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	good, refusal := b.check(messages)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.ctx, func() { cancel(cluster.ErrClosed) })()
	for n := 0; n < good; {
		size := pipelineSize(messages[n:good])
		taken, err := b.pipeline(ctx, messages[n:n+size])
		n += taken
		if err != nil {
			return n, err
		}
	}
	return good, refusal
}

// check returns how many messages in front may be sent, and what is wrong with the next.
func (b *Bus) check(messages []cluster.Message) (int, error) {
	for i, m := range messages {
		if err := cluster.CheckSubject(m.Subject); err != nil {
			return i, err
		}
		if len(m.Data) > b.maxPayload {
			return i, fmt.Errorf("%w: %d bytes, at most %d are allowed", cluster.ErrTooLarge, len(m.Data), b.maxPayload)
		}
	}
	return len(messages), nil
}

// pipelineSize returns how many messages are the next pipeline.
func pipelineSize(messages []cluster.Message) int {
	bytes := 0
	for i, m := range messages {
		if i == pipelineMessages || bytes >= pipelineBytes {
			return i
		}
		bytes += len(m.Data)
	}
	return len(messages)
}

// pipe is what goes to one server.
type pipe struct {
	redis.Pipeliner
	node  *redis.Client
	links []*link // of each command
	index []int   // of its message

	// What has become of it.
	failed int // index of the first that was not taken
	err    error
}

// pipeline sends messages to the servers of their lanes, all at the same time. It returns how many were taken before the
// first that was not.
func (b *Bus) pipeline(ctx context.Context, messages []cluster.Message) (int, error) {
	var pipes []*pipe
	taken, err := len(messages), error(nil)
	for i, m := range messages {
		l := b.links[laneOf(m.Subject, len(b.links))]
		node, away := l.server(ctx)
		if away != nil {
			taken, err = i, b.cause(ctx, away)
			break // those behind have not been sent: they need not be
		}
		p := b.pipeOf(node, &pipes)
		if p == nil {
			return 0, cluster.ErrClosed
		}
		p.links, p.index = append(p.links, l), append(p.index, i)
		if b.sharded {
			p.SPublish(ctx, l.front+m.Subject, m.Data)
		} else {
			p.Publish(ctx, l.front+m.Subject, m.Data)
		}
	}
	if len(pipes) == 1 {
		pipes[0].exec(ctx)
	} else {
		var wait sync.WaitGroup
		for _, p := range pipes {
			wait.Go(func() { p.exec(ctx) })
		}
		wait.Wait()
	}
	for _, p := range pipes {
		if p.err != nil && p.failed < taken {
			taken, err = p.failed, b.cause(ctx, p.err)
		}
	}
	return taken, err
}

// pipeOf returns the pipe of a server, a new one for a new server, nil when the bus is closed.
func (b *Bus) pipeOf(node *redis.Client, pipes *[]*pipe) *pipe {
	for _, p := range *pipes {
		if p.node == node {
			return p
		}
	}
	client := b.source.publisher(node)
	if client == nil {
		return nil
	}
	p := &pipe{node: node, Pipeliner: client.Pipeline()}
	*pipes = append(*pipes, p)
	return p
}

func (p *pipe) exec(ctx context.Context) {
	commands, err := p.Exec(ctx)
	if err == nil {
		return
	}
	p.failed, p.err = p.index[0], err
	for i, c := range commands {
		if c.Err() != nil {
			p.failed, p.err = p.index[i], c.Err()
			if _, moved := redis.IsMovedError(p.err); moved {
				p.links[i].leave(p.err)
			}
			return
		}
	}
}

// cause makes of an error what Publish returns.
func (b *Bus) cause(ctx context.Context, err error) error {
	refusal := redis.Error(nil)
	deadline, bounded := ctx.Deadline()
	switch {
	case b.ctx.Err() != nil:
		return cluster.ErrClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case bounded && timeout(err) && !time.Now().Before(deadline):
		return context.DeadlineExceeded // the connection was told of it before the context was
	case errors.Is(err, cluster.ErrDown):
		return err
	case errors.As(err, &refusal) && !passing(err):
		return err
	}
	return fmt.Errorf("%w: %w", cluster.ErrDown, err)
}

// passing reports whether a server's refusal is about the server, not about what was asked.
func passing(err error) bool {
	_, moved := redis.IsMovedError(err)
	return moved || redis.IsLoadingError(err) || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err) ||
		redis.IsTryAgainError(err) || redis.IsMasterDownError(err) || redis.IsMaxClientsError(err)
}
