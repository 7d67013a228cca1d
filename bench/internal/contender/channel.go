package contender

import "net/http"

// messageConn is a connection of a library that has messages and nothing above. Writes may be concurrent.
type messageConn interface {
	read() ([]byte, error)
	write([]byte) error
	close()
}

// channelHub is the usual hub over such a library: per client a goroutine that reads and one that writes what comes
// through a channel. A client whose channel is full is closed.
type channelHub struct {
	web
	seats[*channelConn]
}

type channelConn struct {
	messageConn
	send chan []byte
	done chan struct{} // closed by the reading goroutine at its end
}

func newChannelHub(o Options, accept func(w http.ResponseWriter, r *http.Request) (messageConn, error)) *channelHub {
	h := new(channelHub)
	h.handle(func(w http.ResponseWriter, r *http.Request, p params) {
		m, err := accept(w, r)
		if err != nil {
			return // it was answered
		}
		c := &channelConn{m, make(chan []byte, o.queue()), make(chan struct{})}
		s := h.enter(p, c)
		h.wait.Go(c.writeAll) // ends after the reading
		h.readAll(s)
	})
	return h
}

// readAll echoes from the goroutine that reads: the shortest way.
func (h *channelHub) readAll(s *seat[*channelConn]) {
	c := s.conn
	defer func() {
		h.leave(s)
		close(c.done)
		c.close()
	}()
	for {
		message, err := c.read()
		if err != nil {
			return
		}
		if h.obey(s, message) {
			continue
		}
		h.echoed.Add(1)
		if err := c.write(message); err != nil {
			return
		}
	}
}

func (c *channelConn) writeAll() {
	for {
		select {
		case message := <-c.send:
			if err := c.write(message); err != nil {
				c.close()
				return
			}
		case <-c.done:
			return
		}
	}
}

func (c *channelConn) put(message []byte) {
	select {
	case c.send <- message:
	default:
		go c.close() // as coder's chat example does; ends by itself
	}
}

func (h *channelHub) Publish(topic int, payload []byte) {
	message := append([]byte(nil), payload...)
	for _, s := range h.members(topic) {
		s.conn.put(message)
	}
}

func (h *channelHub) Send(client int, payload []byte) bool {
	s := h.client(client)
	if s == nil {
		return false
	}
	s.conn.put(append([]byte(nil), payload...))
	return true
}

func (h *channelHub) Close() error {
	return h.web.close(func() {
		for _, s := range h.all() {
			s.conn.close()
		}
	})
}
