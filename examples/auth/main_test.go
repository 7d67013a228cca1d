package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/internal/leak"
	"github.com/wshub-go/wshub/wshubtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// bubble runs f with the program in a bubble of fake time.
func bubble(t *testing.T, f func(t *testing.T, p *program)) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newServer(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.hub.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		})
		f(t, &program{t: t, handler: s.handler()})
	})
}

type program struct {
	t       *testing.T
	handler http.Handler
}

// post returns the body of an answer with the wanted status.
func (p *program) post(path, token string, want int, form ...string) string {
	p.t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	r := httptest.NewRequest("POST", path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	if w.Code != want {
		p.t.Fatalf("POST %s: %d %s, want %d", path, w.Code, w.Body, want)
	}
	return strings.TrimSpace(w.Body.String())
}

func (p *program) login(user, password string) string {
	p.t.Helper()
	return p.post("/login", "", 200, "user", user, "password", password)
}

func (p *program) dial(token string) *wshubtest.Client {
	p.t.Helper()
	return wshubtest.Dial(p.t, p.handler, wshubtest.WithPath("/ws?token="+url.QueryEscape(token)))
}

type m = map[string]any

func event(name string, data m) m { return m{"event": name, "data": data} }

func failed(code, message string) m { return event("error", m{"code": code, "message": message}) }

func TestTokens(t *testing.T) {
	bubble(t, func(t *testing.T, p *program) {
		token := p.login("bob", "1906")
		for _, bad := range []string{"", ".", token + "x", "x" + token, strings.Replace(token, ".", "", 1), sign([]byte("another"), Claims{User: "bob", Expires: time.Now().Add(time.Hour)})} {
			_, resp, err := wshubtest.TryDial(t, p.handler, wshubtest.WithPath("/ws?token="+url.QueryEscape(bad)))
			if err == nil || resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("token %q: %v", bad, err)
			}
		}
		p.post("/login", "", 401, "user", "bob", "password", "1815")
		p.post("/login", "", 401, "user", "mallory", "password", "")
		wshubtest.Dial(t, p.handler, wshubtest.WithPath("/ws"), wshubtest.WithHeader("Authorization", "Bearer "+token))

		time.Sleep(time.Minute)
		if _, resp, err := wshubtest.TryDial(t, p.handler, wshubtest.WithPath("/ws?token="+token)); err == nil || resp.StatusCode != 401 {
			t.Errorf("an expired token: %v", err)
		}
	})
}

func TestRooms(t *testing.T) {
	bubble(t, func(t *testing.T, p *program) {
		bob, eve := p.dial(p.login("bob", "1906")), p.dial(p.login("eve", "1984"))
		for _, c := range []*wshubtest.Client{bob, eve} {
			c.SendJSON(event("join", m{"room": "lobby"}))
			c.SendJSON(event("join", m{"room": "board"}))
			synctest.Wait()
		}
		eve.ExpectJSON(failed("forbidden", "forbidden"))
		eve.SendJSON(event("say", m{"room": "board", "text": "let me in"}))
		eve.ExpectJSON(failed("forbidden", "forbidden"))
		bob.SendJSON(event("say", m{"room": "board", "text": "secret"}))
		bob.ExpectJSON(m{"event": "said", "topic": "room/board", "data": m{"user": "bob", "text": "secret"}})
		eve.SendJSON(event("say", m{"room": "lobby", "text": "hello"}))
		hello := m{"event": "said", "topic": "room/lobby", "data": m{"user": "eve", "text": "hello"}}
		bob.ExpectJSON(hello)
		eve.ExpectJSON(hello)
		eve.ExpectNothing()
	})
}

func TestExpiryAndRenewal(t *testing.T) {
	bubble(t, func(t *testing.T, p *program) {
		bob, eve := p.dial(p.login("bob", "1906")), p.dial(p.login("eve", "1984"))
		for _, room := range []string{"lobby", "board"} {
			bob.SendJSON(event("join", m{"room": room}))
		}
		time.Sleep(50 * time.Second)
		p.post("/grant", p.login("ann", "1815"), 200, "user", "bob", "rooms", "lobby")
		bob.SendJSON(m{"event": "renew", "id": 1, "data": m{"token": p.login("eve", "1984")}})
		bob.ExpectJSON(m{"event": "error", "id": 1, "data": m{"code": "forbidden", "message": "forbidden"}})
		expires := time.Now().Add(time.Minute)
		bob.SendJSON(m{"event": "renew", "id": 2, "data": m{"token": p.login("bob", "1906")}})
		bob.ExpectJSON(m{"event": "renew", "id": 2, "data": m{"expires": expires, "topics": []string{"room/lobby"}}})

		time.Sleep(10 * time.Second)
		eve.ExpectClose(1008)
		bob.SendJSON(event("say", m{"room": "lobby", "text": "still here"}))
		bob.ExpectJSON(m{"event": "said", "topic": "room/lobby", "data": m{"user": "bob", "text": "still here"}})
		time.Sleep(50 * time.Second)
		bob.ExpectClose(1008)
	})
}

func TestKick(t *testing.T) {
	bubble(t, func(t *testing.T, p *program) {
		admin, token := p.login("ann", "1815"), p.login("bob", "1906")
		one, two, ann := p.dial(token), p.dial(token), p.dial(admin)
		p.post("/kick", token, 403, "user", "ann")
		p.post("/kick", "", 401, "user", "ann")
		p.post("/kick", admin, 404, "user", "mallory")
		time.Sleep(time.Second)
		p.post("/kick", admin, 200, "user", "bob")
		for _, c := range []*wshubtest.Client{one, two} {
			if reason := c.ExpectClose(1008); reason != "kicked" {
				t.Errorf("reason %q", reason)
			}
		}
		if _, _, err := wshubtest.TryDial(t, p.handler, wshubtest.WithPath("/ws?token="+token)); err == nil {
			t.Error("a token from before the kick is good")
		}
		time.Sleep(time.Second)
		p.dial(p.login("bob", "1906"))
		p.post("/kick", admin, 200, "user", "eve") // who is not there
		ann.ExpectNothing()
		if ann.Err() != nil {
			t.Errorf("ann: %v", ann.Err())
		}
	})
}
