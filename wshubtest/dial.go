package wshubtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// DialOption changes how [Dial], [TryDial] and the dials of a [TCPServer] connect.
type DialOption func(*dialConfig)

type dialConfig struct {
	header    http.Header
	unset     []string // headers to leave out
	path      string
	host      string
	protocols []string
	compress  bool
	buffer    int
	remote    string
	early     []byte
	ctx       context.Context
	timeout   time.Duration
	noPong    bool
	noEcho    bool
	onMessage func(Message)
}

// WithHeader sets a header of the handshake request, also one that the client would set itself. An empty value leaves
// the header out. "Host" sets the request's host, which is example.com otherwise.
func WithHeader(key, value string) DialOption {
	return func(c *dialConfig) {
		switch key = http.CanonicalHeaderKey(key); {
		case key == "Host":
			c.host = value
		case value == "":
			c.unset = append(c.unset, key)
		default:
			c.header.Set(key, value)
		}
	}
}

// WithOrigin sets the Origin header, as a browser does; without it there is none, as with other clients.
func WithOrigin(origin string) DialOption { return WithHeader("Origin", origin) }

// WithPath sets the request's path and query; it is "/" otherwise.
func WithPath(path string) DialOption { return func(c *dialConfig) { c.path = path } }

// WithSubprotocols offers subprotocols, the preferred one first.
func WithSubprotocols(names ...string) DialOption {
	return func(c *dialConfig) { c.protocols = slices.Clone(names) }
}

// WithCompression offers permessage-deflate without context takeover. Messages arrive inflated; what the client sends
// is compressed only by [Client.SendCompressed].
func WithCompression() DialOption { return func(c *dialConfig) { c.compress = true } }

// WithBuffer bounds the bytes that wait in each direction: in memory exactly n (64 KiB otherwise), over TCP as near as
// the system makes the client's receive buffer.
func WithBuffer(n int) DialOption { return func(c *dialConfig) { c.buffer = n } }

// WithRemoteAddr sets the client's address as the handler sees it, an IP with or without a port. In memory each client
// otherwise has a port of its own on 192.0.2.1. It cannot be used over TCP.
func WithRemoteAddr(addr string) DialOption { return func(c *dialConfig) { c.remote = addr } }

// WithEarly sends bytes in one piece with the handshake request, as a client does that speaks first: net/http has read
// them by the time the handler takes the connection over. See [Frame].
func WithEarly(b []byte) DialOption { return func(c *dialConfig) { c.early = slices.Clone(b) } }

// WithContext gives the request a context. In memory the handler's request has it, ended as net/http ends it: when
// ServeHTTP returns. Over TCP it bounds the dial.
func WithContext(ctx context.Context) DialOption { return func(c *dialConfig) { c.ctx = ctx } }

// WithTimeout bounds every wait of the client; it is 10 s otherwise.
func WithTimeout(d time.Duration) DialOption { return func(c *dialConfig) { c.timeout = d } }

// WithoutPong makes the client ignore pings, as a peer that has gone away does.
func WithoutPong() DialOption { return func(c *dialConfig) { c.noPong = true } }

// WithoutCloseEcho makes the client ignore the server's close frame, and keep the connection open after it.
func WithoutCloseEcho() DialOption { return func(c *dialConfig) { c.noEcho = true } }

// WithOnMessage hands each data message to f, on the client's reading goroutine, instead of keeping it for Next and the
// Expects. For tests of more messages than they want to keep.
func WithOnMessage(f func(Message)) DialOption { return func(c *dialConfig) { c.onMessage = f } }

// DialError is a refused upgrade, or an answer that no client may take for an upgrade.
type DialError struct {
	Response *http.Response // its Body has been read and can be read again, without closing
	Reason   string         // what is wrong with it
}

// Error tells the status, what is wrong and how the body begins.
func (e *DialError) Error() string {
	body, _ := io.ReadAll(e.Response.Body) // in memory
	e.Response.Body = io.NopCloser(bytes.NewReader(body))
	return fmt.Sprintf("handshake answered %q: %s (body %.200q)", e.Response.Status, e.Reason, body)
}

// Dial connects a client to h through memory and ends the test if h does not upgrade. The client and the call of
// h.ServeHTTP end with the test (in a bubble: before it ends).
//
// Like any client it is connected once it has the answer to its request, which may be before the handler has done
// anything with the connection: to look at the server's side then, call synctest.Wait or wait for what the handler does.
func Dial(t testing.TB, h http.Handler, opts ...DialOption) *Client {
	t.Helper()
	c, _, err := TryDial(t, h, opts...)
	if err != nil {
		t.Fatalf("wshubtest: dial: %v", err)
	}
	return c
}

