package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// message is any message of quickstart: a tick has a symbol, a chat a room.
type message struct {
	Symbol string  `json:"symbol"`
	Price  float64 `json:"price"`

	Room string `json:"room"`
	Name string `json:"name"`
	Text string `json:"text"`
}

func dial(t *testing.T, p *program) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.DefaultDialer.DialContext(t.Context(), p.ws(), nil)
	if err != nil {
		t.Fatalf("dial: %v (%v)", err, resp)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return c
}

func say(t *testing.T, c *websocket.Conn, room, name, text string) {
	t.Helper()
	if err := c.WriteJSON(map[string]string{"room": room, "name": name, "text": text}); err != nil {
		t.Fatalf("say %q: %v", text, err)
	}
}

// next reads up to the next message that is wanted, and drops the others.
func next(t *testing.T, c *websocket.Conn, want func(message) bool) message {
	t.Helper()
	for {
		kind, data, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		var m message
		if err := json.Unmarshal(data, &m); err != nil || kind != websocket.TextMessage {
			t.Fatalf("message of kind %d: %q: %v", kind, data, err)
		}
		if want(m) {
			return m
		}
	}
}

func isChat(m message) bool { return m.Room != "" }

// closed reads up to the end and returns the close code.
func closed(t *testing.T, c *websocket.Conn) int {
	t.Helper()
	for {
		_, _, err := c.ReadMessage()
		var end *websocket.CloseError
		if errors.As(err, &end) {
			return end.Code
		}
		if err != nil {
			t.Fatalf("read: %v", err)
		}
	}
}

func TestGorillaTicks(t *testing.T) {
	c := dial(t, start(t, "quickstart", "127.0.0.1:0"))
	prices := map[string]map[float64]bool{}
	for changed := false; !changed || len(prices) < 3; {
		m := next(t, c, func(m message) bool { return m.Symbol != "" })
		if m.Price <= 0 {
			t.Fatalf("price %+v", m)
		}
		if prices[m.Symbol] == nil {
			prices[m.Symbol] = map[float64]bool{}
		}
		prices[m.Symbol][m.Price] = true
		changed = changed || len(prices[m.Symbol]) > 1
	}
}

func TestGorillaChat(t *testing.T) {
	p := start(t, "quickstart", "127.0.0.1:0")
	alice, bob := dial(t, p), dial(t, p)
	say(t, bob, "go", "bob", "")
	say(t, alice, "go", "alice", "hello")
	if got := next(t, bob, isChat); got.Name != "alice" || got.Text != "hello" || got.Room != "go" {
		t.Errorf("bob got %+v", got)
	}
	// What alice said came before bob's answer: had it been sent to her too, she would see it first.
	say(t, bob, "go", "bob", "hi alice")
	if got := next(t, alice, isChat); got.Name != "bob" || got.Text != "hi alice" {
		t.Errorf("alice got %+v", got)
	}
	// Who comes later is sent the history, and no other room's.
	say(t, alice, "rust", "alice", "elsewhere")
	carol := dial(t, p)
	say(t, carol, "go", "carol", "")
	for _, want := range []string{"hello", "hi alice"} {
		if got := next(t, carol, isChat); got.Text != want {
			t.Errorf("carol got %+v, want %q", got, want)
		}
	}
	say(t, alice, "go", "alice", "welcome")
	if got := next(t, carol, isChat); got.Text != "welcome" {
		t.Errorf("carol got %+v", got)
	}
}

func TestGorillaPing(t *testing.T) {
	c := dial(t, start(t, "quickstart", "127.0.0.1:0"))
	var pong string
	c.SetPongHandler(func(data string) error {
		pong = data
		return nil
	})
	if err := c.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for pong == "" { // the handler runs inside of reads
		next(t, c, func(message) bool { return true })
	}
	if pong != "are you there" {
		t.Errorf("pong %q", pong)
	}
}

func TestGorillaClose(t *testing.T) {
	p := start(t, "quickstart", "127.0.0.1:0")
	t.Run("normal", func(t *testing.T) {
		c := dial(t, p)
		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "bye")
		if err := c.WriteControl(websocket.CloseMessage, bye, time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if code := closed(t, c); code != websocket.CloseNormalClosure {
			t.Errorf("the echo's code is %d", code)
		}
	})
	t.Run("bad data", func(t *testing.T) {
		c := dial(t, p)
		if err := c.WriteMessage(websocket.TextMessage, []byte("not JSON")); err != nil {
			t.Fatal(err)
		}
		if code := closed(t, c); code != websocket.CloseInvalidFramePayloadData {
			t.Errorf("closed with %d", code)
		}
	})
	t.Run("shutdown", func(t *testing.T) {
		c := dial(t, p)
		say(t, c, "go", "dave", "")
		go p.interrupt() // ends as the call below does
		if code := closed(t, c); code != websocket.CloseGoingAway {
			t.Errorf("closed with %d", code)
		}
		p.interrupt()
	})
}

func TestGorillaForeignOrigin(t *testing.T) {
	p := start(t, "quickstart", "127.0.0.1:0")
	c, resp, err := websocket.DefaultDialer.DialContext(t.Context(), p.ws(), http.Header{"Origin": {"https://evil.example"}})
	if err == nil {
		c.Close()
		t.Fatal("a page of another origin was let in")
	}
	if resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("answered %v: %v", resp, err)
	}
}
