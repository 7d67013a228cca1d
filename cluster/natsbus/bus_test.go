package natsbus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
)

func TestMessagesCross(t *testing.T) {
	url := embedded(t, nil).ClientURL()
	a, b := connect(t, url), connect(t, url)
	for _, bus := range []*Bus{a, b} {
		if s := <-bus.Status(); s != (cluster.Status{State: cluster.StateUp}) {
			t.Fatalf("the first state is %+v", s)
		}
	}
	subscribe(t, b, "wshub.t.one", "wshub.t.two")
	publish(t, a, "wshub.t.one", "1", "2", "")
	publish(t, a, "wshub.t.three", "nobody hears it")
	publish(t, a, "wshub.t.two", "3")
	expect(t, b, "wshub.t.one", "1", "2", "")
	expect(t, b, "wshub.t.two", "3")
	if err := b.Unsubscribe(within(t), "wshub.t.one", "wshub.t.none"); err != nil {
		t.Fatal(err)
	}
	publish(t, a, "wshub.t.one", "nobody hears it any more")
	publish(t, a, "wshub.t.two", "4")
	expect(t, b, "wshub.t.two", "4")
}

func TestPrefixesDoNotHearEachOther(t *testing.T) {
	s := embedded(t, nil)
	a, b := connect(t, s.ClientURL(), Prefix("one.eu")), connect(t, s.ClientURL(), Prefix("one.eu"))
	other, none := connect(t, s.ClientURL(), Prefix("one")), connect(t, s.ClientURL())
	for _, bus := range []*Bus{b, other, none} {
		subscribe(t, bus, "x", "eu.x", long(cluster.MaxSubject))
	}
	publish(t, a, "x", "1")
	expect(t, b, "x", "1")
	publish(t, a, long(cluster.MaxSubject), "2")
	expect(t, b, long(cluster.MaxSubject), "2")
	expect(t, other, "eu.x", "1") // on the server the subject is what it says
	publish(t, none, "x", "3")
	publish(t, other, "x", "4")
	publish(t, a, "x", "5")
	expect(t, b, "x", "5")
}

func TestPitfall45BadSubjectsNeverReachTheServer(t *testing.T) {
	s := embedded(t, nil)
	a := connect(t, s.ClientURL(), Prefix(long(maxPrefix)))
	subscribe(t, a, "x")
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "a.*", ">", "a b", "a\r\nPUB b 0", "ü", long(cluster.MaxSubject + 1), strings.Repeat("a", 5000)} {
		if err := a.Subscribe(within(t), "fine", bad); !errors.Is(err, cluster.ErrSubject) {
			t.Errorf("Subscribe %.20q: %v", bad, err)
		}
		if err := a.Unsubscribe(within(t), bad); !errors.Is(err, cluster.ErrSubject) {
			t.Errorf("Unsubscribe %.20q: %v", bad, err)
		}
		n, err := a.Publish(within(t), cluster.Message{Subject: "x"}, cluster.Message{Subject: bad}, cluster.Message{Subject: "x"})
		if n != 1 || !errors.Is(err, cluster.ErrSubject) {
			t.Errorf("Publish %.20q: %d, %v", bad, n, err)
		}
	}
	if n := s.NumSubscriptions(); n != 1+baseSubscriptions(t) {
		t.Errorf("%d subscriptions on the server, want one", n)
	}
	if n := s.NumClients(); n != 1 {
		t.Errorf("%d connections on the server, want one", n)
	}
	if a.client.Reconnects != 0 {
		t.Errorf("the connection was lost %d times", a.client.Reconnects)
	}
}

// baseSubscriptions is how many subscriptions an embedded server has of its own.
func baseSubscriptions(t *testing.T) uint32 {
	return embedded(t, nil).NumSubscriptions()
}

func TestTooLarge(t *testing.T) {
	a := connect(t, embedded(t, func(o *server.Options) { o.MaxPayload = 1000 }).ClientURL())
	m := []cluster.Message{{Subject: "x", Data: make([]byte, 1000)}, {Subject: "x", Data: make([]byte, 1001)}, {Subject: "x"}}
	n, err := a.Publish(within(t), m...)
	if n != 1 || !errors.Is(err, cluster.ErrTooLarge) || !errors.Is(err, nats.ErrMaxPayload) {
		t.Fatalf("Publish: %d, %v", n, err)
	}
	if n, err := a.Publish(within(t), m[2]); n != 1 || err != nil {
		t.Fatalf("Publish after it: %d, %v", n, err)
	}
	t.Log(err)
}

