package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const token = "0123456789abcdef"

// chatter is a client that is not the page.
type chatter struct {
	*websocket.Conn
	t      *testing.T
	number int
}

func dialChat(t *testing.T, p *program, name, token string) (*chatter, *http.Response, error) {
	query := url.Values{"name": {name}, "token": {token}}
	c, resp, err := websocket.DefaultDialer.DialContext(t.Context(), p.ws()+"?"+query.Encode(), nil)
	if err != nil {
		return nil, resp, err
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return &chatter{Conn: c, t: t}, resp, nil
}

// chats is dialChat of somebody who is let in.
func chats(t *testing.T, p *program, name string) *chatter {
	t.Helper()
	c, resp, err := dialChat(t, p, name, token)
	if err != nil {
		t.Fatalf("dial: %v (%v)", err, resp)
	}
	return c
}

// ask sends a request and returns the data of its answer and, of an error, the code.
func (c *chatter) ask(event string, data any) (answer json.RawMessage, code string) {
	c.t.Helper()
	c.number++
	if err := c.WriteJSON(map[string]any{"event": event, "id": c.number, "data": data}); err != nil {
		c.t.Fatalf("ask %s: %v", event, err)
	}
	for {
		var m struct {
			Event string
			ID    int
			Data  json.RawMessage
		}
		if err := c.ReadJSON(&m); err != nil {
			c.t.Fatalf("answer of %s: %v", event, err)
		}
		if m.ID != c.number {
			continue
		}
		if m.Event == "error" {
			var e struct{ Code string }
			if err := json.Unmarshal(m.Data, &e); err != nil {
				c.t.Fatal(err)
			}
			code = e.Code
		}
		return m.Data, code
	}
}

// TestChatRefuses shows what the chat's server makes of clients that its page would not be.
func TestChatRefuses(t *testing.T) {
	p := start(t, "chat", "127.0.0.1:0")
	for _, c := range []struct{ name, token string }{
		{"", token},
		{" alice", token},
		{"al\nice", token},
		{"al\u202eice", token},
		{"al\xffice", token},
		{strings.Repeat("a", 41), token},
		{"alice", ""},
		{"alice", token[1:]},
		{"alice", strings.Repeat(token, 5)},
	} {
		if _, resp, err := dialChat(t, p, c.name, c.token); err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("dial as %q with token %q: %v (%v), want status 400", c.name, c.token, err, resp)
		}
	}

	alice, bob := chats(t, p, "alice"), chats(t, p, "bob")
	type request struct {
		who   *chatter
		event string
		data  any
		code  string
	}
	run := func(requests ...request) {
		t.Helper()
		for _, r := range requests {
			if answer, code := r.who.ask(r.event, r.data); code != r.code {
				t.Errorf("%s %.40v: code %q, want %q: %s", r.event, r.data, code, r.code, answer)
			}
		}
	}
	words := func(text string) any { return map[string]string{"text": text, "key": "k"} }
	run(
		request{alice, "say", words("too early"), "forbidden"},
		request{alice, "slow", true, "forbidden"},
		request{alice, "kick", "somebody", "forbidden"},
		request{alice, "join", "", "failed"},
		request{alice, "join", "ro\u202eom", "failed"},
		request{alice, "join", 7, "bad_message"},
		request{alice, "fly", nil, "unknown_event"},
		request{alice, "join", "den", ""},
		request{alice, "join", "den", "forbidden"},
		request{alice, "join", "another", "forbidden"},
		request{alice, "say", words(" \n"), "failed"},
		request{alice, "say", words(strings.Repeat("ä", 2001)), "failed"},
		request{alice, "say", words(strings.Repeat("ä", 2000)), ""},
		request{alice, "kick", "ffffffffffffffff", "not_found"},
	)
	answer, code := bob.ask("join", "den")
	var joined struct{ User, Owner string }
	if err := json.Unmarshal(answer, &joined); err != nil || code != "" || joined.User == joined.Owner {
		t.Fatalf("bob's join is answered %s (%q, %v)", answer, code, err)
	}
	run(
		request{bob, "kick", joined.Owner, "forbidden"},
		request{alice, "kick", joined.Owner, "forbidden"},
	)
	if err := alice.WriteJSON(map[string]string{"event": "kick", "data": joined.User}); err != nil {
		t.Fatal(err)
	}
	if code := closed(t, bob.Conn); code != 4003 {
		t.Errorf("bob was closed with %d, want 4003", code)
	}
	run(request{chats(t, p, "bob"), "join", "den", "failed"})
}
