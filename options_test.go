package wshub

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestNewNamesWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		name string
		opts []Option
		want []string // in the error
	}{
		{"origins", []Option{WithOrigins("example.com")}, []string{"WithOrigins", "example.com"}},
		{"two origin checks", []Option{WithOrigins("https://a.example"), CheckOrigin(func(*http.Request) bool { return true })},
			[]string{"CheckOrigin", "WithOrigins", "https://a.example"}},
		{"limits", []Option{WithLimits(Limits{Sessions: -1, Keys: -2})}, []string{"WithLimits", "Sessions is -1", "Keys is -2"}},
		{"limits in conflict", []Option{WithLimits(Limits{Sessions: 5, SessionsPerUser: 6, SessionsPerAddr: 7})},
			[]string{"SessionsPerUser (6)", "SessionsPerAddr (7)", "Sessions (5)"}},
		{"policy", []Option{WithPolicy(Rate(10, 1))}, []string{"WithPolicy", "rate(10", "evict(1024"}},
		{"policy over pending", []Option{WithPolicy(DropOldest(11)), WithLimits(Limits{Pending: 10})}, []string{"WithPolicy", "dropoldest(11)", "Limits.Pending", "10"}},
		{"history of a hub", []Option{WithPolicy(History(1, 0))}, []string{"WithPolicy", "history(1"}},
		{"inbound", []Option{WithInbound(FlushEvery(time.Second))}, []string{"WithInbound", "flush"}},
		{"inbound replay", []Option{WithInbound(Replay(3))}, []string{"WithInbound", "replay(3)"}},
		{"read limit", []Option{WithReadLimit(0)}, []string{"WithReadLimit"}},
		{"keep-alive by half", []Option{WithKeepAlive(time.Second, 0)}, []string{"WithKeepAlive(1s, 0s)"}},
		{"keep-alive negative", []Option{WithKeepAlive(-1, 1)}, []string{"WithKeepAlive"}},
		{"message timeout", []Option{WithMessageTimeout(-1)}, []string{"WithMessageTimeout"}},
		{"compression", []Option{WithCompression(-1)}, []string{"WithCompression"}},
		{"subprotocol", []Option{WithSubprotocols("a b", "ok", "ok", "")}, []string{`"a b"`, `"ok" twice`, `""`}},
		{"send buffer", []Option{WithSendBuffer(0)}, []string{"WithSendBuffer"}},
		{"write timeout", []Option{WithWriteTimeout(0)}, []string{"WithWriteTimeout"}},
		{"admission", []Option{WithAdmission(-time.Second)}, []string{"WithAdmission", "-1s"}},
		{"drain settle", []Option{WithDrain(-1, 0)}, []string{"WithDrain(-1ns, 0s)"}},
		{"drain spread", []Option{WithDrain(0, -1)}, []string{"WithDrain(0s, -1ns)"}},
		{"node", []Option{WithNode("a.b")}, []string{"WithNode", "a.b"}},
		{"all at once", []Option{WithNode("ü"), WithReadLimit(-1), WithSendBuffer(-1)}, []string{"WithNode", "WithReadLimit", "WithSendBuffer"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, err := New(test.opts...)
			if err == nil || h != nil {
				t.Fatalf("New: %v, %v", h, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
}

func TestNewTakesWhatIsRight(t *testing.T) {
	h, err := New(nil, WithOrigins("https://*.example.com", "*"), WithKeepAlive(0, 0), WithMessageTimeout(0), WithCompression(0),
		WithInbound(Rate(10, 5).With(Coalesce())), WithPolicy(Coalesce().With(Rate(10, 1))), WithNode("A-z_09"), WithLogger(nil),
		WithAdmission(0), WithDrain(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if h.Node() != "A-z_09" || h.Len() != 0 {
		t.Errorf("node %q, %d sessions", h.Node(), h.Len())
	}
	a, _ := New()
	b, _ := New()
	if a.Node() == b.Node() || !validNode(a.Node()) {
		t.Errorf("random nodes %q, %q", a.Node(), b.Node())
	}
}

func TestGate(t *testing.T) {
	var g gate
	for range 2 {
		if !g.enter() {
			t.Fatal("an open gate refused")
		}
	}
	g.leave()
	empty, first := g.close()
	if !first {
		t.Error("the first close was not the first")
	}
	if g.enter() {
		t.Error("a closed gate let in")
	}
	select {
	case <-empty:
		t.Error("empty while one is in")
	default:
	}
	g.leave()
	<-empty
	again, first := g.close()
	if first || again != empty {
		t.Error("a second close")
	}
}
