package redisbus

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/wshub-go/wshub/cluster"
)

// What is published after Subscribe is received, in order, by those who have subscribed, and only by them.
func TestPublish(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		a, b := connect(t, url), connect(t, url)
		subscribe(t, a, "wshub.all", "wshub.t.x")
		subscribe(t, b, "wshub.all")
		for i := range 100 {
			publish(t, b, message("wshub.t.x", fmt.Sprint(i)), message("wshub.t.y", "nobody"))
		}
		batch := make([]cluster.Message, 3000)
		for i := range batch {
			batch[i] = message("wshub.all", fmt.Sprint(i))
		}
		publish(t, b, batch...)
		for i := range 100 {
			if got, want := receive(t, a), fmt.Sprintf("wshub.t.x %d", i); got != want {
				t.Fatalf("received %q, want %q", got, want)
			}
		}
		for i := range batch {
			for _, bus := range []*Bus{a, b} {
				if got, want := receive(t, bus), fmt.Sprintf("wshub.all %d", i); got != want {
					t.Fatalf("received %q, want %q", got, want)
				}
			}
		}
		if err := a.Unsubscribe(ctx(t), "wshub.all", "wshub.t.never"); err != nil {
			t.Fatal(err)
		}
		publish(t, b, message("wshub.all", "left"), message("wshub.t.x", "last"))
		if got := receive(t, a); got != "wshub.t.x last" {
			t.Errorf("received %q after Unsubscribe", got)
		}
	})
}

func TestPayloads(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		b := connect(t, url, MaxPayload(1<<20))
		subscribe(t, b, "s")
		all := string([]byte{0, '\r', '\n', 255, 254, '$', '*'})
		big := strings.Repeat("\x00\r\n+", 1<<18)
		publish(t, b, message("s", ""), message("s", all), message("s", big))
		for _, want := range []string{"", all, big} {
			if got := receive(t, b); got != "s "+want {
				t.Errorf("received %d bytes, want %d", len(got)-2, len(want))
			}
		}
		n, err := b.Publish(ctx(t), message("s", "1"), message("s", big+"x"), message("s", "3"))
		is(t, err, cluster.ErrTooLarge)
		if n != 1 {
			t.Errorf("n is %d", n)
		}
		n, err = b.Publish(ctx(t), message("s", "2"), message("s..", "x"))
		is(t, err, cluster.ErrSubject)
		if n != 1 {
			t.Errorf("n is %d", n)
		}
		if got := receive(t, b) + receive(t, b); got != "s 1s 2" {
			t.Errorf("received %q", got)
		}
	})
}

// Two applications on one server do not hear each other.
func TestPrefix(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		a, b := connect(t, url, Prefix("a")), connect(t, url, Prefix("a.b"))
		subscribe(t, a, "s")
		subscribe(t, b, "s")
		publish(t, a, message("s", "of a"))
		publish(t, b, message("s", "of b"))
		if got := receive(t, a); got != "s of a" {
			t.Errorf("a received %q", got)
		}
		if got := receive(t, b); got != "s of b" {
			t.Errorf("b received %q", got)
		}
	})
}

func TestStates(t *testing.T) {
	m := miniredis.RunT(t)
	b := connect(t, "redis://"+m.Addr())
	state(t, b, cluster.StateUp)
	subscribe(t, b, "s")
	m.Close()
	if s := state(t, b, cluster.StateDown); s.Err == nil {
		t.Error("down without an error")
	}
	eventually(t, "Publish fails", func() bool {
		_, err := b.Publish(ctx(t), message("s", "x"))
		return err != nil
	})
	eventually(t, "Subscribe fails", func() bool {
		err := b.Subscribe(ctx(t), "t")
		if err != nil {
			is(t, err, cluster.ErrDown)
		}
		return err != nil
	})
	if err := b.Unsubscribe(ctx(t), "s"); err != nil {
		t.Errorf("nothing is there to unsubscribe from: %v", err)
	}
	if err := m.Restart(); err != nil {
		t.Fatal(err)
	}
	state(t, b, cluster.StateUp)
	publish(t, b, message("s", "left"), message("t", "wanted"))
	if got := receive(t, b); got != "t wanted" {
		t.Errorf("received %q", got)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	state(t, b, cluster.StateClosed)
	if _, ok := <-b.Status(); ok {
		t.Error("Status is open")
	}
	if _, ok := <-b.Receive(); ok {
		t.Error("Receive is open")
	}
	_, err := b.Publish(ctx(t))
	is(t, err, cluster.ErrClosed)
	is(t, b.Subscribe(ctx(t), "..."), cluster.ErrClosed)
	is(t, b.Unsubscribe(ctx(t)), cluster.ErrClosed)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not yet: ", what)
		}
	}
}

// Calls are bounded by their contexts, and Subscribe has done its part even so.
func TestContexts(t *testing.T) {
	b := connect(t, "redis://"+miniredis.RunT(t).Addr())
	over, cancel := context.WithCancelCause(t.Context())
	why := fmt.Errorf("why")
	cancel(why)
	is(t, b.Subscribe(over, "s"), why)
	_, err := b.Publish(over, message("s", "x"))
	is(t, err, why)
	subscribe(t, b, "t")
	publish(t, b, message("s", "y"))
	if got := receive(t, b); got != "s y" {
		t.Errorf("received %q", got)
	}
	is(t, b.Unsubscribe(over, "s"), why)
	is(t, b.Subscribe(t.Context(), "s", "bad subject"), cluster.ErrSubject)
}

