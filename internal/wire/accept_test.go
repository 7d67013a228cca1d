package wire

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSubprotocol(t *testing.T) {
	for _, tc := range []struct {
		name   string
		ours   []string
		header string
		want   string
	}{
		{"none", nil, "", ""},
		{"offered, not ours", nil, "Sec-WebSocket-Protocol: chat\r\n", ""},
		{"ours, not offered", []string{"chat"}, "", ""},
		{"our order", []string{"v2", "v1"}, "Sec-WebSocket-Protocol: v1, v2\r\n", "v2"},
		{"two lines", []string{"v2"}, "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v2\r\n", "v2"},
		{"another case is another protocol", []string{"Chat"}, "Sec-WebSocket-Protocol: chat\r\n", ""},
		{"both cases", []string{"Chat"}, "Sec-WebSocket-Protocol: chat, Chat\r\n", "Chat"},
		{"empty", []string{""}, "Sec-WebSocket-Protocol: ,\r\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, p := connect(t, "tcp", Options{Subprotocols: tc.ours}, tc.header, "")
			if got := p.resp.Header.Get("Sec-WebSocket-Protocol"); got != tc.want || c.Subprotocol() != tc.want {
				t.Errorf("answered %q, Subprotocol %q, want %q", got, c.Subprotocol(), tc.want)
			}
		})
	}
}

func TestCompressionNegotiation(t *testing.T) {
	for _, tc := range []struct {
		name   string
		on     bool
		header string
		want   bool
	}{
		{"off", false, offerDeflate, false},
		{"not offered", true, "", false},
		{"offered", true, offerDeflate, true},
		{"a window we do not have", true, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n", false},
		{"the second offer", true, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9, permessage-deflate\r\n", true},
		{"another extension", true, "Sec-WebSocket-Extensions: permessage-bzip2\r\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, p := connect(t, "tcp", Options{Compress: tc.on, CompressThreshold: 77}, tc.header, "")
			if c.Compressed() != tc.want || (p.resp.Header.Get("Sec-WebSocket-Extensions") != "") != tc.want {
				t.Errorf("Compressed %v, extensions %q", c.Compressed(), p.resp.Header.Get("Sec-WebSocket-Extensions"))
			}
			if c.CompressThreshold() != 77 {
				t.Errorf("CompressThreshold %d", c.CompressThreshold())
			}
			if !tc.want {
				own(t, c)
				p.send(clientFrame(bitFin|bitRSV1|byte(OpText), "x"))
				wantViolation(t, c, 1002)
				p.wantClose(1002)
			}
		})
	}
}

// The deflated form of a frame is what a peer that negotiated it reads.
func TestDeflatedFrameOnTheWire(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{Compress: true}, offerDeflate, "")
		want := strings.Repeat("again and ", 5000)
		var f Frame
		f.Init(OpText, []byte(want))
		if _, err := c.WriteAll(f.Deflated(0), patience); err != nil {
			t.Fatal(err)
		}
		first, payload, err := p.frame()
		if err != nil || first != bitFin|bitRSV1|byte(OpText) {
			t.Fatalf("frame %#x, %v", first, err)
		}
		if got := inflate(t, append(appendHeader(nil, first, len(payload)), payload...)); got != want {
			t.Errorf("inflates to %d bytes", len(got))
		}
	})
}

func TestRefusedHandshakes(t *testing.T) {
	good := "GET / HTTP/1.1|Host: h|Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Version: 13|" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==|Sec-WebSocket-Protocol: chat"
	for _, tc := range []struct {
		name     string
		old, new string
		status   int
	}{
		{"no upgrade", "Upgrade: websocket|", "", 426},
		{"no connection", "Connection: Upgrade|", "", 426},
		{"post", "GET", "POST", 405},
		{"version", "13", "8", 400},
		{"no key", "Sec-WebSocket-Key", "X-Key", 400},
		{"bad key", "dGhl", "!!!!", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c, err := Accept(w, r, Options{Subprotocols: []string{"chat"}}); err == nil {
					c.CloseNow()
					t.Error("Accept accepts")
				}
			}))
			defer srv.Close()
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, strings.ReplaceAll(strings.Replace(good, tc.old, tc.new, 1), "|", "\r\n")+"\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != tc.status || resp.Header.Get("Sec-WebSocket-Protocol") != "" {
				t.Errorf("answer %+v, %v; want %d", resp, err, tc.status)
			}
		})
	}
}

