package wshub

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/mesh"
)

// minKey is how many bytes a key of WithSigning has at least.
const minKey = 16

// WithBus makes the hub a node of a cluster: of all hubs whose buses reach each other. Topics, [Hub.Everyone],
// [Hub.User] and [Hub.To] then mean the sessions of all nodes. The bus is the hub's once New has returned without an
// error, and [Hub.Shutdown] and [Hub.Close] close it; one bus is for one hub. A nil bus is none.
//
// A bus that is down fails no New: the hub goes on with its own sessions, and the others are there when the bus is.
// While a hub has a bus it has a goroutine. Each node needs an id of its own, see [WithNode].
func WithBus(bus cluster.Bus) Option { return func(o *options) { o.bus = bus } }

// WithSigning signs what the hub puts on its bus, with HMAC-SHA256 under the first key, and takes nothing from the bus
// that is not signed under one of the keys, is older than 30 s, or was taken before. Without it whoever can write to
// the bus can speak for every node. All nodes need a key in common and clocks that agree; to change the key, give it to
// all nodes as the second one, then as the first one, then drop the old one. A key has 16 random bytes at least.
// [HubStats].Bus counts what is refused.
func WithSigning(keys ...[]byte) Option {
	return func(o *options) {
		o.signing = make([][]byte, len(keys)) // not nil: given
		for i, key := range keys {
			o.signing[i] = slices.Clone(key)
		}
	}
}

// WithPresence sets how nodes tell each other who is there, and for how long [Topic.Watch] waits for those who come
// back.
//
// Each interval, 5 s by default and between 100 ms and a minute, a node tells the others that it is there, and which
// counts have changed. One that is not heard of for three of its intervals is gone, and its sessions with it.
//
// The grace, 0 by default and a minute at most, is for pages that are loaded again and phones that change their
// network: when a session of a user has ended, Watch tells that it left the topic only after the grace, or right after
// another session of the user has joined, so that nobody sees the user go. A session without a user, one that leaves
// and goes on, and what [Topic.Present] and [Topic.Count] say, know no grace. It works without a bus too.
func WithPresence(interval, grace time.Duration) Option {
	return func(o *options) { o.presence, o.grace = interval, grace }
}

// NodeInfo describes a node of the cluster.
type NodeInfo struct {
	ID       string
	Sessions int       // as it last told, for other nodes
	Since    time.Time // when it was first heard of; for this node when the hub was made
	Here     bool      // it is this node
}

// Nodes ranges over the nodes of the cluster: this one, then the others by their ids. Without [WithBus] this one is all.
func (h *Hub) Nodes() iter.Seq[NodeInfo] {
	return func(yield func(NodeInfo) bool) {
		if !yield(NodeInfo{ID: h.Node(), Sessions: h.Len(), Since: h.started, Here: true}) || h.mesh == nil {
			return
		}
		for _, p := range h.mesh.Peers() {
			if !yield(NodeInfo{ID: p.Node, Sessions: p.Sessions, Since: p.Since}) {
				return
			}
		}
	}
}

// meet makes the hub a node. It is the last that New does.
func (h *Hub) meet() {
	h.over, h.endFar = context.WithCancel(context.Background())
	h.far = &farTopic{hub: h}
	x := &meshHost{Hub: h, met: make(chan struct{})}
	h.mesh = mesh.New(mesh.Config{
		Bus: h.opts.bus, Node: h.opts.node, Interval: h.opts.presence, Keys: h.opts.signing, Host: x, Everyone: h.far,
	})
	h.far.Topic = h.mesh.Everyone()
	h.table.mesh = h.mesh
	close(x.met)
}

// part leaves the cluster: it says goodbye, which ctx bounds, and closes the bus.
func (h *Hub) part(ctx context.Context) error {
	if h.mesh == nil {
		return nil
	}
	h.endFar()
	first := !h.parted.Swap(true)
	if err := h.mesh.Close(ctx); first { // of what went wrong then a later call need not hear
		return err
	}
	return nil
}
