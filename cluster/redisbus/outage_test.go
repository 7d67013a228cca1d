package redisbus

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// load publishes as fast as it can, and subscribes and unsubscribes, until it is stopped.
type load struct {
	t    testing.TB
	stop chan struct{}
	wait sync.WaitGroup
}

func startLoad(t testing.TB, b *Bus) *load {
	l := &load{t: t, stop: make(chan struct{})}
	l.wait.Go(func() {
		batch := make([]cluster.Message, 50)
		for i := range batch {
			batch[i] = message("load", fmt.Sprint(i))
		}
		l.repeat("Publish", func(ctx context.Context) {
			n, err := b.Publish(ctx, batch...)
			if (n == len(batch)) != (err == nil) {
				t.Errorf("Publish of %d returned %d, %v", len(batch), n, err)
			}
		})
	})
	l.wait.Go(func() {
		l.repeat("Subscribe", func(ctx context.Context) {
			b.Subscribe(ctx, "load", "come.and.go")
			b.Unsubscribe(ctx, "come.and.go")
		})
	})
	l.wait.Go(func() {
		for {
			select {
			case <-b.Receive():
			case <-l.stop:
				return
			}
		}
	})
	return l
}

// repeat calls f until the load is stopped. No call may take long, whatever the broker does.
func (l *load) repeat(what string, f func(ctx context.Context)) {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		began := time.Now()
		f(context.Background())
		if took := time.Since(began); took > 12*time.Second {
			l.t.Errorf("%s took %v", what, took)
		}
		time.Sleep(time.Millisecond) // the machine has others to serve
	}
}

func (l *load) end() {
	close(l.stop)
	l.wait.Wait()
}

// back waits until the bus hears all its subjects again, and returns how long that took.
func back(t testing.TB, b *Bus, began time.Time) time.Duration {
	t.Helper()
	state(t, b, cluster.StateUp)
	return time.Since(began)
}

// hears publishes on subjects and fails the test unless they are received, in order.
func hears(t testing.TB, from, to *Bus, subjects ...string) {
	t.Helper()
	for {
		select {
		case <-to.Receive(): // what the load left
			continue
		default:
		}
		break
	}
	for _, s := range subjects {
		publish(t, from, message(s, "heard"))
		for got := ""; got != s+" heard"; {
			got = receive(t, to)
		}
	}
}

// A server that is killed and started again, five times, under load.
func TestKilled(t *testing.T) {
	s := startServer(t)
	before := runtime.NumGoroutine()
	a, b := connect(t, s.url()), connect(t, s.url())
	many := subjects(5000)
	subscribe(t, a, many...)
	subscribe(t, b, "load")
	state(t, a, cluster.StateUp)
	state(t, b, cluster.StateUp)
	for round := range 5 {
		la, lb := startLoad(t, a), startLoad(t, b)
		s.kill()
		if st := state(t, a, cluster.StateDown); st.Err == nil {
			t.Error("down, and no cause")
		} else {
			is(t, st.Err, cluster.ErrDown)
		}
		state(t, b, cluster.StateDown)
		eventually(t, "Publish says so", func() bool {
			began := time.Now()
			n, err := a.Publish(ctx(t), message("load", "x"))
			if err == nil || n != 0 {
				t.Fatalf("a server that is gone has taken %d, %v", n, err)
			}
			is(t, err, cluster.ErrDown)
			return time.Since(began) < 10*time.Millisecond
		})
		s.start()
		began := time.Now()
		took := max(back(t, a, began), back(t, b, began))
		t.Logf("round %d: back after %v", round, took)
		if took > 5*time.Second {
			t.Errorf("back after %v", took)
		}
		la.end()
		lb.end()
		hears(t, b, a, many[0], many[499], many[500], many[4999])
		hears(t, a, b, "load")
	}
	for _, bus := range []*Bus{a, b} {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// Somebody ends the subscribe connection on the server: that is noticed, told and healed.
func TestPitfall50ConnectionKilled(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.url())
	subscribe(t, b, subjects(2000)...)
	state(t, b, cluster.StateUp)
	for range 5 {
		if err := s.do("CLIENT", "KILL", "TYPE", "pubsub"); err != nil {
			t.Fatal(err)
		}
		if st := state(t, b, cluster.StateDown); st.Err == nil {
			t.Error("down, and no cause")
		}
		// Publishing has other connections.
		publish(t, b, message("wshub.t.0", "meanwhile"))
		state(t, b, cluster.StateUp)
		hears(t, b, b, subjects(2000)[1999])
	}
}

// A network that drops everything and says nothing, and comes back.
func TestSilence(t *testing.T) {
	s := startServer(t)
	p := startProxy(t, s.addr())
	b := connect(t, p.url(), Ping(100*time.Millisecond))
	subscribe(t, b, "s")
	publish(t, b, message("s", "x"))
	state(t, b, cluster.StateUp)
	l := startLoad(t, b)
	p.drop(true)
	began := time.Now()
	st := state(t, b, cluster.StateDown)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("noticed after %v", took)
	}
	is(t, st.Err, cluster.ErrDown)
	eventually(t, "Publish fails at once", func() bool {
		began := time.Now()
		_, err := b.Publish(ctx(t), message("s", "y"))
		is(t, err, cluster.ErrDown)
		return time.Since(began) < 10*time.Millisecond
	})
	p.drop(false)
	began = time.Now()
	if took := back(t, b, began); took > 5*time.Second {
		t.Errorf("back after %v", took)
	}
	l.end()
	hears(t, b, b, "s")
}

// With keys of thousands of subjects: a hundred thousand are there again within seconds.
func TestPitfall31ManyBack(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.url())
	many := subjects(100_000)
	began := time.Now()
	subscribe(t, b, many...)
	t.Logf("subscribed to %d in %v", len(many), time.Since(began))
	state(t, b, cluster.StateUp)
	s.kill()
	state(t, b, cluster.StateDown)
	s.start()
	took := back(t, b, time.Now())
	t.Logf("back after %v", took)
	if took > 5*time.Second {
		t.Errorf("back after %v", took)
	}
	hears(t, b, b, many[0], many[50_000], many[99_999])
}
