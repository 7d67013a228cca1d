package contender

//lint:file-ignore SA1019 it is deprecated in favour of coder's, and compared because programs still use it

import (
	"context"
	"net/http"

	"nhooyr.io/websocket"
)

var nhooyrContender = Contender{
	Name:   "nhooyr",
	Module: "nhooyr.io/websocket",
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
			return nhooyrConn{c}, err
		}), nil
	},
}

// nhooyrConn gives the library contexts that never end, which are the cheapest.
type nhooyrConn struct{ c *websocket.Conn }

func (c nhooyrConn) read() ([]byte, error) {
	_, message, err := c.c.Read(context.Background())
	return message, err
}

func (c nhooyrConn) write(message []byte) error {
	return c.c.Write(context.Background(), websocket.MessageText, message)
}

func (c nhooyrConn) close() { c.c.CloseNow() }