func TestOptionsAreChecked(t *testing.T) {
	for _, opt := range []Option{
		nil, Prefix("a."), Prefix("a.*"), Prefix(long(maxPrefix + 1)), Buffer(0, 1), Buffer(1, 0),
		NATS(func(*nats.Options) error { return errors.New("no") }),
	} {
		if b, err := Connect("nats://127.0.0.1:1", opt); err == nil {
			b.Close()
			t.Error("a bad option is taken")
		} else {
			t.Log(err)
		}
	}
	if b, err := Connect("nats://127.0.0.1:port"); err == nil {
		b.Close()
		t.Error("a bad URL is taken")
	}
}

// A server that is not there at the start is only down: nothing is saved up, and what was subscribed to is there before
// the bus says that it is up.
func TestPitfall31ServerThatComesLater(t *testing.T) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := held.Addr().(*net.TCPAddr).Port
	held.Close()
	url := fmt.Sprintf("nats://127.0.0.1:%d", port)
	a := connect(t, url)
	if s := <-a.Status(); s.State != cluster.StateDown || s.Err == nil {
		t.Fatalf("the first state is %+v", s)
	} else {
		t.Log(s.Err)
	}
	began := time.Now()
	if n, err := a.Publish(within(t), cluster.Message{Subject: "x"}); n != 0 || !errors.Is(err, cluster.ErrDown) {
		t.Fatalf("Publish: %d, %v", n, err)
	}
	if err := a.Subscribe(within(t), "x", "y"); !errors.Is(err, cluster.ErrDown) {
		t.Fatalf("Subscribe: %v", err)
	}
	if err := a.Unsubscribe(within(t), "y"); err != nil {
		t.Fatalf("Unsubscribe: %v", err)
	}
	if d := time.Since(began); d > time.Second {
		t.Fatalf("the calls took %v", d)
	}
	s := embedded(t, func(o *server.Options) { o.Port = port })
	awaitState(t, a, cluster.StateUp)
	b := connect(t, s.ClientURL())
	publish(t, b, "y", "nobody hears it")
	publish(t, b, "x", "1")
	expect(t, a, "x", "1")
}

// Calls obey their contexts, in the ways that package cluster lays down.
func TestContexts(t *testing.T) {
	s := embedded(t, nil)
	a, b := connect(t, s.ClientURL()), connect(t, s.ClientURL())
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if n, err := a.Publish(ctx, cluster.Message{Subject: "x"}); n != 0 || !errors.Is(err, cause) {
		t.Fatalf("Publish: %d, %v", n, err)
	}
	if err := a.Subscribe(ctx, "x"); !errors.Is(err, cause) {
		t.Fatalf("Subscribe: %v", err)
	}
	subscribe(t, a, "x") // waits for the answer to both
	publish(t, b, "x", "1")
	expect(t, a, "x", "1")
	if err := a.Unsubscribe(ctx, "x"); !errors.Is(err, cause) {
		t.Fatalf("Unsubscribe: %v", err)
	}
}

// An answer that came by a later connection says nothing about what was written to one that has ended.
func TestAnswerOfALaterConnection(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	l := newLink(near)
	r := &round{done: make(chan struct{})}
	close(r.done)
	b := &Bus{}
	if err := b.confirm(context.Background(), l, r); err != nil {
		t.Fatal(err)
	}
	l.fail(errors.New("cause"))
	for range 100 {
		if err := b.confirm(context.Background(), l, r); err != errDead {
			t.Fatal(err)
		}
	}
}

func TestPitfall30Closed(t *testing.T) {
	s := embedded(t, nil)
	a := connect(t, s.ClientURL())
	subscribe(t, a, "x")
	var closers sync.WaitGroup
	for range 8 {
		closers.Go(func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closers.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if n, err := a.Publish(ctx, cluster.Message{}); n != 0 || !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("Publish: %d, %v", n, err)
	}
	if err := a.Subscribe(ctx, ""); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("Subscribe: %v", err)
	}
	if err := a.Unsubscribe(ctx, ""); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("Unsubscribe: %v", err)
	}
	if s := <-a.Status(); s.State != cluster.StateClosed {
		t.Errorf("the last state is %+v", s)
	}
	if _, ok := <-a.Status(); ok {
		t.Error("the channel of states is not closed")
	}
	if _, ok := <-a.Receive(); ok {
		t.Error("the channel of messages is not closed")
	}
}