// upgradeRequest is a valid request without a connection.
func upgradeRequest() *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	return r
}

func TestAcceptWithoutHijacker(t *testing.T) {
	w := httptest.NewRecorder()
	if _, err := Accept(w, upgradeRequest(), Options{}); err == nil || w.Code != http.StatusNotImplemented {
		t.Errorf("Accept: %v, status %d", err, w.Code)
	}
}

type failingHijacker struct{ *httptest.ResponseRecorder }

func (failingHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrHijacked
}

func TestAcceptWhenHijackFails(t *testing.T) {
	if _, err := Accept(failingHijacker{httptest.NewRecorder()}, upgradeRequest(), Options{}); err == nil {
		t.Error("Accept accepts")
	}
}

// unwrapping is a middleware's writer, as ResponseController knows them.
type unwrapping struct{ http.ResponseWriter }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func TestAcceptThroughMiddleware(t *testing.T) {
	server, client := Pipe(4 << 10)
	defer client.Close()
	w := unwrapping{unwrapping{&hijackable{conn: server, br: bufio.NewReader(server), header: http.Header{}}}}
	c, err := Accept(w, upgradeRequest(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	client.Write(text("hi"))
	wantMessage(t, c, OpText, "hi")
	if got := c.RemoteAddr().String(); got != "mem:2" {
		t.Errorf("RemoteAddr %s", got)
	}
}

// A peer that pipelines its request behind answers it does not read cannot hold Accept up: net/http has no deadline
// for the answer to an upgrade unless the server was given one.
func TestAcceptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		defer client.Close()
		took := make(chan time.Duration, 1)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			c, err := Accept(w, r, Options{WriteTimeout: 7 * time.Second})
			took <- time.Since(start)
			if err == nil {
				c.CloseNow()
			}
		})}
		ln := &oneListener{conns: make(chan net.Conn, 1)}
		ln.conns <- server
		served := make(chan error)
		go func() { served <- srv.Serve(ln) }()
		go upgradeRequest().Write(client)
		if d := <-took; d != 7*time.Second {
			t.Errorf("Accept took %v, want 7s", d)
		}
		close(ln.conns)
		<-served
	})
}

// A writer that is not net/http's, with the answer still in its buffer when it is hijacked.
func TestAcceptIsBoundedWhenHijacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := Pipe(16)
		defer client.Close()
		start := time.Now()
		w := &buffering{hijackable{conn: server, br: bufio.NewReader(server), header: http.Header{}}, bufio.NewWriter(server)}
		if _, err := Accept(w, upgradeRequest(), Options{WriteTimeout: 7 * time.Second}); err == nil || time.Since(start) != 7*time.Second {
			t.Errorf("Accept: %v after %v, want an error after 7s", err, time.Since(start))
		}
	})
}

type buffering struct {
	hijackable
	bw *bufio.Writer
}

func (b *buffering) WriteHeader(int) { b.bw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\n") }

func (b *buffering) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return b.conn, bufio.NewReadWriter(b.br, b.bw), nil
}

// oneListener hands out what is in conns.
type oneListener struct{ conns chan net.Conn }

func (l *oneListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (*oneListener) Close() error   { return nil }
func (*oneListener) Addr() net.Addr { return memAddr("mem:0") }

// FuzzConn feeds a whole connection: it must end, with a verdict, and never pass invalid text.
func FuzzConn(f *testing.F) {
	for _, tc := range violations {
		f.Add([]byte(string(text("before"))+tc.sent), true)
	}
	f.Add(append(clientFrame(bitFin|bitRSV1|byte(OpText), deflated(f, "hello hello")), closing(1000, "")...), true)
	f.Fuzz(func(t *testing.T, data []byte, compress bool) {
		server, client := Pipe(len(data) + 1024)
		r := upgradeRequest()
		r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate")
		w := &hijackable{conn: server, br: bufio.NewReader(server), header: http.Header{}}
		c, err := Accept(w, r, Options{Compress: compress, ReadLimit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		client.Write(data)
		client.Close()
		for {
			op, b, err := c.ReadMessage()
			if err != nil {
				break
			}
			if op == OpText && strings.ToValidUTF8(string(b), "") != string(b) || len(b) > 1000 {
				t.Fatalf("got %d bytes %q", len(b), clip(b))
			}
		}
		c.AwaitClose(0)
	})
}
