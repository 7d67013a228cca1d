package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// numbers returns n texts, from 0.
func numbers(n int) []string {
	var all []string
	for i := range n {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

// wild is every fault at once.
var wild = cluster.Faults{Drop: 0.2, Duplicate: 0.2, Reorder: 0.2, MinDelay: time.Millisecond, MaxDelay: 20 * time.Millisecond}

// trace publishes through faults and returns all that arrives, with the times: at b what a says, at d what c says if it does.
func trace(t *testing.T, f cluster.Faults, others bool, options ...cluster.MemoryOption) (got []string) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, options...)
		a, b, c, d := m.Connect("a"), m.Connect("b"), m.Connect("c"), m.Connect("d")
		subscribe(t, b, "x")
		m.SetFaults(f)
		start := time.Now()
		var reader sync.WaitGroup
		reader.Go(func() {
			for msg := range b.Receive() {
				got = append(got, fmt.Sprintf("%s %v", msg.Data, time.Since(start)))
			}
		})
		if others {
			subscribe(t, b, "y")
			subscribe(t, d, "x", "y")
		}
		for i := range 200 {
			publish(t, a, "x", strconv.Itoa(i))
			if others {
				publish(t, c, "y", "noise")
				publish(t, d, "z", "noise")
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		m.Close()
		reader.Wait()
		got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "noise") })
	})
	return got
}

// The same seed has the same messages meet the same fate, whatever else goes on; another one another.
func TestFaultsAreSeeded(t *testing.T) {
	first := trace(t, wild, false, cluster.WithSeed(7))
	if len(first) < 100 {
		t.Fatalf("only %d arrived", len(first))
	}
	if again := trace(t, wild, false, cluster.WithSeed(7)); !slices.Equal(first, again) {
		t.Error("the same seed does something else")
	}
	if amid := trace(t, wild, true, cluster.WithSeed(7)); !slices.Equal(first, amid) {
		t.Error("what others do changes what chance does")
	}
	if other := trace(t, wild, false, cluster.WithSeed(8)); slices.Equal(first, other) {
		t.Error("another seed does the same")
	}
}

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name      string
		f         cluster.Faults
		min, max  int // messages of 200 that arrive
		repeated  bool
		unordered bool
		soonest   time.Duration
		latest    time.Duration
	}{
		{"none", cluster.Faults{}, 200, 200, false, false, 0, 0},
		{"drop some", cluster.Faults{Drop: 0.3}, 110, 170, false, false, 0, 0},
		{"drop all", cluster.Faults{Drop: 1}, 0, 0, false, false, 0, 0},
		{"duplicate some", cluster.Faults{Duplicate: 0.3}, 230, 290, true, false, 0, 0},
		{"duplicate all", cluster.Faults{Duplicate: 1}, 400, 400, true, false, 0, 0},
		{"reorder some", cluster.Faults{Reorder: 0.3, MaxDelay: 5 * time.Millisecond}, 200, 200, false, true, 0, 5 * time.Millisecond},
		{"delay", cluster.Faults{MinDelay: 3 * time.Millisecond, MaxDelay: 9 * time.Millisecond}, 200, 200, false, false, 3 * time.Millisecond, 9 * time.Millisecond},
		{"delay alike", cluster.Faults{MinDelay: 3 * time.Millisecond}, 200, 200, false, false, 3 * time.Millisecond, 3 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := trace(t, test.f, false)
			if len(got) < test.min || len(got) > test.max {
				t.Errorf("%d arrived, want %d to %d", len(got), test.min, test.max)
			}
			repeated, unordered, last := false, false, -1
			seen := map[int]bool{}
			soonest, latest := time.Hour, time.Duration(0)
			for _, s := range got {
				text, after, _ := strings.Cut(s, " ")
				n, _ := strconv.Atoi(text)
				at, err := time.ParseDuration(after)
				if err != nil {
					t.Fatal(err)
				}
				took := at - time.Duration(n)*time.Millisecond
				soonest, latest = min(soonest, took), max(latest, took)
				repeated = repeated || seen[n]
				unordered = unordered || n < last
				seen[n], last = true, n
			}
			if repeated != test.repeated || unordered != test.unordered {
				t.Errorf("repeated %t, unordered %t, want %t, %t", repeated, unordered, test.repeated, test.unordered)
			}
			if len(got) > 0 && (soonest < test.soonest || latest > test.latest) {
				t.Errorf("they took %v to %v, want %v to %v", soonest, latest, test.soonest, test.latest)
			}
		})
	}
}

