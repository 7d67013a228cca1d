//go:build unix

package natsbus

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// A server that is stopped says nothing: pings notice, though publishers have filled every buffer on the way to it, and
// those obey their contexts meanwhile.
func TestPitfall49ServerIsStopped(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	a, b := connect(t, p.url()), connect(t, p.url())
	for _, bus := range []*Bus{a, b} {
		awaitState(t, bus, cluster.StateUp)
	}
	subscribe(t, b, "x")
	signal(t, p, syscall.SIGSTOP)
	began := time.Now()

	batch := make([]cluster.Message, 64)
	for i := range batch {
		batch[i] = cluster.Message{Subject: "x", Data: make([]byte, 512<<10)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if n, err := a.Publish(ctx, batch...); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Publish: %d, %v", n, err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("Publish obeyed its context after %v", d)
	}
	// This one is told when the bus notices.
	if n, err := a.Publish(within(t), batch[0]); n != 0 || !errors.Is(err, cluster.ErrDown) {
		t.Fatalf("Publish: %d, %v", n, err)
	}
	for _, bus := range []*Bus{a, b} {
		s := awaitState(t, bus, cluster.StateDown)
		t.Logf("down after %v: %v", time.Since(began), s.Err)
	}
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("noticed only after %v", d)
	}
	signal(t, p, syscall.SIGCONT)
	began = time.Now()
	for _, bus := range []*Bus{a, b} {
		awaitState(t, bus, cluster.StateUp)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("up only after %v", d)
	}
	publish(t, a, "x", "last")
	for string(receive(t, b).Data) != "last" {
	}
}

func signal(t *testing.T, p *process, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
