package natsbus

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/wshub-go/wshub/cluster"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// embedded starts a server in this process, which ends with the test.
func embedded(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	return s
}

// connect makes a bus that ends with the test.
func connect(t testing.TB, url string, opts ...Option) *Bus {
	t.Helper()
	b, err := Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// awaitState reads states until the one.
func awaitState(t testing.TB, b *Bus, want cluster.State) cluster.Status {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case s, ok := <-b.Status():
			if !ok {
				t.Fatalf("the channel of states is closed, want %v", want)
			}
			if s.State == want {
				return s
			}
		case <-limit:
			t.Fatalf("the bus is not %v", want)
		}
	}
}

func receive(t testing.TB, b *Bus) cluster.Message {
	t.Helper()
	select {
	case m, ok := <-b.Receive():
		if !ok {
			t.Fatal("the channel is closed")
		}
		return m
	case <-time.After(patience):
		t.Fatal("nothing is received")
		panic("unreachable")
	}
}

func subscribe(t testing.TB, b *Bus, subjects ...string) {
	t.Helper()
	if err := b.Subscribe(within(t), subjects...); err != nil {
		t.Fatal(err)
	}
}

func publish(t testing.TB, b *Bus, subject string, data ...string) {
	t.Helper()
	m := make([]cluster.Message, len(data))
	for i, d := range data {
		m[i] = cluster.Message{Subject: subject, Data: []byte(d)}
	}
	if n, err := b.Publish(within(t), m...); err != nil || n != len(m) {
		t.Fatalf("Publish: %d of %d, %v", n, len(m), err)
	}
}

func expect(t testing.TB, b *Bus, subject string, data ...string) {
	t.Helper()
	for _, d := range data {
		m := receive(t, b)
		if m.Subject != subject || string(m.Data) != d {
			t.Fatalf("received %q on %q, want %q on %q", m.Data, m.Subject, d, subject)
		}
	}
}

// long is a subject of n bytes.
func long(n int) string {
	s := strings.Repeat("abcdefghi.", n/10+1)[:n]
	return strings.TrimSuffix(s, ".") + strings.Repeat("x", len(s)-len(strings.TrimSuffix(s, ".")))
}
