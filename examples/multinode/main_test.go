package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wshub-go/wshub/internal/leak"
)

// asProgram has the test binary be the program: its nodes are this binary too.
const asProgram = "MULTINODE_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leak.Main(m)
}

// The times of the tests: a node that is killed is missed after three beats, and its people after the grace.
const (
	beat  = 100 * time.Millisecond
	grace = 400 * time.Millisecond
	slack = 5 * time.Second // of a machine that is busy
)

// serve runs the program in this process, and its nodes in theirs. It ends with the test, and must end well.
func serve(t *testing.T, c config) site {
	t.Helper()
	t.Setenv(asProgram, "1")
	c.addr, c.ids, c.interval, c.grace = "127.0.0.1:0", []string{"a", "b", "c"}, beat, grace
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { // ends with stop
		err := run(ctx, c, in)
		in.CloseWithError(io.EOF)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it ends with %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return site{t, readURL(t, out)}
}

func readURL(t *testing.T, r io.Reader) *url.URL {
	t.Helper()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("it prints no address: %v", err)
	}
	u, err := url.Parse(strings.TrimSpace(line))
	if err != nil || u.Port() == "" {
		t.Fatalf("it prints %q: %v", line, err)
	}
	return u
}

// until waits until the front says that a process is in a state.
func (s site) until(id, state string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); s.states()[id] != state; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("node %s is never %s: %v", id, state, s.states())
		}
	}
}

// TestPitfall34KilledNode is what a visitor does: people on different nodes talk, a node is killed, its people come back elsewhere, and
// so does the node.
func TestPitfall34KilledNode(t *testing.T) {
	s := serve(t, config{})
	alice, bob, carol := s.open("alice", "a"), s.open("bob", "b"), s.open("carol", "b")

	// Everybody is in every list, and in every count.
	for _, p := range []*tab{alice, bob, carol} {
		p.sees("alice", "a")
		p.sees("bob", "b")
		p.sees("carol", "b")
		p.until("a count of 3 on 3 nodes", func() bool { return p.view.Count == 3 && slices.Equal(p.nodes(), []string{"a", "b", "c"}) })
	}

	// Messages cross, and a wave finds its user.
	alice.say("hello")
	bob.hears("hello", "a")
	bob.say("hello yourself")
	alice.hears("hello yourself", "b")
	alice.send("wave", bob.User)
	bob.until("a wave", func() bool { return len(bob.waves) == 1 })
	if want := (Wave{"alice", "a"}); bob.waves[0] != want {
		t.Errorf("bob was waved at by %+v", bob.waves[0])
	}

	// Node b is killed: the others hear nothing of it, nor of its people, any more.
	killed := time.Now()
	if got := s.push("node/b/kill"); got != http.StatusOK {
		t.Fatalf("kill: %d", got)
	}
	if code := bob.closed(); code != websocket.CloseAbnormalClosure {
		t.Errorf("bob was closed with %d by a node that was killed", code)
	}
	if code := carol.closed(); code != websocket.CloseAbnormalClosure {
		t.Errorf("carol was closed with %d by a node that was killed", code)
	}
	bob.again("")
	if bob.Node == "b" {
		t.Fatal("bob came back on the node that was killed")
	}
	bob.hears("hello", "a") // again: what was said before
	alice.sees("bob", bob.Node)
	alice.sees("carol")
	if took := time.Since(killed); took > 3*beat+grace+slack {
		t.Errorf("carol was out of the list after %v: three beats are %v, the grace is %v", took, 3*beat, grace)
	}
	alice.until("two nodes with two sessions", func() bool { return len(alice.nodes()) == 2 && alice.view.Count == 2 })
	bob.say("I am back")
	alice.hears("I am back", bob.Node)

	// It is started again, and so is carol's tab.
	s.until("b", "down")
	if got := s.push("node/b/start"); got != http.StatusOK {
		t.Fatalf("start: %d", got)
	}
	s.until("b", "up")
	carol.again("b")
	carol.sees("alice", "a")
	carol.sees("bob", bob.Node)
	alice.sees("carol", "b")
	alice.until("three nodes", func() bool { return len(alice.nodes()) == 3 && alice.view.Count == 3 })
	alice.say("welcome")
	carol.hears("welcome", "a")

	// A node that is drained closes its sessions in order.
	if got := s.push("node/b/drain"); got != http.StatusOK {
		t.Fatalf("drain: %d", got)
	}
	if code := carol.closed(); code != websocket.CloseGoingAway {
		t.Errorf("carol was closed with %d by a node that was drained", code)
	}
	s.until("b", "down")
	alice.sees("carol")
}

// TestBusStops shows that nodes without a bus go on by themselves, and say what they have missed.
func TestBusStops(t *testing.T) {
	s := serve(t, config{})
	alice, bob := s.open("alice", "a"), s.open("bob", "b")
	alice.sees("bob", "b")
	alice.say("before")
	bob.hears("before", "a")

	if got := s.push("bus/stop"); got != http.StatusOK {
		t.Fatalf("stop: %d", got)
	}
	isDown := func(p *tab) func() bool {
		return func() bool {
			return slices.ContainsFunc(p.notes, func(n Note) bool { return n.Kind == "bus" && n.State == "down" })
		}
	}
	alice.until("the bus being down", isDown(alice))
	bob.until("the bus being down", isDown(bob))
	alice.say("alone")
	alice.hears("alone", "a")
	alice.until("a message being lost", func() bool {
		return slices.ContainsFunc(alice.notes, func(n Note) bool { return n.Kind == "bus" && n.State == "" && n.N > 0 })
	})
	if downs := slices.DeleteFunc(slices.Clone(alice.notes), func(n Note) bool { return n.State == "" }); len(downs) != 1 {
		t.Errorf("alice is told %+v of the bus", downs)
	}
	alice.sees("bob") // nobody is known who is not here
	alice.until("being alone", func() bool { return slices.Equal(alice.nodes(), []string{"a"}) && alice.view.Count == 1 })

	if got := s.push("bus/start"); got != http.StatusOK {
		t.Fatalf("start: %d", got)
	}
	alice.sees("bob", "b")
	bob.sees("alice", "a")
	alice.say("after")
	bob.hears("after", "a")
	for _, c := range bob.said {
		if c.Text == "alone" {
			t.Error("bob hears what was said without the bus")
		}
	}
}