// What the server does not permit is told: to whoever subscribes, and as a loss when it was published.
func TestPermissions(t *testing.T) {
	s := embedded(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"mine.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"mine.>"}},
		}}}
	})
	a := connect(t, s.ClientURL(), NATS(nats.UserInfo("u", "p")))
	awaitState(t, a, cluster.StateUp)
	err := a.Subscribe(within(t), "mine.a", "yours.a")
	if !errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, cluster.ErrDown) {
		t.Fatalf("Subscribe: %v", err)
	}
	if s := <-a.Status(); s.State != cluster.StateUp || s.Lost != 0 || !errors.Is(s.Err, nats.ErrPermissionViolation) {
		t.Fatalf("told: %+v", s)
	}
	subscribe(t, a, "mine.b")
	publish(t, a, "yours.a", "nobody may")
	if s := <-a.Status(); s.State != cluster.StateUp || s.Lost != 1 || !errors.Is(s.Err, nats.ErrPermissionViolation) {
		t.Fatalf("told: %+v", s)
	}
}

// Wrong credentials do not end the bus: they may be right one day.
func TestWrongCredentials(t *testing.T) {
	s := embedded(t, func(o *server.Options) { o.Username, o.Password = "u", "p" })
	tries := 0 // nats.go makes one at a time
	refused := make(chan struct{})
	a := connect(t, s.ClientURL(), NATS(
		nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.UserInfoHandler(func() (string, string) {
			if tries++; tries == 2 {
				<-refused // the test has seen the first
			}
			if tries < 7 {
				return "u", "wrong"
			}
			return "u", "p"
		})))
	if s := <-a.Status(); s.State != cluster.StateDown || s.Err == nil || !strings.Contains(s.Err.Error(), "uthorization") {
		t.Errorf("the first state is %+v", s)
	}
	if _, err := a.Publish(within(t), cluster.Message{Subject: "x"}); !errors.Is(err, cluster.ErrDown) || !strings.Contains(err.Error(), "uthorization") {
		t.Errorf("Publish: %v", err)
	}
	close(refused)
	awaitState(t, a, cluster.StateUp)
}

// liar is a server that is none: it takes connections, and answers pings until it is told what to say.
func liar(t *testing.T, say <-chan string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				fmt.Fprintf(c, "INFO {\"server_id\":\"x\",\"version\":\"2.15.2\",\"proto\":1,\"max_payload\":1048576}\r\n")
				lines := bufio.NewScanner(c)
				pings := 0
				for lines.Scan() {
					if lines.Text() == "PING" {
						fmt.Fprint(c, "PONG\r\n")
						pings++
					}
					if pings == 2 {
						all.Go(func() {
							if s, ok := <-say; ok {
								fmt.Fprint(c, s)
							}
						})
						pings++
					}
				}
			})
		}
	})
	return "nats://" + l.Addr().String()
}

// nats.go closes itself for good when the server says what it does not know: the bus tells, and goes on being closed.
func TestPitfall49ClientThatGivesUp(t *testing.T) {
	say := make(chan string, 1)
	a := connect(t, liar(t, say))
	awaitState(t, a, cluster.StateUp)
	say <- "-ERR 'Something Else'\r\n"
	if s := awaitState(t, a, cluster.StateClosed); s.Err == nil || !strings.Contains(s.Err.Error(), "Something Else") {
		t.Fatalf("told: %+v", s)
	}
	if _, err := a.Publish(within(t), cluster.Message{Subject: "x"}); !errors.Is(err, cluster.ErrClosed) || !strings.Contains(err.Error(), "Something Else") {
		t.Errorf("Publish: %v", err)
	}
	select {
	case <-a.Receive():
		t.Error("the channel is closed before Close")
	default:
	}
	a.Close()
	if _, ok := <-a.Receive(); ok {
		t.Error("the channel is open after Close")
	}
	if s, ok := <-a.Status(); ok {
		t.Errorf("told twice: %+v", s)
	}
}
