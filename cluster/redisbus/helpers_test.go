package redisbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/wshub-go/wshub/cluster"
)

// patience bounds every wait.
const patience = 20 * time.Second

// server is a redis-server process.
type server struct {
	t    testing.TB
	port int
	dir  string
	conf string // a file, for a sentinel
	args []string
	cmd  *exec.Cmd
}

// startServer starts a redis-server that ends with the test, which is skipped when there is none to start, unless CI requires
// it.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	return startProcess(t, &server{args: append([]string{"--save", "", "--appendonly", "no"}, args...)})
}

// startSentinel starts a sentinel likewise.
func startSentinel(t testing.TB, conf string) *server {
	t.Helper()
	return startProcess(t, &server{conf: conf, args: []string{"--sentinel"}})
}

func startProcess(t testing.TB, s *server) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("WSHUB_REQUIRE_BROKERS") == "1" {
			t.Fatal("redis-server is required: ", err)
		}
		t.Skip(err)
	}
	s.t, s.port, s.dir = t, freePort(t), t.TempDir()
	s.start()
	t.Cleanup(s.kill)
	return s
}

// freePort returns a port that nobody listens to. A cluster's server has another one 10,000 above.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port > 50_000 {
			continue
		}
		if l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+10_000)); err == nil {
			l.Close()
			return port
		}
	}
}

func (s *server) addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }
func (s *server) url() string  { return "redis://" + s.addr() }

// start starts the process and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	args := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir}
	if s.conf != "" {
		args = append([]string{s.conf}, args...)
	}
	args = append(args, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	log, err := os.Create(filepath.Join(s.dir, "log")) // a buffer would have a goroutine
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if s.do("PING") == nil {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			s.t.Fatalf("redis-server does not answer:\n%s", text)
		}
	}
}

// kill ends the process with SIGKILL.
func (s *server) kill() {
	if s.cmd.ProcessState == nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
}

// do sends one command over a connection of its own.
func (s *server) do(args ...any) error {
	_, err := s.ask(args...)
	return err
}

func (s *server) ask(args ...any) (any, error) {
	c := redis.NewClient(&redis.Options{Addr: s.addr(), Protocol: 2, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second, ReadTimeout: time.Second, DisableIdentity: true})
	defer c.Close()
	return c.Do(context.Background(), args...).Result()
}

// each runs a test against miniredis and against a real server.
func each(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("miniredis", func(t *testing.T) { f(t, "redis://"+miniredis.RunT(t).Addr()) })
	t.Run("redis", func(t *testing.T) { f(t, startServer(t).url()) })
}

// connect makes a bus that is closed with the test.
func connect(t testing.TB, url string, opts ...Option) *Bus {
	t.Helper()
	b, err := Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return c
}

func subscribe(t testing.TB, b *Bus, subjects ...string) {
	t.Helper()
	if err := b.Subscribe(ctx(t), subjects...); err != nil {
		t.Fatal(err)
	}
}

func publish(t testing.TB, b *Bus, m ...cluster.Message) {
	t.Helper()
	if n, err := b.Publish(ctx(t), m...); n != len(m) || err != nil {
		t.Fatalf("publish: %d of %d, %v", n, len(m), err)
	}
}

func message(subject, data string) cluster.Message {
	return cluster.Message{Subject: subject, Data: []byte(data)}
}

// receive returns the next message as "subject data".
func receive(t testing.TB, b *Bus) string {
	t.Helper()
	select {
	case m, ok := <-b.Receive():
		if !ok {
			t.Fatal("Receive is closed")
		}
		return m.Subject + " " + string(m.Data)
	case <-time.After(patience):
		t.Fatal("nothing is received")
		return ""
	}
}

// state reads states until one is the given.
func state(t testing.TB, b *Bus, want cluster.State) cluster.Status {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var seen []string
	for {
		select {
		case s, ok := <-b.Status():
			if !ok {
				t.Fatalf("Status is closed; want %v, seen %v", want, seen)
			}
			if s.State == want {
				return s
			}
			seen = append(seen, fmt.Sprint(s))
		case <-timer.C:
			t.Fatalf("no state %v, seen %v", want, seen)
		}
	}
}

// is fails the test unless the error matches all.
func is(t testing.TB, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Fatalf("error %v, want %v", err, w)
		}
	}
}

// subjects returns n of them.
func subjects(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = "wshub.t." + strings.Repeat("x", i%7) + strconv.Itoa(i)
	}
	return all
}
