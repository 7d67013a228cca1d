package contender

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// Each contender does what the load and the runner expect of it.
func TestConformance(t *testing.T) {
	t.Cleanup(runtime.GC) // the goroutine of the cache that centrifuge does not close ends when the cache is collected
	for _, c := range All() {
		for _, o := range []Options{{}, {Each: true}, {Compress: true}} {
			if o.Each && c.Name != "wshub" || o.Compress && !c.Compress {
				continue
			}
			t.Run(fmt.Sprintf("%s/each=%v,compress=%v", c.Name, o.Each, o.Compress), func(t *testing.T) {
				if raced && c.Name == "nbio" {
					t.Skip("nbio hands connections from its listener to its poller in a way that the race detector reports")
				}
				hub, addr := serve(t, c, o)
				conform(t, c, o, hub, addr)
			})
		}
	}
}

// serve starts a contender. It ends with the test.
func serve(t *testing.T, c Contender, o Options) (Hub, string) {
	t.Helper()
	hub, err := c.New(o)
	if err != nil {
		t.Skip(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- hub.Serve(l) }()
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return hub, l.Addr().String()
}

func conform(t *testing.T, c Contender, o Options, hub Hub, addr string) {
	var clients []peer
	for i := range 4 {
		clients = append(clients, dial(t, c, o, addr, i, i%2))
	}
	await(t, "four clients", func() bool { return hub.Clients() == 4 && hub.Joins() == 4 })

	// JSON that is worth compressing, in a buffer that is used again.
	long := func(what string) string { return `"` + what + strings.Repeat("0", 998-len(what)) + `"` }
	buf := make([]byte, 1000)
	publish := func(topic int, what string) {
		copy(buf, long(what))
		hub.Publish(topic, buf)
		clear(buf)
	}
	send := func(client int, what string) bool {
		copy(buf, long(what))
		defer clear(buf)
		return hub.Send(client, buf)
	}
	for i := range 10 {
		publish(0, fmt.Sprint("zero", i))
		publish(1, fmt.Sprint("one", i))
	}
	publish(2, "nobody")
	for i := range 10 {
		for k, p := range clients {
			p.expect(long(fmt.Sprint([]string{"zero", "one"}[k%2], i)))
		}
	}

	if c.Direct {
		for i := range 4 {
			if !send(i, fmt.Sprint("to ", i)) {
				t.Errorf("nobody is client %d", i)
			}
		}
		if send(4, "to 4") {
			t.Error("somebody is client 4")
		}
		for i, p := range clients {
			p.expect(long(fmt.Sprint("to ", i)))
		}
	}
	if c.Echo {
		for i := range 3 {
			for _, p := range clients {
				p.say(long(fmt.Sprint("echo ", i)))
			}
		}
		for i := range 3 {
			for _, p := range clients {
				p.expect(long(fmt.Sprint("echo ", i)))
			}
		}
		await(t, "twelve echoes", func() bool { return hub.Echoed() == 12 })
	}

	clients[0].join(7)
	clients[1].join(7)
	await(t, "two joins", func() bool { return hub.Joins() == 6 })
	publish(7, "seven")
	clients[0].expect(long("seven"))
	clients[1].expect(long("seven"))
	clients[0].leave(7)
	clients[0].leave(0)
	await(t, "two leaves", func() bool { return hub.Joins() == 4 })
	publish(7, "seven again")
	publish(0, "zero again")
	clients[1].expect(long("seven again"))
	clients[2].expect(long("zero again"))
	clients[0].join(0)
	await(t, "a join", func() bool { return hub.Joins() == 5 })
	publish(0, "zero at last")
	clients[0].expect(long("zero at last"))
	clients[2].expect(long("zero at last"))

	clients[0].close()
	await(t, "one goes", func() bool { return hub.Clients() == 3 && hub.Joins() == 4 })
	clients[1].abort()
	await(t, "one is killed", func() bool { return hub.Clients() == 2 && hub.Joins() == 2 })
	publish(0, "zero for one")
	clients[2].expect(long("zero for one"))
	clients[2].close()
	clients[3].close()
	await(t, "the last go", func() bool { return hub.Clients() == 0 && hub.Joins() == 0 })
	if send(3, "late") {
		t.Error("client 3 is still there")
	}

	dial(t, c, o, addr, 5, 0) // closed by the hub
	await(t, "one more", func() bool { return hub.Clients() == 1 })
}

// peer is a client.
type peer interface {
	say(string)
	expect(string)
	join(topic int)
	leave(topic int)
	close()
	abort()
}

func dial(t *testing.T, c Contender, o Options, addr string, id, topic int) peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	opts := &websocket.DialOptions{HTTPClient: client}
	if o.Compress {
		opts.CompressionMode = websocket.CompressionNoContextTakeover
	}
	ws, resp, err := websocket.Dial(ctx, fmt.Sprintf("ws://%s/ws?id=%d&topic=%d", addr, id, topic), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	if got := strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate"); got != o.Compress {
		t.Errorf("compression: %v", got)
	}
	p := plain{t, ctx, ws}
	if c.Dialect == "" {
		return &p
	}
	cf := &centrifugePeer{plain: p}
	cf.ask(`"connect":{}`)
	cf.join(topic)
	return cf
}

