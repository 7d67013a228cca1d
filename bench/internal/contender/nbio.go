package contender

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

var nbioContender = Contender{
	Name:   "nbio",
	Module: "github.com/lesismal/nbio",
	Path:   "Conn.WriteMessage to each member, with its own poller (IOModNonBlocking, the default)",
	Topics: true, Direct: true, Compress: true, Echo: true,
	New: newNbio,
}

// nbio makes an engine when it is imported, with goroutines and a megabyte of queues, which would be in the process of every
// contender, and nobody uses it here. An engine that was not started cannot be stopped, and one that was started a moment
// ago not safely, so this calls what Stop calls at its end.
func init() {
	logging.SetLevel(logging.LevelNone) // it logs to the standard output
	stop := reflect.ValueOf(websocket.DefaultEngine.Engine).Elem().FieldByName("onStop")
	if f, ok := reflect.NewAt(stop.Type(), stop.Addr().UnsafePointer()).Elem().Interface().(func()); ok {
		f()
	}
	websocket.DefaultEngine = nil
}

// nbioHub runs nbio's own HTTP server, which is what keeps connections without goroutines.
type nbioHub struct {
	seats[*websocket.Conn]
	compress bool
	stopped  chan struct{}

	mu     sync.Mutex
	engine *nbhttp.Engine           // guarded by mu, as everything below; nil before Serve
	early  map[*websocket.Conn]bool // have ended before they had a seat
	closed bool
}

func newNbio(o Options) (Hub, error) {
	return &nbioHub{compress: o.Compress, stopped: make(chan struct{}), early: make(map[*websocket.Conn]bool)}, nil
}

func (h *nbioHub) Serve(l net.Listener) error {
	upgrader := websocket.NewUpgrader()
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		p, err := paramsOf(r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // it was answered
		}
		h.begin(c, h.enter(p, c))
	})
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network:                 "tcp",
		Addrs:                   []string{l.Addr().String()},
		Listen:                  func(string, string) (net.Listener, error) { return l, nil },
		ReleaseWebsocketPayload: true,
		Handler:                 mux,
	})
	upgrader.Engine = engine
	upgrader.KeepaliveTime = time.Hour // in place of two minutes, after which it closes a client that only listens
	upgrader.EnableCompression(h.compress)
	if err := upgrader.SetCompressionLevel(1); err != nil {
		return fmt.Errorf("nbio: %w", err)
	}
	upgrader.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, message []byte) {
		s, ok := c.SessionWithLock().(*seat[*websocket.Conn])
		if ok && !h.obey(s, message) {
			h.echoed.Add(1)
			c.WriteMessage(kind, message)
		}
	})
	upgrader.OnClose(h.end)
	if err := engine.Start(); err != nil {
		return fmt.Errorf("nbio: %w", err)
	}
	h.mu.Lock()
	closed := h.closed
	h.engine = engine
	h.mu.Unlock()
	if closed {
		return h.shutdown(engine)
	}
	<-h.stopped
	return nil
}

// begin tells a connection its seat, unless the connection has ended already.
func (h *nbioHub) begin(c *websocket.Conn, s *seat[*websocket.Conn]) {
	h.mu.Lock()
	c.SetSession(s)
	ended := h.early[c]
	delete(h.early, c)
	h.mu.Unlock()
	if ended {
		h.leave(s)
	}
}

func (h *nbioHub) end(c *websocket.Conn, _ error) {
	h.mu.Lock()
	s, ok := c.Session().(*seat[*websocket.Conn])
	if !ok {
		h.early[c] = true
	}
	h.mu.Unlock()
	if ok {
		h.leave(s)
	}
}

func (h *nbioHub) Publish(topic int, payload []byte) {
	for _, s := range h.members(topic) {
		s.conn.WriteMessage(websocket.TextMessage, payload) // its failures end in OnClose
	}
}

func (h *nbioHub) Send(client int, payload []byte) bool {
	s := h.client(client)
	return s != nil && s.conn.WriteMessage(websocket.TextMessage, payload) == nil
}

func (h *nbioHub) Close() error {
	h.mu.Lock()
	h.closed = true
	engine := h.engine
	h.mu.Unlock()
	defer close(h.stopped)
	if engine == nil {
		return nil // Serve shuts down what it starts
	}
	return h.shutdown(engine)
}

func (h *nbioHub) shutdown(engine *nbhttp.Engine) error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	return engine.Shutdown(ctx)
}