// A reader that does not read loses what does not fit, and is told how much; what fits comes in order.
func TestLost(t *testing.T) {
	for name, limit := range map[string]Option{
		"messages": Buffer(10, 1<<20),
		"bytes":    Buffer(1<<20, 10*len("s00")),
	} {
		t.Run(name, func(t *testing.T) {
			b := connect(t, "redis://"+miniredis.RunT(t).Addr(), limit)
			subscribe(t, b, "s", "end")
			const fit = direct + 10
			for i := range fit + 20 {
				publish(t, b, message("s", fmt.Sprintf("%02d", i)))
			}
			lost := uint64(0)
			eventually(t, "20 are lost", func() bool {
				select {
				case s := <-b.Status():
					lost += s.Lost
				default:
				}
				return lost == 20
			})
			for i := range fit {
				if got := receive(t, b); got != fmt.Sprintf("s %02d", i) {
					t.Errorf("received %q", got)
				}
			}
			publish(t, b, message("end", ""))
			if got := receive(t, b); got != "end " {
				t.Errorf("received %q", got)
			}
		})
	}
}

// Subjects cost no goroutine.
func TestManySubjects(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		b := connect(t, url)
		subscribe(t, b, "first")
		before := runtime.NumGoroutine()
		many := subjects(20_000)
		subscribe(t, b, many...)
		if after := runtime.NumGoroutine(); after > before+2 {
			t.Errorf("%d goroutines, before %d", after, before)
		}
		for _, i := range []int{0, 499, 500, 9_999, 19_999} {
			publish(t, b, message(many[i], "x"))
			if got := receive(t, b); got != many[i]+" x" {
				t.Errorf("received %q", got)
			}
		}
		if err := b.Unsubscribe(ctx(t), many...); err != nil {
			t.Fatal(err)
		}
		publish(t, b, message(many[7], "x"), message("first", "x"))
		if got := receive(t, b); got != "first x" {
			t.Errorf("received %q", got)
		}
	})
}

// Subscriptions that come and go under many hands end as the last call of each said.
func TestConcurrent(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		b := connect(t, url)
		done := make(chan error)
		for g := range 8 {
			go func() {
				own := fmt.Sprintf("own.%d", g)
				for range 50 {
					for _, f := range []func(context.Context, ...string) error{b.Subscribe, b.Unsubscribe} {
						if err := f(context.Background(), own, "shared"); err != nil {
							done <- err
							return
						}
					}
				}
				done <- b.Subscribe(context.Background(), own)
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		b.Unsubscribe(ctx(t), "shared")
		publish(t, b, message("shared", "x"))
		for g := range 8 {
			publish(t, b, message(fmt.Sprintf("own.%d", g), "x"))
			if got, want := receive(t, b), fmt.Sprintf("own.%d x", g); got != want {
				t.Errorf("received %q, want %q", got, want)
			}
		}
	})
}

// Close ends calls that wait, at any time.
func TestPitfall30Close(t *testing.T) {
	for range 20 {
		m := miniredis.RunT(t)
		b := connect(t, "redis://"+m.Addr())
		done := make(chan struct{})
		for range 4 {
			go func() {
				defer func() { done <- struct{}{} }()
				for i := 0; ; i++ {
					if b.Subscribe(context.Background(), subjects(i+1)...) != nil {
						return
					}
					if _, err := b.Publish(context.Background(), message("s", "x")); err != nil {
						return
					}
				}
			}()
		}
		go b.Close()
		b.Close()
		for range 4 {
			<-done
		}
		m.Close()
	}
}

func TestOptions(t *testing.T) {
	for name, opt := range map[string]Option{
		"prefix":  Prefix("a b"),
		"glob":    Prefix("a*"),
		"long":    Prefix(strings.Repeat("x", 129)),
		"dot":     Prefix("a."),
		"empty":   Prefix(""),
		"buffer":  Buffer(0, 1),
		"bytes":   Buffer(1, 0),
		"nil":     nil,
		"payload": MaxPayload(0),
		"ping":    Ping(0),
	} {
		if _, err := Connect("redis://127.0.0.1:1", opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, bad := range []string{"", "http://x", "redis://u:secret@h:port", "redis://:secret@[::1", "redis://h/db?x=y"} {
		_, err := Connect(bad)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	if _, err := New(ring); err == nil {
		t.Error("a ring is taken")
	}
	if _, err := New((*redis.Client)(nil)); err == nil {
		t.Error("a nil client is taken")
	}
	c := redis.NewClient(&redis.Options{})
	defer c.Close()
	if _, err := New(c, Sharded()); err == nil {
		t.Error("a single server is taken for sharded channels")
	}
}

// A client stays its owner's: what a bus changes is a copy, and Close leaves it open.
func TestNew(t *testing.T) {
	m := miniredis.RunT(t)
	m.RequireUserAuth("me", "secret")
	c := redis.NewClient(&redis.Options{Addr: m.Addr(), Username: "me", Password: "secret", MaxRetries: 7})
	defer c.Close()
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	subscribe(t, b, "s")
	publish(t, b, message("s", "x"))
	if got := receive(t, b); got != "s x" {
		t.Errorf("received %q", got)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Ping(ctx(t)).Err(); err != nil || c.Options().MaxRetries != 7 {
		t.Errorf("the client is not as it was: %v, %d", err, c.Options().MaxRetries)
	}
	// Who may not is told so.
	wrong := connect(t, "redis://me:wrong@"+m.Addr())
	err = wrong.Subscribe(ctx(t), "s")
	is(t, err, cluster.ErrDown)
	if !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("error %v", err)
	}
}
