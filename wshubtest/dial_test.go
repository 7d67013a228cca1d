package wshubtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub/wshubtest"
)

func goexit() { runtime.Goexit() }

// TestRequest checks what the handler sees.
func TestRequest(t *testing.T) {
	type key struct{}
	var got *http.Request
	var during error
	see := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, during = r, r.Context().Err()
		raw(func(rawConn) {}).ServeHTTP(w, r)
	})
	c := wshubtest.Dial(t, see,
		wshubtest.WithPath("/ws/a?room=go&x=1"),
		wshubtest.WithOrigin("https://app.example.com"),
		wshubtest.WithHeader("Cookie", "a=b"),
		wshubtest.WithHeader("host", "chat.example.com"),
		wshubtest.WithRemoteAddr("203.0.113.9"),
		wshubtest.WithContext(context.WithValue(t.Context(), key{}, "v")),
	)
	c.ExpectDropped()
	for _, v := range []struct{ name, got, want string }{
		{"path", got.URL.Path, "/ws/a"},
		{"query", got.FormValue("room"), "go"},
		{"uri", got.RequestURI, "/ws/a?room=go&x=1"},
		{"origin", got.Header.Get("Origin"), "https://app.example.com"},
		{"cookie", got.Header.Get("Cookie"), "a=b"},
		{"host", got.Host, "chat.example.com"},
		{"connection", got.Header.Get("Connection"), "Upgrade"},
		{"remote", strings.Split(got.RemoteAddr, ":")[0], "203.0.113.9"},
		{"value", fmt.Sprint(got.Context().Value(key{})), "v"},
		{"context during", fmt.Sprint(during), "<nil>"},
	} {
		if v.got != v.want {
			t.Errorf("%s is %q, want %q", v.name, v.got, v.want)
		}
	}
	<-got.Context().Done() // as with net/http, the context ends with ServeHTTP
}

func TestSubprotocol(t *testing.T) {
	both(t, func(t *testing.T, dial func(http.Handler, ...wshubtest.DialOption) *wshubtest.Client) {
		c := dial(raw(echo, "Sec-WebSocket-Protocol: v2"), wshubtest.WithSubprotocols("v1", "v2"))
		if got := c.Subprotocol(); got != "v2" {
			t.Errorf("subprotocol %q", got)
		}
		if got := c.Response().StatusCode; got != 101 {
			t.Errorf("status %d", got)
		}
	})
}

// TestRefused checks the answers that a client may not take for an upgrade.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler http.Handler
		opts    []wshubtest.DialOption
		status  int
		want    string
	}{
		{"403", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			http.Error(w, "not from here", http.StatusForbidden)
		}), nil, 403, "not from here"},
		{"200", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil, 200, "not an upgrade"},
		{"large", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 200_000)) }), nil, 200, "not an upgrade"},
		{"other key", raw(echo), []wshubtest.DialOption{wshubtest.WithHeader("Sec-WebSocket-Key", "")}, 101, ""},
		{"not offered", raw(echo, "Sec-WebSocket-Protocol: v3"), []wshubtest.DialOption{wshubtest.WithSubprotocols("v1")}, 101, `"v3" was not offered`},
		{"extension not offered", raw(echo, "Sec-WebSocket-Extensions: permessage-deflate"), nil, 101, "were not offered"},
		{"takeover", raw(echo, "Sec-WebSocket-Extensions: permessage-deflate"), []wshubtest.DialOption{wshubtest.WithCompression()}, 101, "not what was offered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check := func(t *testing.T, c *wshubtest.Client, resp *http.Response, err error) {
				if tt.want == "" { // the answer suits the request, odd as it is
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				var refused *wshubtest.DialError
				if c != nil || !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error %v, want %q", err, tt.want)
				}
				if resp != refused.Response || resp.StatusCode != tt.status {
					t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || tt.name == "403" && (string(body) != "not from here\n" || resp.Header.Get("Retry-After") != "7") {
					t.Errorf("body %q, header %v, error %v", body, resp.Header, err)
				}
			}
			t.Run("memory", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, resp, err := wshubtest.TryDial(t, tt.handler, append(tt.opts, wshubtest.WithBuffer(512))...)
					check(t, c, resp, err)
				})
			})
			t.Run("tcp", func(t *testing.T) {
				c, resp, err := wshubtest.Server(t, tt.handler).TryDialTCP(tt.opts...)
				check(t, c, resp, err)
			})
		})
	}
}

// TestDialErrors checks the dials that no handler answers.
func TestDialErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		opt     wshubtest.DialOption
		want    string
	}{
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, wshubtest.WithPath("/"), "timeout"},
		{"aborted", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, wshubtest.WithPath("/"), "EOF"},
		{"bad path", nil, wshubtest.WithPath("no slash"), "path"},
		{"bad address", nil, wshubtest.WithRemoteAddr("nowhere"), "remote address"},
		{"bad buffer", nil, wshubtest.WithBuffer(-1), "WithBuffer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _, err := wshubtest.TryDial(t, tt.handler, tt.opt)
				if c != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
			})
		})
	}
	if _, _, err := wshubtest.Server(t, raw(echo)).TryDialTCP(wshubtest.WithRemoteAddr("192.0.2.7")); err == nil {
		t.Error("no error for WithRemoteAddr over TCP")
	}
}

func TestServerURL(t *testing.T) {
	srv := wshubtest.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	if !strings.HasPrefix(srv.URL(), "ws://127.0.0.1:") || srv.HTTPURL() != "http://"+srv.Addr() {
		t.Errorf("%s, %s", srv.URL(), srv.HTTPURL())
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(srv.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "hello" {
		t.Errorf("body %q", body)
	}
	srv.Close()
	srv.Close()
}
