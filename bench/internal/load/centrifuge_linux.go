package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// centrifuge is the dialect of that library's JSON protocol: commands and replies, a line each, several of them in a frame.
// Topic 7 is the channel t7.
const centrifuge = "centrifuge"

// The ids of commands: only those of the setup are waited for.
const (
	idConnect = iota + 1
	idSubscribe
	idLater
)

func (l *load) sendConnect(c *conn) {
	l.sendFrame(c, opText, fmt.Appendf(nil, `{"id":%d,"connect":{}}`, idConnect))
}

// sendSubscribe asks for a topic's channel, or leaves it.
func (l *load) sendSubscribe(c *conn, topic uint32, join bool) {
	do, id := "unsubscribe", idLater
	if join {
		do = "subscribe"
	}
	if c.setup != nil {
		id = idSubscribe
	}
	l.sendFrame(c, opText, fmt.Appendf(nil, `{"id":%d,"%s":{"channel":"t%d"}}`, id, do, topic))
}

// sendCall asks for data, which is answered with the same.
func (l *load) sendCall(c *conn, data []byte) {
	b := append(l.call[:0], `{"id":`...)
	b = strconv.AppendInt(b, idLater, 10)
	b = append(b, `,"rpc":{"data":`...)
	b = append(b, data...)
	l.call = append(b, "}}"...)
	l.sendFrame(c, opText, l.call)
}

// replies takes the lines of a message.
func (l *load) replies(c *conn, p []byte, now int64) {
	for len(p) > 0 && c.fd >= 0 {
		line := p
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			line, p = p[:i], p[i+1:]
		} else {
			p = nil
		}
		switch {
		case len(line) == 0:
		case string(line) == "{}":
			l.sendFrame(c, opText, line)
		case c.setup != nil:
			l.greeted(c, line)
		default:
			l.reply(c, line, now)
		}
	}
}

// greeted takes the replies that the setup waits for.
func (l *load) greeted(c *conn, line []byte) {
	var r struct {
		ID    int             `json:"id"`
		Error json.RawMessage `json:"error"`
	}
	err := json.Unmarshal(line, &r)
	switch {
	case err != nil:
		l.end(c, fmt.Errorf("reply %q: %w", line, err))
	case r.Error != nil:
		l.end(c, fmt.Errorf("command %d: %s", r.ID, r.Error))
	case r.ID == idConnect:
		l.sendSubscribe(c, c.topic, true)
	case r.ID == idSubscribe:
		l.opened(c)
	}
}

var (
	prefix   = []byte(proto.Prefix)
	hasError = []byte(`"error":{`)
)

// reply counts the payload of a line that has one. Its size is not told: it has to end where it should.
func (l *load) reply(c *conn, line []byte, now int64) {
	at := bytes.Index(line, prefix)
	if at < 0 {
		if l.win.active && bytes.Contains(line, hasError) {
			l.win.got.Damaged++
		}
		return
	}
	p := line[at:]
	head := p[:min(len(p), proto.Head)]
	size := l.win.ask.Size
	if window, _, _, _, ok := proto.Parse(head); ok && window&echoBit != 0 {
		size = len(l.win.echo)
	}
	if size < proto.MinSize || len(p) < size || string(p[size-2:size]) != `"}` {
		size = -1
	}
	l.payload(c, head, size, '}', now)
}
