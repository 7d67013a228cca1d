package contender

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/cluster/natsbus"
	"github.com/wshub-go/wshub/cluster/redisbus"
)

var wshubContender = Contender{
	Name:   "wshub",
	Module: "github.com/wshub-go/wshub",
	Path:   "Topic.Publish of a family's topic, sessions that range over Messages",
	Topics: true, Direct: true, Compress: true, Echo: true, Cluster: true,
	New: newWshub,
}

// wshubHub has topics of its own; only the sessions are listed by the number that the load gave them.
type wshubHub struct {
	web
	hub    *wshub.Hub
	topics wshub.Family[wshub.Message]
	cached map[int]wshub.Topic[wshub.Message] // those that were published to; Publish's
	echoed atomic.Uint64
	joined atomic.Int64 // sessions that have joined, or failed to, ever

	mu   sync.RWMutex
	byID []*wshub.Session // guarded by mu
}

func newWshub(o Options) (Hub, error) {
	h := &wshubHub{cached: make(map[int]wshub.Topic[wshub.Message])}
	// Lossless, as by default, with room for the bursts of an overloaded server: the default would close clients that
	// are a quarter of a second behind, which is what is measured.
	opts := []wshub.Option{
		wshub.WithPolicy(wshub.Compose(wshub.KeepAll(), wshub.Evict(65_536, 10*time.Second), wshub.MaxBytes(32<<20))),
		wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
			p, err := paramsOf(r.URL.Query())
			if err != nil {
				return wshub.Identity{}, &wshub.RejectError{Status: http.StatusBadRequest, Reason: err.Error()}
			}
			return wshub.Identity{Claims: p}, nil
		}),
	}
	if o.Compress {
		opts = append(opts, wshub.WithCompression(compressFrom))
	}
	if o.Bus != "" {
		bus, err := connectBus(o.Bus)
		if err != nil {
			return nil, err
		}
		opts = append(opts, wshub.WithBus(bus), wshub.WithNode(o.Node))
	}
	hub, err := wshub.New(opts...)
	if err != nil {
		return nil, err
	}
	if h.topics, err = wshub.NewFamily[wshub.Message](hub, "t", wshub.Policy{}); err != nil {
		return nil, errors.Join(err, hub.Close())
	}
	h.hub = hub
	serve := h.messages
	if o.Each {
		serve = wshub.Each(h.message)
	}
	h.web.serve(hub.Handler(serve, h.enter))
	return h, nil
}

func connectBus(url string) (cluster.Bus, error) {
	switch scheme, _, _ := strings.Cut(url, "://"); scheme {
	case "nats":
		return natsbus.Connect(url)
	case "redis":
		return redisbus.Connect(url)
	default:
		return nil, fmt.Errorf("bus %q: neither nats:// nor redis://", url)
	}
}

// enter joins the topic that the request asked for, around the handler.
func (h *wshubHub) enter(next wshub.SessionFunc) wshub.SessionFunc {
	return func(ctx context.Context, s *wshub.Session) error {
		p := s.Identity().Claims.(params)
		err := h.join(ctx, s, p.topic)
		h.list(p.id, s)
		h.joined.Add(1)
		if err != nil {
			return err
		}
		err = next(ctx, s)
		h.unlist(p.id, s)
		return err
	}
}

func (h *wshubHub) messages(ctx context.Context, s *wshub.Session) error {
	for m := range s.Messages() {
		if err := h.message(ctx, s, m); err != nil {
			return err
		}
	}
	return nil
}

func (h *wshubHub) message(ctx context.Context, s *wshub.Session, m wshub.Message) error {
	if topic, join, ok := command(m.Data); ok {
		if join {
			return h.join(ctx, s, topic)
		}
		t, err := h.topics.Topic(strconv.Itoa(topic))
		if err != nil {
			return err
		}
		return t.Leave(s)
	}
	h.echoed.Add(1)
	return s.Send(ctx, m)
}

func (h *wshubHub) join(ctx context.Context, s *wshub.Session, topic int) error {
	t, err := h.topics.Topic(strconv.Itoa(topic))
	if err != nil {
		return err
	}
	return t.Join(ctx, s)
}

func (h *wshubHub) list(id int, s *wshub.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.byID) <= id {
		h.byID = append(h.byID, nil)
	}
	h.byID[id] = s
}

func (h *wshubHub) unlist(id int, s *wshub.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byID[id] == s {
		h.byID[id] = nil
	}
}

func (h *wshubHub) Publish(topic int, payload []byte) {
	t, ok := h.cached[topic]
	if !ok {
		var err error
		if t, err = h.topics.Topic(strconv.Itoa(topic)); err != nil {
			panic(err) // a number is a name
		}
		h.cached[topic] = t
	}
	if err := t.Publish(context.Background(), wshub.RawJSON(payload)); err != nil && !errors.Is(err, wshub.ErrClosed) {
		panic(err) // a payload is text
	}
}

func (h *wshubHub) Send(client int, payload []byte) bool {
	h.mu.RLock()
	var s *wshub.Session
	if client >= 0 && client < len(h.byID) {
		s = h.byID[client]
	}
	h.mu.RUnlock()
	return s != nil && s.Send(context.Background(), wshub.RawJSON(payload)) == nil
}

// Clients counts a session until it has ended entirely.
func (h *wshubHub) Clients() int {
	joined := h.joined.Load()
	st := h.hub.Stats()
	return max(0, int(joined)-int(st.Accepted)+st.Sessions)
}

func (h *wshubHub) Joins() int {
	n := 0
	for t := range h.hub.Topics() {
		n += t.Members
	}
	return n
}

func (h *wshubHub) Echoed() uint64 { return h.echoed.Load() }

func (h *wshubHub) Close() error {
	err := h.hub.Close()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	return errors.Join(err, h.hub.Shutdown(ctx), h.server.Close())
}
