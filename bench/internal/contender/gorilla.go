package contender

import (
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

var gorillaContender = Contender{
	Name:   "gorilla",
	Module: "github.com/gorilla/websocket",
	Path:   "one PreparedMessage for all, and per client a channel and two goroutines, as in its chat example",
	Topics: true, Direct: true, Compress: true, Echo: true,
	New: newGorilla,
}

// gorillaHub is the chat example of gorilla/websocket, with prepared messages and without joining several messages into
// one. The hub of the example is a goroutine; here whoever publishes goes through the members himself, which is less work.
type gorillaHub struct {
	web
	seats[*gorillaConn]
	upgrader websocket.Upgrader
	queue    int
}

// The times and sizes of the example.
const (
	gorillaWriteWait  = 10 * time.Second
	gorillaPongWait   = 60 * time.Second
	gorillaPingPeriod = gorillaPongWait * 9 / 10
	gorillaBuffer     = 1024
)

type gorillaConn struct {
	ws   *websocket.Conn
	send chan *outgoing
	done chan struct{} // closed by the reading goroutine at its end
}

// outgoing is a message to many, or one to a single client.
type outgoing struct {
	prepared *websocket.PreparedMessage
	single   []byte // if prepared is nil
}

func newGorilla(o Options) (Hub, error) {
	h := &gorillaHub{queue: o.queue(), upgrader: websocket.Upgrader{
		ReadBufferSize:    gorillaBuffer,
		WriteBufferSize:   gorillaBuffer,
		EnableCompression: o.Compress, // level 1 is its default
	}}
	h.handle(func(w http.ResponseWriter, r *http.Request, p params) {
		ws, err := h.upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // it was answered
		}
		c := &gorillaConn{ws: ws, send: make(chan *outgoing, h.queue), done: make(chan struct{})}
		s := h.enter(p, c)
		h.wait.Go(func() { h.write(c) }) // ends after the reading
		h.wait.Go(func() { h.read(s) })  // ends with the connection
	})
	return h, nil
}

func (h *gorillaHub) read(s *seat[*gorillaConn]) {
	c := s.conn
	defer func() {
		h.leave(s)
		close(c.done)
		c.ws.Close()
	}()
	c.ws.SetReadLimit(64 << 10)
	c.ws.SetReadDeadline(time.Now().Add(gorillaPongWait))
	c.ws.SetPongHandler(func(string) error {
		c.ws.SetReadDeadline(time.Now().Add(gorillaPongWait))
		return nil
	})
	for {
		_, message, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		if !h.obey(s, message) {
			h.echoed.Add(1)
			c.put(&outgoing{single: message})
		}
	}
}

func (h *gorillaHub) write(c *gorillaConn) {
	ticker := time.NewTicker(gorillaPingPeriod)
	defer func() {
		ticker.Stop()
		c.ws.Close()
	}()
	for {
		select {
		case m := <-c.send:
			c.ws.SetWriteDeadline(time.Now().Add(gorillaWriteWait))
			var err error
			if m.prepared != nil {
				err = c.ws.WritePreparedMessage(m.prepared)
			} else {
				err = c.ws.WriteMessage(websocket.TextMessage, m.single)
			}
			if err != nil {
				return
			}
		case <-ticker.C:
			c.ws.SetWriteDeadline(time.Now().Add(gorillaWriteWait))
			if err := c.ws.WriteMessage(websocket.PingMessage, nil); err != nil {
				return
			}
		case <-c.done:
			return
		}
	}
}

// put queues a message, and closes a client that has too many, as the example does.
func (c *gorillaConn) put(m *outgoing) {
	select {
	case c.send <- m:
	default:
		c.ws.Close()
	}
}

func (h *gorillaHub) Publish(topic int, payload []byte) {
	prepared, err := websocket.NewPreparedMessage(websocket.TextMessage, payload)
	if err != nil {
		panic(err) // a text
	}
	m := &outgoing{prepared: prepared}
	for _, s := range h.members(topic) {
		s.conn.put(m)
	}
}

func (h *gorillaHub) Send(client int, payload []byte) bool {
	s := h.client(client)
	if s == nil {
		return false
	}
	s.conn.put(&outgoing{single: append([]byte(nil), payload...)})
	return true
}

func (h *gorillaHub) Close() error {
	return h.close(func() {
		for _, s := range h.all() {
			s.conn.ws.Close()
		}
	})
}
