package load

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// offer asks for messages that can be inflated one by one.
	offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	// maxAnswer bounds the header of the server's answer.
	maxAnswer = 16 << 10
)

// setup is what a connection needs until it is open.
type setup struct {
	start    int64 // when it began to connect
	host     string
	accept   string // what the server is to answer to the key
	asked    bool   // the request is sent
	upgraded bool   // and answered
	answer   []byte // what has come of the answer
}

func newSetup(start int64, host string) *setup { return &setup{start: start, host: host} }

// connected sends the request, or fails as the connect did.
func (l *load) connected(c *conn) {
	s := c.setup
	errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err != nil {
		l.end(c, fmt.Errorf("connect: %w", err))
		return
	}
	var nonce [16]byte
	binary.LittleEndian.PutUint64(nonce[:], uint64(l.mask())<<32|uint64(l.mask()))
	binary.LittleEndian.PutUint64(nonce[8:], uint64(l.mask())<<32|uint64(l.mask()))
	key := base64.StdEncoding.EncodeToString(nonce[:])
	s.key(key)
	s.asked = true
	b := fmt.Appendf(l.frame[:0], "GET /ws?id=%d&topic=%d HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", c.id, c.topic, s.host, key)
	if l.dial.ask.Compress {
		b = append(b, "Sec-WebSocket-Extensions: "+offer+"\r\n"...)
	}
	l.frame = append(b, "\r\n"...)
	l.send(c, l.frame)
}

// key sets the answer that a server has to give to the key.
func (s *setup) key(key string) {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	s.accept = base64.StdEncoding.EncodeToString(sum[:])
}

// upgrade takes bytes of the answer and returns what follows it.
func (l *load) upgrade(c *conn, b []byte) []byte {
	s := c.setup
	s.answer = append(s.answer, b...)
	end := bytes.Index(s.answer, []byte("\r\n\r\n"))
	if end < 0 {
		if len(s.answer) > maxAnswer {
			l.end(c, errors.New("an answer without an end"))
		}
		return nil
	}
	rest := s.answer[end+4:]
	deflate, err := s.check(string(s.answer[:end]), l.dial.ask.Compress)
	if err != nil {
		l.end(c, err)
		return nil
	}
	s.upgraded, s.answer = true, nil
	c.deflate = deflate
	if c.centrifuge {
		l.sendConnect(c)
	} else {
		l.opened(c)
	}
	return rest
}

// check looks at the answer without its last line end.
func (s *setup) check(answer string, compress bool) (deflate bool, err error) {
	status, header, _ := strings.Cut(answer, "\r\n")
	if version, code, _ := strings.Cut(status, " "); version != "HTTP/1.1" || !strings.HasPrefix(code, "101") {
		return false, fmt.Errorf("the server answered %q", status)
	}
	var accept, extensions string
	for line := range strings.SplitSeq(header, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); strings.ToLower(name) {
		case "sec-websocket-accept":
			accept = value
		case "sec-websocket-extensions":
			extensions = strings.ReplaceAll(value, " ", "")
		}
	}
	if accept != s.accept {
		return false, fmt.Errorf("the key was answered with %q", accept)
	}
	deflate = extensions != ""
	switch {
	case deflate && !compress:
		return false, fmt.Errorf("an extension that was not offered: %q", extensions)
	case compress && (!strings.HasPrefix(extensions, "permessage-deflate;") || !strings.Contains(extensions, "server_no_context_takeover")):
		return false, fmt.Errorf("compression without context takeover was answered with %q", extensions)
	}
	return deflate, nil
}