// Delays keep the order of a publisher on a subject, and no other one. That also holds for what comes after faults ended.
func TestDelaysKeepTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		a, b, c := m.Bus(), m.Bus(), m.Bus()
		subscribe(t, c, "x", "y")
		say := func(text string) {
			publish(t, a, "x", "a"+text)
			publish(t, a, "y", "a"+text)
			publish(t, b, "x", "b"+text)
		}
		m.SetFaults(cluster.Faults{MaxDelay: time.Second})
		for _, n := range numbers(80) {
			say(n)
			time.Sleep(10 * time.Millisecond)
		}
		m.SetFaults(cluster.Faults{})
		say("80")
		if s := m.Stats(); s.Delayed < 30 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		next := map[string]int{}
		overtaken := 0 // turns of one flow that came behind later ones of another
		got := received(c)
		for _, s := range got {
			flow := s[:3]
			if s != fmt.Sprint(flow, next[flow]) {
				t.Fatalf("received %s, want %d", s, next[flow])
			}
			for _, n := range next {
				if n > next[flow]+1 {
					overtaken++
				}
			}
			next[flow]++
		}
		if len(got) != 243 || overtaken < 20 {
			t.Errorf("%d received, %d overtaken", len(got), overtaken)
		}
		publish(t, a, "x", "at once")
		expect(t, c, "x:at once")
	})
}

// A partition parts those who are on different sides, also for what is under way, and tells nobody.
func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		var all []*cluster.MemoryBus
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			b := m.Connect(name)
			subscribe(t, b, "x")
			expectStatus(t, b, "up 0")
			all = append(all, b)
		}
		say := func(want ...string) {
			t.Helper()
			for i, from := range all {
				publish(t, from, "x", from.Name())
				for j, to := range all {
					if i != j && strings.Contains(want[j], from.Name()) {
						expect(t, to, "x:"+from.Name())
					} else {
						expect(t, to)
					}
				}
			}
		}
		say("abcde", "abcde", "abcde", "abcde", "abcde")
		m.Partition([]string{"a", "b"}, []string{"c"})
		say("ab", "ab", "c", "de", "de")
		m.Partition([]string{"a"})
		say("a", "bcde", "bcde", "bcde", "bcde")
		late := m.Connect("a")
		subscribe(t, late, "x")
		publish(t, all[0], "x", "new")
		expect(t, late, "x:new")
		late.Close()

		m.Partition()
		m.SetFaults(cluster.Faults{MinDelay: time.Second})
		publish(t, all[0], "x", "under way")
		m.Partition([]string{"a", "b"})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		expect(t, all[1], "x:under way")
		expect(t, all[2])
		m.Partition()
		m.SetFaults(cluster.Faults{})
		say("abcde", "abcde", "abcde", "abcde", "abcde")
		for _, b := range all {
			expectStatus(t, b, "")
		}
	})
}

// Who is cut off does not notice, but that Subscribe waits.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		a, b := m.Bus(), m.Bus()
		subscribe(t, a, "x")
		subscribe(t, b, "x")
		expectStatus(t, b, "up 0")
		b.Cut()
		b.Cut()
		publish(t, a, "x", "1")
		publish(t, b, "x", "2")
		expect(t, a)
		expect(t, b)

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := b.Subscribe(ctx, "y"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("subscribe: %v after %v", err, time.Since(start))
		}
		for _, end := range []struct {
			name string
			end  func()
			want error
		}{
			{"mended", b.Mend, nil},
			{"down", b.Down, cluster.ErrDown},
			{"broker down", m.Down, cluster.ErrDown},
		} {
			b.Cut()
			failed := make(chan error)
			go func() { failed <- b.Subscribe(t.Context(), "z") }()
			synctest.Wait()
			select {
			case err := <-failed:
				t.Fatalf("subscribe did not wait: %v", err)
			default:
			}
			end.end()
			if err := <-failed; !errors.Is(err, end.want) || (err == nil) != (end.want == nil) {
				t.Errorf("%s: subscribe: %v, want %v", end.name, err, end.want)
			}
			b.Mend()
			b.Up()
			m.Up()
		}
		expectStatus(t, b, "up 0")
		publish(t, a, "y", "3")
		publish(t, b, "x", "4")
		expect(t, b, "y:3")
		expect(t, a, "x:4")

		b.Cut()
		failed := make(chan error)
		go func() { failed <- b.Subscribe(t.Context(), "z") }()
		synctest.Wait()
		b.Close()
		if err := <-failed; !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("closed: subscribe: %v", err)
		}
	})
}

