package natsbus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// process is a nats-server of its own, on a port that it keeps when it is started again.
type process struct {
	t    testing.TB
	path string
	port string
	cmd  *exec.Cmd
	log  sync.WaitGroup
}

// newProcess starts the nats-server on the PATH. Without one the test is skipped, or fails where brokers are required.
func newProcess(t testing.TB) *process {
	t.Helper()
	path, err := exec.LookPath("nats-server")
	if err != nil {
		if os.Getenv("WSHUB_REQUIRE_BROKERS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	p := &process{t: t, path: path, port: "-1"}
	p.start()
	t.Cleanup(func() { p.kill() })
	return p
}

var listening = regexp.MustCompile(`Listening for client connections on 127\.0\.0\.1:(\d+)`)

// start returns when the server takes connections.
func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.path, "-a", "127.0.0.1", "-p", p.port)
	out, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ready := make(chan string, 1)
	p.log.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m[1]
			}
		}
	})
	select {
	case p.port = <-ready:
	case <-time.After(patience):
		p.t.Fatal("nats-server does not start")
	}
}

// kill ends the server with SIGKILL and returns what it has used.
func (p *process) kill() *os.ProcessState {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill()
		p.log.Wait()
		p.cmd.Wait()
	}
	return p.cmd.ProcessState
}

func (p *process) url() string { return "nats://127.0.0.1:" + p.port }

// many returns n subjects.
func many(n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("wshub.t.%06d", i)
	}
	return s
}

// A server that is killed five times under load: each time both buses tell, all calls return, and everything is
// subscribed again soon after it is back.
func TestPitfall49ServerIsKilled(t *testing.T) {
	p := newProcess(t)
	before := runtime.NumGoroutine()
	a, b := connect(t, p.url()), connect(t, p.url())
	for _, bus := range []*Bus{a, b} {
		awaitState(t, bus, cluster.StateUp)
	}
	subjects := many(1000)
	subscribe(t, b, append(subjects, "load")...)
	buses := runtime.NumGoroutine() - before

	var sent, failed atomic.Int64
	var slowest atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			data := make([]byte, 128)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				began := time.Now()
				n, err := a.Publish(ctx, cluster.Message{Subject: "load", Data: data}, cluster.Message{Subject: "load", Data: data})
				cancel()
				slowest.Store(max(slowest.Load(), int64(time.Since(began))))
				sent.Add(int64(n))
				failed.Add(int64(2 - n))
				if err != nil && !errors.Is(err, cluster.ErrDown) {
					t.Errorf("Publish: %v", err)
				}
			}
		})
	}
	got := map[string]int{} // by subject
	read := func(enough func() bool) {
		t.Helper()
		limit := time.After(patience)
		for !enough() {
			select {
			case m := <-b.Receive():
				got[m.Subject]++
			case <-limit:
				t.Fatalf("received %d of load, %d subjects", got["load"], len(got))
			}
		}
	}
	for round := range 5 {
		clear(got)
		read(func() bool { return got["load"] > 100 })
		p.kill()
		for _, bus := range []*Bus{a, b} {
			if s := awaitState(t, bus, cluster.StateDown); s.Err == nil {
				t.Errorf("round %d: %+v", round, s)
			}
		}
		if _, err := a.Publish(within(t), cluster.Message{Subject: "x"}); !errors.Is(err, cluster.ErrDown) {
			t.Errorf("round %d: Publish: %v", round, err)
		}
		p.start()
		back := time.Now()
		for _, bus := range []*Bus{a, b} {
			awaitState(t, bus, cluster.StateUp)
		}
		d := time.Since(back)
		t.Logf("round %d: up after %v", round, d)
		if d > 5*time.Second {
			t.Errorf("round %d: up only after %v", round, d)
		}
		batch := make([]cluster.Message, len(subjects))
		for i, s := range subjects {
			batch[i].Subject = s
		}
		if n, err := a.Publish(within(t), batch...); err != nil {
			t.Fatalf("round %d: Publish: %d, %v", round, n, err)
		}
		clear(got)
		read(func() bool { return len(got) == len(subjects)+1 })
	}
	close(stop)
	load.Wait()
	t.Logf("%d sent, %d failed, the slowest call took %v", sent.Load(), failed.Load(), time.Duration(slowest.Load()))
	if d := time.Duration(slowest.Load()); d > 3*time.Second {
		t.Errorf("a call took %v", d)
	}
	expectGoroutines(t, before+buses+1) // and the one that reads the log of the server
	a.Close()
	b.Close()
}

// expectGoroutines waits until there are no more goroutines than that: those on their way out need a moment.
func expectGoroutines(t testing.TB, most int) {
	t.Helper()
	limit := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > most {
		if time.Now().After(limit) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, want at most %d\n%s", runtime.NumGoroutine(), most, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}
