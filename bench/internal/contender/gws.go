package contender

import (
	"net/http"

	"github.com/lxzan/gws"
)

var gwsContender = Contender{
	Name:   "gws",
	Module: "github.com/lxzan/gws",
	Path:   "Broadcaster.Broadcast to each member, messages handled by ReadLoop in order",
	Topics: true, Direct: true, Compress: true, Echo: true,
	New: newGws,
}

// gwsHub follows "Best Practice" and "Broadcast" of gws's README, but for ParallelEnabled: with it the messages of one
// client are handled in no order.
type gwsHub struct {
	gws.BuiltinEventHandler
	web
	seats[*gws.Conn]
}

const gwsSeat = "seat"

func newGws(o Options) (Hub, error) {
	h := new(gwsHub)
	upgrader := gws.NewUpgrader(h, &gws.ServerOption{
		Recovery: gws.Recovery,
		PermessageDeflate: gws.PermessageDeflate{
			Enabled:   o.Compress,
			Level:     1,
			Threshold: compressFrom,
		},
	})
	h.handle(func(w http.ResponseWriter, r *http.Request, p params) {
		c, err := upgrader.Upgrade(w, r)
		if err != nil {
			return // it was answered
		}
		c.Session().Store(gwsSeat, h.enter(p, c))
		h.wait.Go(c.ReadLoop) // ends with the connection
	})
	return h, nil
}

func (h *gwsHub) OnClose(c *gws.Conn, _ error) {
	s, _ := c.Session().Load(gwsSeat)
	h.leave(s.(*seat[*gws.Conn]))
}

func (h *gwsHub) OnPing(c *gws.Conn, payload []byte) { c.WritePong(payload) }

func (h *gwsHub) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	s, _ := c.Session().Load(gwsSeat)
	if !h.obey(s.(*seat[*gws.Conn]), m.Bytes()) {
		h.echoed.Add(1)
		c.WriteMessage(m.Opcode, m.Bytes())
	}
}

func (h *gwsHub) Publish(topic int, payload []byte) {
	b := gws.NewBroadcaster(gws.OpcodeText, payload)
	defer b.Close()
	for _, s := range h.members(topic) {
		b.Broadcast(s.conn) // its failures end in OnClose
	}
}

func (h *gwsHub) Send(client int, payload []byte) bool {
	s := h.client(client)
	if s == nil {
		return false
	}
	s.conn.WriteAsync(gws.OpcodeText, append([]byte(nil), payload...), nil)
	return true
}

func (h *gwsHub) Close() error {
	return h.close(func() {
		for _, s := range h.all() {
			s.conn.NetConn().Close()
		}
	})
}