// TryDial is Dial for a handler that may refuse: the error of a refused upgrade is a [*DialError], and the response is
// there whenever the handler gave one. It may be called on any goroutine.
func TryDial(t testing.TB, h http.Handler, opts ...DialOption) (*Client, *http.Response, error) {
	t.Helper()
	cfg := newDialConfig(opts)
	return dialMemory(t, h, cfg)
}

func newDialConfig(opts []DialOption) *dialConfig {
	cfg := &dialConfig{
		header:  http.Header{},
		path:    "/",
		host:    "example.com",
		ctx:     context.Background(),
		timeout: 10 * time.Second,
	}
	for _, o := range opts {
		o(cfg)
	}
	return cfg
}

// request builds the handshake request of RFC 6455, section 4.1.
func (cfg *dialConfig) request() (*http.Request, error) {
	u, err := url.ParseRequestURI(cfg.path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	u.Scheme, u.Host = "http", cfg.host
	var key [16]byte
	rand.Read(key[:])
	header := http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {base64.StdEncoding.EncodeToString(key[:])},
	}
	if len(cfg.protocols) > 0 {
		header.Set("Sec-Websocket-Protocol", strings.Join(cfg.protocols, ", "))
	}
	if cfg.compress {
		header.Set("Sec-Websocket-Extensions", "permessage-deflate; client_no_context_takeover; server_no_context_takeover")
	}
	for k, v := range cfg.header {
		header[k] = v
	}
	for _, k := range cfg.unset {
		delete(header, k)
	}
	return &http.Request{
		Method: http.MethodGet, URL: u, Host: cfg.host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// remoteAddr is the address that the handler sees.
func (cfg *dialConfig) remoteAddr(port int) (net.Addr, error) {
	if cfg.remote == "" {
		return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port}, nil
	}
	if ip, err := netip.ParseAddr(cfg.remote); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port))), nil
	}
	ap, err := netip.ParseAddrPort(cfg.remote)
	if err != nil {
		return nil, fmt.Errorf("remote address: %w", err)
	}
	return net.TCPAddrFromAddrPort(ap), nil
}

// readResponse reads the answer to the handshake and checks it as RFC 6455, section 4.1, asks of a client.
func readResponse(br *bufio.Reader, req *http.Request) (*http.Response, error) {
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return nil, fmt.Errorf("read the handshake's answer: %w", err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return resp, fmt.Errorf("read the body of the answer %q: %w", resp.Status, err)
	}
	if reason := checkUpgrade(resp, req); reason != "" {
		return resp, &DialError{Response: resp, Reason: reason}
	}
	return resp, nil
}

// checkUpgrade tells what is wrong with an answer; "" means that the upgrade stands.
func checkUpgrade(resp *http.Response, req *http.Request) string {
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return "not an upgrade"
	}
	if !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
		return "no Upgrade: websocket"
	}
	if !strings.EqualFold(resp.Header.Get("Connection"), "Upgrade") {
		return "no Connection: Upgrade"
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if got, want := resp.Header.Get("Sec-Websocket-Accept"), base64.StdEncoding.EncodeToString(sum[:]); got != want {
		return fmt.Sprintf("Sec-WebSocket-Accept is %q, want %q", got, want)
	}
	if got := resp.Header.Get("Sec-Websocket-Protocol"); got != "" {
		offered := strings.Split(req.Header.Get("Sec-Websocket-Protocol"), ",")
		if !slices.ContainsFunc(offered, func(p string) bool { return strings.TrimSpace(p) == got }) {
			return fmt.Sprintf("subprotocol %q was not offered", got)
		}
	}
	if got := resp.Header.Get("Sec-Websocket-Extensions"); got != "" {
		switch {
		case req.Header.Get("Sec-Websocket-Extensions") == "":
			return fmt.Sprintf("extensions %q were not offered", got)
		case !strings.HasPrefix(got, "permessage-deflate"), !strings.Contains(got, "server_no_context_takeover"):
			return fmt.Sprintf("extensions %q are not what was offered", got)
		}
	}
	return ""
}

// errBuffer refuses a buffer that no byte would pass.
var errBuffer = errors.New("WithBuffer needs at least 1 byte")