type plain struct {
	t   *testing.T
	ctx context.Context
	ws  *websocket.Conn
}

func (p *plain) say(what string) {
	p.t.Helper()
	if err := p.ws.Write(p.ctx, websocket.MessageText, []byte(what)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plain) expect(want string) {
	p.t.Helper()
	kind, got, err := p.ws.Read(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	if string(got) != want || kind != websocket.MessageText {
		p.t.Fatalf("got %v %.40q, want %.40q", kind, got, want)
	}
}

func (p *plain) join(topic int)  { p.say(fmt.Sprint("+t", topic)) }
func (p *plain) leave(topic int) { p.say(fmt.Sprint("-t", topic)) }
func (p *plain) close()          { p.ws.Close(websocket.StatusNormalClosure, "") }
func (p *plain) abort()          { p.ws.CloseNow() }

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: did not happen", what)
		}
	}
}

// centrifugePeer speaks the JSON protocol of centrifuge.
type centrifugePeer struct {
	plain
	n     int
	lines []string // received and not expected yet: data of pushes and answers of calls
}

func (p *centrifugePeer) ask(command string) {
	p.n++
	p.plain.say(fmt.Sprintf(`{"id":%d,%s}`, p.n, command))
}

func (p *centrifugePeer) say(what string) { p.ask(`"rpc":{"method":"echo","data":` + what + `}`) }
func (p *centrifugePeer) join(topic int)  { p.ask(fmt.Sprintf(`"subscribe":{"channel":"t%d"}`, topic)) }
func (p *centrifugePeer) leave(topic int) {
	p.ask(fmt.Sprintf(`"unsubscribe":{"channel":"t%d"}`, topic))
}

func (p *centrifugePeer) expect(want string) {
	p.t.Helper()
	for len(p.lines) == 0 {
		_, frame, err := p.ws.Read(p.ctx)
		if err != nil {
			p.t.Fatal(err)
		}
		for line := range strings.Lines(string(frame)) {
			var m struct {
				Error json.RawMessage
				RPC   struct{ Data json.RawMessage }
				Push  struct {
					Pub     struct{ Data json.RawMessage }
					Message struct{ Data json.RawMessage }
				}
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil || m.Error != nil {
				p.t.Fatalf("%v: %s", err, line)
			}
			for _, data := range []json.RawMessage{m.RPC.Data, m.Push.Pub.Data, m.Push.Message.Data} {
				if data != nil {
					p.lines = append(p.lines, string(data))
				}
			}
		}
	}
	if p.lines[0] != want {
		p.t.Fatalf("got %.40q, want %.40q", p.lines[0], want)
	}
	p.lines = p.lines[1:]
}

func TestAll(t *testing.T) {
	var names []string
	for _, c := range All() {
		if c.Path == "" || c.New == nil || c.Module == "" && c.Name != "floor" {
			t.Errorf("%+v", c)
		}
		names = append(names, c.Name)
	}
	if sorted := slices.Compact(slices.Sorted(slices.Values(names))); len(sorted) != len(names) {
		t.Errorf("names %q", names)
	}
}
