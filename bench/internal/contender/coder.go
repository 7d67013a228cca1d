package contender

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
)

var coderContender = Contender{
	Name:   "coder",
	Module: "github.com/coder/websocket",
	Path:   "Conn.Write by a goroutine per client, which a channel feeds, as in its chat example",
	Topics: true, Direct: true, Compress: true, Echo: true,
	New: func(o Options) (Hub, error) {
		opts := &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled}
		if o.Compress {
			opts.CompressionMode = websocket.CompressionNoContextTakeover // at level 1, always
			opts.CompressionThreshold = compressFrom
		}
		return newChannelHub(o, func(w http.ResponseWriter, r *http.Request) (messageConn, error) {
			c, err := websocket.Accept(w, r, opts)
			return coderConn{c}, err
		}), nil
	},
}

// coderConn gives the library contexts that never end, which are the cheapest.
type coderConn struct{ c *websocket.Conn }

func (c coderConn) read() ([]byte, error) {
	_, message, err := c.c.Read(context.Background())
	return message, err
}

func (c coderConn) write(message []byte) error {
	return c.c.Write(context.Background(), websocket.MessageText, message)
}

func (c coderConn) close() { c.c.CloseNow() }
