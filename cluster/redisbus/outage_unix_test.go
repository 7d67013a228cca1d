//go:build unix

package redisbus

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// A server that is stopped keeps its connections and answers nobody.
func TestStopped(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.url(), Ping(100*time.Millisecond))
	subscribe(t, b, "s")
	publish(t, b, message("s", "x"))
	state(t, b, cluster.StateUp)
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer s.cmd.Process.Signal(syscall.SIGCONT)
	began := time.Now()
	published := make(chan error)
	go func() {
		_, err := b.Publish(context.Background(), message("s", "nobody knows"))
		published <- err
	}()
	state(t, b, cluster.StateDown)
	is(t, <-published, cluster.ErrDown)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("noticed after %v", took)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Subscribe(short, "t"); err == nil {
		t.Error("a stopped server has confirmed")
	}
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	if took := back(t, b, began); took > 5*time.Second {
		t.Errorf("back after %v", took)
	}
	hears(t, b, b, "s", "t")
}

// Close does not wait for a server that does not answer.
func TestCloseStopped(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.url())
	subscribe(t, b, "s")
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer s.cmd.Process.Signal(syscall.SIGCONT)
	fresh := connect(t, s.url())
	calls := make(chan error)
	go func() {
		_, err := b.Publish(context.Background(), message("s", "x"))
		calls <- err
	}()
	go func() { calls <- b.Subscribe(context.Background(), "t") }()
	go func() { calls <- fresh.Subscribe(context.Background(), "t") }()
	began := time.Now()
	b.Close()
	fresh.Close()
	for range 3 {
		is(t, <-calls, cluster.ErrClosed)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}
