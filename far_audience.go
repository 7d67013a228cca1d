package wshub

import (
	"context"
	"fmt"

	"github.com/wshub-go/wshub/internal/mesh"
	"github.com/wshub-go/wshub/internal/queue"
)

// What an Audience is on other nodes.

// to names the audience to other nodes.
func (a Audience) to() mesh.To {
	switch a.kind {
	case everyone:
		return mesh.To{Kind: mesh.ToEveryone}
	case ofUser:
		return mesh.To{Kind: mesh.ToUser, ID: a.id}
	}
	return mesh.To{Kind: mesh.ToSession, ID: a.id}
}

// far reports whether somebody of the audience may be on another node, when so many are here. One session is here or
// there.
func (a Audience) far(here int) bool {
	if a.h == nil || a.h.mesh == nil || a.h.closedErr() != nil {
		return false
	}
	switch a.kind {
	case everyone:
		return true
	case ofUser:
		return a.id != ""
	case oneSession:
		return here == 0 && a.h.table.get(a.id) == nil // else it is an exception
	}
	return false
}

// sendFar sends to an audience that has nobody here.
func (a Audience) sendFar(m Message) error {
	if !a.far(0) {
		return ErrNoSession
	}
	if err := m.validate(); err != nil {
		return err
	}
	if !a.h.mesh.Send(a.to(), m.payload()) {
		return ErrNoSession
	}
	return nil
}

// publishFar sends to everyone: here and on other nodes, or first there when the hub's policy wants to know that they
// get it.
func (a Audience) publishFar(ctx context.Context, m Message) error {
	e := &queue.Entry{Except: a.except}
	if err := m.fill(e); err != nil {
		return err
	}
	out := mesh.Outgoing{Payload: payloadOf(&e.Frame)}
	sure := a.h.opts.policy.requireBus
	if sure {
		if err := a.h.far.PublishSure(ctx, out); err != nil {
			return fmt.Errorf("%w: %w", ErrBus, err)
		}
	}
	if err := a.h.everyone.Publish(ctx, e); err != nil {
		return sendError(err)
	}
	if !sure {
		a.h.far.Publish(out)
	}
	return nil
}

// countFar counts those of the audience that are on other nodes.
func (a Audience) countFar(ctx context.Context) (int, error) {
	switch {
	case !a.far(a.count()):
		return 0, nil
	case a.kind == everyone:
		return a.h.mesh.OtherSessions(), nil
	case a.kind == ofUser:
		return a.h.mesh.CountUser(ctx, a.id)
	}
	there, err := a.h.mesh.AskSession(ctx, a.id)
	if there {
		return 1, err
	}
	return 0, err
}

// payload is m for other nodes, which has been checked.
func (m Message) payload() mesh.Payload {
	return mesh.Payload{Binary: m.Kind == KindBinary, Data: m.Data}
}
