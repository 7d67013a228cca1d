package wshub_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// probe asks both handlers and returns their status, and what they told.
func probe(t *testing.T, h *wshub.Hub) (live, ready int, told wshub.Health) {
	t.Helper()
	ask := func(handler http.Handler) (int, wshub.Health) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
		var v wshub.Health
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Errorf("%q: %v", w.Body, err)
		}
		if got := w.Header(); got.Get("Cache-Control") != "no-store" || got.Get("Content-Type") != "application/json" {
			t.Errorf("header %v", got)
		}
		return w.Code, v
	}
	live, _ = ask(h.LiveHandler())
	ready, told = ask(h.ReadyHandler())
	return live, ready, told
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithNode("n1"), wshub.WithLimits(wshub.Limits{Sessions: 3}), wshub.WithDrain(0, 0))
		release := make(chan struct{})
		expect := func(when, status string, live, ready int) wshub.Health {
			t.Helper()
			gotLive, gotReady, v := probe(t, h)
			if v.Status != status || gotLive != live || gotReady != ready || v.Ready != (ready == 200) || v.Live != (live == 200) {
				t.Errorf("%s: live %d, ready %d, %+v", when, gotLive, gotReady, v)
			}
			if now := h.Health(); !v.Started.Equal(now.Started) {
				t.Errorf("%s: %+v, Health %+v", when, v, now)
			} else if v.Started = now.Started; v != now {
				t.Errorf("%s: %+v, Health %+v", when, v, now)
			}
			return v
		}
		expect("new", "ready", 200, 200)
		topic := newTopic[string](t, h, "t", wshub.Policy{})
		ss, _ := sessions(t, h, 2)
		join(t, topic, ss...)
		time.Sleep(90 * time.Second)
		if v := expect("two of three", "ready", 200, 200); v.Node != "n1" || v.Sessions != 2 || v.Topics != 1 || v.Uptime != 90 || v.Upgrades != 0 {
			t.Errorf("health %+v", v)
		}
		c := wshubtest.Dial(t, h.Handler(func(context.Context, *wshub.Session) error { <-release; return nil }))
		synctest.Wait()
		expect("three of three", "full", 200, 503)
		ss[0].Close(1000, "")
		<-ss[0].Done()
		expect("two again", "ready", 200, 200)

		done := make(chan error)
		go func() { done <- h.Drain(context.Background()) }()
		c.ExpectClose(1001)
		time.Sleep(time.Minute)
		if v := expect("draining", "draining", 200, 503); v.Sessions != 1 {
			t.Errorf("health %+v", v)
		}
		h.Close()
		expect("closed, with a session", "closed", 200, 503)
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if v := expect("closed", "closed", 503, 503); v.Sessions != 0 {
			t.Errorf("health %+v", v)
		}
	})
}

// A hub that was drained is not ready, and not dead.
func TestHealthOfADrainedHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		sessions(t, h, 1)
		if err := h.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if live, ready, v := probe(t, h); live != 200 || ready != 503 || v.Status != "draining" {
			t.Errorf("live %d, ready %d, %+v", live, ready, v)
		}
	})
}

func TestHealthHandlersMethods(t *testing.T) {
	h := newHub(t)
	for name, handler := range map[string]http.Handler{"live": h.LiveHandler(), "ready": h.ReadyHandler()} {
		srv := httptest.NewServer(handler)
		for _, test := range []struct {
			method string
			status int
			body   bool
		}{{"GET", 200, true}, {"HEAD", 200, false}, {"POST", 405, true}, {"OPTIONS", 405, true}, {"BREW", 405, true}} {
			req, err := http.NewRequest(test.method, srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			n, _ := resp.Body.Read(make([]byte, 10))
			resp.Body.Close()
			if resp.StatusCode != test.status || n > 0 != test.body || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: %v, %d bytes, header %v", test.method, name, resp.Status, n, resp.Header)
			}
			if allow := resp.Header.Get("Allow"); (allow == "GET, HEAD") != (test.status == 405) {
				t.Errorf("%s %s: Allow is %q", test.method, name, allow)
			}
			if test.status == 200 && resp.ContentLength <= 0 {
				t.Errorf("%s %s: length %d", test.method, name, resp.ContentLength)
			}
		}
		srv.Close()
	}
}
