package contender

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/centrifugal/centrifuge"
)

var centrifugeContender = Contender{
	Name:   "centrifuge",
	Module: "github.com/centrifugal/centrifuge",
	Path:   "Node.Publish to a channel, JSON protocol, up to 16 messages in a frame (the default)",
	Topics: true, Direct: true, Compress: true, Echo: true,
	Dialect: "centrifuge",
	New:     newCentrifuge,
}

// centrifugeHub has channels of its own; only the clients are listed by the number that the load gave them.
type centrifugeHub struct {
	web
	node    *centrifuge.Node
	clients atomic.Int64 // those that have subscribed to something
	echoed  atomic.Uint64

	mu   sync.Mutex
	byID []*centrifuge.Client // guarded by mu
}

func newCentrifuge(o Options) (Hub, error) {
	node, err := centrifuge.New(centrifuge.Config{
		ClientQueueMaxSize: 32 << 20, // in place of 1 MiB: it closes a client with more
		ClientChannelLimit: 1 << 20,
	})
	if err != nil {
		return nil, err
	}
	h := &centrifugeHub{node: node}
	node.OnConnect(h.connect)
	if err := node.Run(); err != nil {
		return nil, err
	}
	config := centrifuge.WebsocketConfig{
		UseWriteBufferPool: true,             // less memory for idle clients
		WriteTimeout:       10 * time.Second, // in place of 1 s: it closes a client that takes longer
	}
	if o.Compress {
		config.Compression = true
		config.CompressionLevel = 1
		config.CompressionMinSize = compressFrom
		config.CompressionPreparedMessageCacheSize = 16 << 20 // compresses a message to many once
	}
	ws := centrifuge.NewWebsocketHandler(node, config)
	h.handle(func(w http.ResponseWriter, r *http.Request, p params) {
		ctx := centrifuge.SetCredentials(r.Context(), &centrifuge.Credentials{UserID: strconv.Itoa(p.id)})
		ws.ServeHTTP(w, r.WithContext(ctx)) // ends with the connection
	})
	return h, nil
}

func (h *centrifugeHub) connect(c *centrifuge.Client) {
	id, err := number(c.UserID())
	if err != nil {
		panic(err) // handle has read it
	}
	h.mu.Lock()
	for len(h.byID) <= id {
		h.byID = append(h.byID, nil)
	}
	h.byID[id] = c
	h.mu.Unlock()

	var joined atomic.Bool
	c.OnSubscribe(func(e centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
		done(centrifuge.SubscribeReply{}, nil)
		if !joined.Swap(true) {
			h.clients.Add(1)
		}
	})
	c.OnRPC(func(e centrifuge.RPCEvent, done centrifuge.RPCCallback) {
		h.echoed.Add(1)
		done(centrifuge.RPCReply{Data: e.Data}, nil)
	})
	c.OnDisconnect(func(centrifuge.DisconnectEvent) {
		h.mu.Lock()
		if h.byID[id] == c {
			h.byID[id] = nil
		}
		h.mu.Unlock()
		if joined.Load() {
			h.clients.Add(-1)
		}
	})
}

func centrifugeChannel(topic int) string { return "t" + strconv.Itoa(topic) }

func (h *centrifugeHub) Publish(topic int, payload []byte) {
	if _, err := h.node.Publish(centrifugeChannel(topic), json.RawMessage(payload)); err != nil {
		panic(err) // the broker is in memory
	}
}

func (h *centrifugeHub) Send(client int, payload []byte) bool {
	h.mu.Lock()
	var c *centrifuge.Client
	if client >= 0 && client < len(h.byID) {
		c = h.byID[client]
	}
	h.mu.Unlock()
	return c != nil && c.Send(payload) == nil
}

func (h *centrifugeHub) Clients() int   { return int(h.clients.Load()) }
func (h *centrifugeHub) Joins() int     { return h.node.Hub().NumSubscriptions() }
func (h *centrifugeHub) Echoed() uint64 { return h.echoed.Load() }

func (h *centrifugeHub) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	err := h.node.Shutdown(ctx)
	return errors.Join(err, h.close(func() {}))
}
