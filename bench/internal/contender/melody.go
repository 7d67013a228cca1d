package contender

import (
	"net/http"

	"github.com/olahol/melody"
)

var melodyContender = Contender{
	Name:   "melody",
	Module: "github.com/olahol/melody",
	Path:   "Session.Write to each member, which is what BroadcastMultiple does",
	Topics: true, Direct: true, Compress: true, Echo: true,
	New: newMelody,
}

// melodyHub keeps lists of members: BroadcastFilter asks every session about every message. BroadcastMultiple, the other
// documented way, gives up at the first member that is just leaving, so its loop stands in Publish.
type melodyHub struct {
	web
	seats[*melody.Session]
	melody *melody.Melody
}

const (
	melodyParams = "params"
	melodySeat   = "seat"
)

func newMelody(o Options) (Hub, error) {
	m := melody.New()
	m.Config.MessageBufferSize = o.queue()
	m.Config.MaxMessageSize = 64 << 10
	m.Upgrader.EnableCompression = o.Compress // level 1 is its default
	h := &melodyHub{melody: m}
	m.HandleConnect(func(s *melody.Session) {
		s.Set(melodySeat, h.enter(s.MustGet(melodyParams).(params), s))
	})
	m.HandleDisconnect(func(s *melody.Session) {
		h.leave(s.MustGet(melodySeat).(*seat[*melody.Session]))
	})
	m.HandleMessage(func(s *melody.Session, message []byte) {
		if !h.obey(s.MustGet(melodySeat).(*seat[*melody.Session]), message) {
			h.echoed.Add(1)
			s.Write(message)
		}
	})
	h.handle(func(w http.ResponseWriter, r *http.Request, p params) {
		m.HandleRequestWithKeys(w, r, map[string]any{melodyParams: p}) // ends with the connection
	})
	return h, nil
}

func (h *melodyHub) Publish(topic int, payload []byte) {
	message := append([]byte(nil), payload...)
	for _, s := range h.members(topic) {
		s.conn.Write(message) // fails for one that is leaving
	}
}

func (h *melodyHub) Send(client int, payload []byte) bool {
	s := h.client(client)
	return s != nil && s.conn.Write(append([]byte(nil), payload...)) == nil
}

func (h *melodyHub) Close() error {
	return h.close(func() {
		for _, s := range h.all() {
			s.conn.WebsocketConnection().Close()
		}
	})
}