// A broker or a connection that is down says so and refuses; what is under way is lost; what was asked for comes back.
func TestDown(t *testing.T) {
	for name, of := range map[string]func(*cluster.Memory, *cluster.MemoryBus) (down, up func()){
		"broker":     func(m *cluster.Memory, _ *cluster.MemoryBus) (down, up func()) { return m.Down, m.Up },
		"connection": func(_ *cluster.Memory, b *cluster.MemoryBus) (down, up func()) { return b.Down, b.Up },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t)
				a, b := m.Bus(), m.Bus()
				down, up := of(m, b)
				subscribe(t, b, "old", "gone")
				expectStatus(t, b, "up 0")
				m.SetFaults(cluster.Faults{MinDelay: time.Second})
				publish(t, a, "old", "under way")
				m.SetFaults(cluster.Faults{})
				down()
				down()
				expectStatus(t, b, "down 0")
				expectStatus(t, b, "")
				if n, err := b.Publish(t.Context(), cluster.Message{Subject: "x"}); n != 0 || !errors.Is(err, cluster.ErrDown) {
					t.Errorf("publish: %d, %v", n, err)
				}
				if err := b.Subscribe(t.Context(), "new"); !errors.Is(err, cluster.ErrDown) {
					t.Errorf("subscribe: %v", err)
				}
				if err := b.Unsubscribe(t.Context(), "gone"); err != nil {
					t.Errorf("unsubscribe: %v", err)
				}
				if name == "connection" {
					publish(t, a, "old", "meanwhile")
					if got := m.Subscribers("old"); !slices.Equal(got, []string{"2"}) {
						t.Errorf("subscribers: %q", got)
					}
				} else {
					late := m.Bus()
					expectStatus(t, late, "down 0")
				}
				time.Sleep(time.Minute)
				up()
				expectStatus(t, b, "up 0")
				for _, s := range []string{"old", "gone", "new"} {
					publish(t, a, s, "1")
				}
				expect(t, b, "old:1", "new:1")
			})
		})
	}
}

// Who is killed says no more, but what it has said arrives.
func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		a, b, c := m.Connect("a"), m.Connect("b"), m.Connect("c")
		for _, bus := range []*cluster.MemoryBus{a, b, c} {
			subscribe(t, bus, "x")
			expectStatus(t, bus, "up 0")
		}
		m.SetFaults(cluster.Faults{MinDelay: time.Second})
		publish(t, a, "x", "last words")
		publish(t, b, "x", "too late")
		m.SetFaults(cluster.Faults{})
		a.Kill()
		a.Kill()
		publish(t, a, "x", "of the dead")
		subscribe(t, a, "y")
		publish(t, b, "x", "1")
		publish(t, b, "y", "1")
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, a)
		expect(t, c, "x:last words", "x:too late", "x:1")
		expectStatus(t, a, "")
		if got := m.Subscribers("x"); !slices.Equal(got, []string{"b", "c"}) {
			t.Errorf("subscribers: %q", got)
		}
		if s := m.Stats(); s.Connections != 2 || s.Delayed != 0 || m.Published("a", "").Messages != 1 {
			t.Errorf("%+v, published %+v", s, m.Published("a", ""))
		}
		a.Close()
		expect(t, a, "closed")
		expectStatus(t, a, "closed 0")
		again := m.Connect("a")
		subscribe(t, again, "x")
		publish(t, b, "x", "2")
		expect(t, again, "x:2")
	})
}

// A closed connection leaves nothing behind: no message, no timer.
func TestCloseUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := cluster.NewMemory()
		a, b := m.Bus(), m.Bus()
		subscribe(t, b, "x")
		m.SetFaults(wild)
		for range 100 {
			publish(t, a, "x", "1")
		}
		a.Close()
		if s := m.Stats(); s.Delayed == 0 {
			t.Errorf("%+v", s)
		}
		b.Close()
		if s := m.Stats(); s.Delayed != 0 || s.Subjects != 0 || s.Connections != 0 {
			t.Errorf("%+v", s)
		}
		start := time.Now()
		m.Close()
		if took := time.Since(start); took != 0 {
			t.Errorf("Close waited %v", took)
		}
	})
}