// TestBus shows that a bus of one's own is used, and not shown with its password.
func TestBus(t *testing.T) {
	b, err := newBroker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	s := serve(t, config{bus: b.url, key: "0123456789abcdef"})
	alice, bob := s.open("alice", "a"), s.open("bob", "b")
	alice.sees("bob", "b")
	alice.say("hello")
	bob.hears("hello", "a")
	if got := s.push("bus/stop"); got != http.StatusNotFound || !b.up() {
		t.Errorf("the page stops a bus that is not its own: %d", got)
	}
	u, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(s.url.JoinPath("cluster").String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(said), `"bus":"nats://`+u.Host+`"`) || strings.Contains(string(said), u.User.Username()) {
		t.Errorf("the front says %s (%v)", said, err)
	}
}

// TestTurns shows that tabs that ask for no node get them in turn.
func TestTurns(t *testing.T) {
	s := serve(t, config{restart: time.Millisecond})
	var nodes []string
	for range 3 {
		nodes = append(nodes, s.open("dora", "").Node)
	}
	slices.Sort(nodes)
	if !slices.Equal(nodes, []string{"a", "b", "c"}) {
		t.Errorf("three tabs are on %v", nodes)
	}

	// Of one that is gone there is another; and it comes back by itself.
	before := s.open("emil", "c")
	s.push("node/c/kill")
	before.closed()
	s.until("c", "up")
	s.open("emil", "c")
}

// TestRefuses shows what the front and a node make of visitors that the page would not be.
func TestRefuses(t *testing.T) {
	s := serve(t, config{})
	for path, want := range map[string]int{
		"node/a/start": http.StatusConflict,
		"node/a/fly":   http.StatusConflict,
		"node/z/kill":  http.StatusNotFound,
		"bus/kill":     http.StatusNotFound,
		"ws":           http.StatusMethodNotAllowed,
	} {
		if got := s.push(path); got != want {
			t.Errorf("POST %s is answered %d, want %d", path, got, want)
		}
	}
	for _, header := range [][2]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		if got := s.push("node/a/kill", header[0], header[1]); got != http.StatusForbidden {
			t.Errorf("with %s: %s a node is killed: %d", header[0], header[1], got)
		}
	}
	if got := s.states(); got["a"] != "up" {
		t.Errorf("the nodes are %v", got)
	}

	for _, name := range []string{"", " alice", "al\nice", "al\u202eice", "al\xffice", strings.Repeat("a", maxName+1)} {
		if conn, resp, err := s.dial(name, ""); err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("dial as %q: %v (%v), want status 400", name, err, resp)
			if conn != nil {
				conn.Close()
			}
		}
	}
	header := http.Header{"Origin": {"https://evil.example"}}
	if _, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+s.url.Host+"/ws?name=eve&token=0123456789abcdef", header); err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin is answered %v (%v)", resp, err)
	}

	p := s.open("alice", "")
	for _, c := range []struct {
		event string
		data  any
		code  string
	}{
		{"say", Chat{Text: " \n", Key: "k"}, "failed"},
		{"say", Chat{Text: strings.Repeat("ä", maxText+1), Key: "k"}, "failed"},
		{"say", Chat{Text: "hi"}, "failed"},
		{"say", 7, "bad_message"},
		{"fly", nil, "unknown_event"},
	} {
		p.failed = ""
		p.send(c.event, c.data)
		p.until("an error", func() bool { return p.failed != "" })
		if p.failed != c.code {
			t.Errorf("%s %.40v: code %q, want %q", c.event, c.data, p.failed, c.code)
		}
	}
	p.send("say", Chat{Text: strings.Repeat("ä", maxText), Key: "k"})
	p.hears(strings.Repeat("ä", maxText), p.Node)
}

// TestOrphans kills the front, as nothing can prepare for: its nodes end by themselves.
func TestOrphans(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-addr", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, held, err := os.Pipe() // the nodes have it too: it ends with the last of them
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	cmd.Stderr = held
	err = cmd.Start()
	held.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	s := site{t, readURL(t, stdout)}
	p := s.open("alice", "")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	p.closed()
	stderr.SetReadDeadline(time.Now().Add(patience))
	if said, err := io.ReadAll(stderr); err != nil {
		t.Errorf("a node is left: %v\n%s", err, said)
	}
}

// TestConfig checks that what cannot work is said.
func TestConfig(t *testing.T) {
	t.Setenv(asProgram, "1")
	for name, c := range map[string]config{
		"an address that is none": {addr: "256.0.0.1:0"},
		"a bus that is none":      {bus: "here"},
		"a bus of another kind":   {bus: "http://127.0.0.1:1"},
		"an id that is none":      {ids: []string{"a/b"}},
	} {
		if c.addr == "" {
			c.addr = "127.0.0.1:0"
		}
		if c.ids == nil {
			c.ids = []string{"a"}
		}
		c.interval = beat
		if err := run(t.Context(), c, io.Discard); err == nil {
			t.Errorf("no error for %s", name)
		}
	}
}
