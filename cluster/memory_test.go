package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub/cluster"
)

// newMemory returns a broker that is closed with the test.
func newMemory(t testing.TB, options ...cluster.MemoryOption) *cluster.Memory {
	m := cluster.NewMemory(options...)
	t.Cleanup(m.Close)
	return m
}

// publish publishes texts on a subject.
func publish(t testing.TB, b cluster.Bus, subject string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if n, err := b.Publish(t.Context(), cluster.Message{Subject: subject, Data: []byte(text)}); n != 1 || err != nil {
			t.Fatalf("publish %q on %q: %d, %v", text, subject, n, err)
		}
	}
}

func subscribe(t testing.TB, b cluster.Bus, subjects ...string) {
	t.Helper()
	if err := b.Subscribe(t.Context(), subjects...); err != nil {
		t.Fatalf("subscribe %q: %v", subjects, err)
	}
}

// received returns what can be read now, as SUBJECT:TEXT.
func received(b cluster.Bus) []string {
	var got []string
	for {
		select {
		case m, ok := <-b.Receive():
			if !ok {
				return append(got, "closed")
			}
			got = append(got, fmt.Sprintf("%s:%s", m.Subject, m.Data))
		default:
			return got
		}
	}
}

func expect(t testing.TB, b cluster.Bus, want ...string) {
	t.Helper()
	if got := received(b); !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
}

// expectStatus reads the state that waits; "" is none.
func expectStatus(t testing.TB, b cluster.Bus, want string) {
	t.Helper()
	got := ""
	select {
	case s, ok := <-b.Status():
		got = fmt.Sprintf("%v %d", s.State, s.Lost)
		if !ok {
			got = "over"
		} else if errors.Is(s.Err, cluster.ErrDown) != (s.State == cluster.StateDown) {
			t.Errorf("state %v has the error %v", s.State, s.Err)
		}
	default:
	}
	if got != want {
		t.Errorf("state %q, want %q", got, want)
	}
}

// Memory is exact: what was published is there, for those who listen, in order, when Publish returns.
func TestMemoryIsSynchronous(t *testing.T) {
	m := newMemory(t)
	a, b, c := m.Bus(), m.Bus(), m.Connect("third")
	if a.Name() != "1" || b.Name() != "2" || c.Name() != "third" {
		t.Errorf("names: %q, %q, %q", a.Name(), b.Name(), c.Name())
	}
	subscribe(t, a, "x")
	subscribe(t, b, "x", "y")
	subscribe(t, c, "y")
	publish(t, a, "x", "1", "2")
	publish(t, a, "y", "3")
	publish(t, c, "x", "4")
	expect(t, a, "x:4")
	expect(t, b, "x:1", "x:2", "y:3", "x:4")
	expect(t, c, "y:3")
}

func TestMemoryEcho(t *testing.T) {
	m := newMemory(t, cluster.WithEcho())
	a := m.Bus()
	subscribe(t, a, "x")
	publish(t, a, "x", "1")
	expect(t, a, "x:1")
}

// The queue holds what its bound says, exactly, in order; what is more is lost for its owner alone, and told.
func TestMemoryQueue(t *testing.T) {
	for _, bound := range []int{1, 255, 256, 257, 1000} {
		t.Run(fmt.Sprint(bound), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t, cluster.WithQueue(bound))
				a, slow, quick := m.Bus(), m.Bus(), m.Bus()
				subscribe(t, slow, "x")
				subscribe(t, quick, "x")
				expectStatus(t, slow, "up 0")
				for round := range 2 {
					for i := range bound + 3 {
						publish(t, a, "x", fmt.Sprint(i))
						synctest.Wait()
						expect(t, quick, fmt.Sprint("x:", i))
					}
					expectStatus(t, slow, "up 3")
					expectStatus(t, slow, "")
					for i := range bound {
						synctest.Wait()
						if m := <-slow.Receive(); string(m.Data) != fmt.Sprint(i) {
							t.Fatalf("round %d: received %s, want %d", round, m.Data, i)
						}
					}
					expect(t, slow)
				}
				if s := m.Stats(); s.Lost != 6 || s.Delivered.Messages != uint64(4*bound+6) {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// Closing with a full queue leaves nothing running, and what is in the channel can be read.
func TestMemoryCloseFull(t *testing.T) {
	m := newMemory(t)
	a, b := m.Bus(), m.Bus()
	subscribe(t, b, "x")
	for range 1000 {
		publish(t, a, "x", "1")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	n := 0
	for range b.Receive() {
		n++
	}
	if n < 256 || n > 1000 {
		t.Errorf("%d messages after Close", n)
	}
}

func TestMemoryClose(t *testing.T) {
	m := newMemory(t)
	a, b := m.Bus(), m.Bus()
	subscribe(t, a, "x")
	m.Close()
	m.Close()
	for _, bus := range []cluster.Bus{a, b, m.Bus()} {
		expect(t, bus, "closed")
		expectStatus(t, bus, "closed 0")
		expectStatus(t, bus, "over")
		if n, err := bus.Publish(t.Context(), cluster.Message{Subject: "x"}); n != 0 || !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("publish: %d, %v", n, err)
		}
		if err := bus.Subscribe(t.Context(), "x"); !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("subscribe: %v", err)
		}
	}
	if s := m.Stats(); s.Connections != 0 || s.Subjects != 0 {
		t.Errorf("%+v", s)
	}
}

func TestMemoryMaxPayload(t *testing.T) {
	m := newMemory(t, cluster.WithMaxPayload(3))
	a := m.Bus()
	n, err := a.Publish(context.Background(), cluster.Message{Subject: "x", Data: []byte("123")}, cluster.Message{Subject: "x", Data: []byte("1234")})
	if n != 1 || !errors.Is(err, cluster.ErrTooLarge) {
		t.Errorf("publish: %d, %v", n, err)
	}
}
