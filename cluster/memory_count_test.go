package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

func TestTraffic(t *testing.T) {
	m := newMemory(t)
	a, b, c := m.Connect("a"), m.Connect("b"), m.Connect("c")
	subscribe(t, b, "x", "y")
	subscribe(t, c, "x")
	publish(t, a, "x", "1", "22")
	publish(t, a, "y", "333")
	publish(t, a, "nobody", "4444")
	publish(t, c, "y", "55555")
	for _, test := range []struct {
		got, want cluster.Traffic
	}{
		{m.Published("a", "x"), cluster.Traffic{Messages: 2, Bytes: 3}},
		{m.Published("a", ""), cluster.Traffic{Messages: 4, Bytes: 10}},
		{m.Published("", "y"), cluster.Traffic{Messages: 2, Bytes: 8}},
		{m.Published("", ""), cluster.Traffic{Messages: 5, Bytes: 15}},
		{m.Published("z", ""), cluster.Traffic{}},
		{m.Delivered("b", "x"), cluster.Traffic{Messages: 2, Bytes: 3}},
		{m.Delivered("b", "y"), cluster.Traffic{Messages: 2, Bytes: 8}},
		{m.Delivered("c", ""), cluster.Traffic{Messages: 2, Bytes: 3}},
		{m.Delivered("c", "y"), cluster.Traffic{}},
		{m.Delivered("", "x"), cluster.Traffic{Messages: 4, Bytes: 6}},
		{m.Delivered("", ""), cluster.Traffic{Messages: 6, Bytes: 14}},
		{m.Stats().Published, cluster.Traffic{Messages: 5, Bytes: 15}},
		{m.Stats().Delivered, cluster.Traffic{Messages: 6, Bytes: 14}},
	} {
		if test.got != test.want {
			t.Errorf("%+v, want %+v", test.got, test.want)
		}
	}
	if got := m.Subscribers("x"); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("subscribers: %q", got)
	}
	// What was counted stays, and the next connection of the name goes on.
	b.Close()
	b = m.Connect("b")
	subscribe(t, b, "x")
	publish(t, a, "x", "6")
	if got := m.Delivered("b", "x"); got != (cluster.Traffic{Messages: 3, Bytes: 4}) {
		t.Errorf("after another connection: %+v", got)
	}
}

// A tap sees each message for each connection that it goes to, before that has it, and can withhold it; it may call
// anything.
func TestTap(t *testing.T) {
	m := newMemory(t, cluster.WithEcho())
	a, b, c := m.Connect("a"), m.Connect("b"), m.Connect("c")
	subscribe(t, a, "x")
	subscribe(t, b, "x")
	subscribe(t, c, "x", "copy")
	var seen []string
	m.Tap(func(d cluster.Delivery) bool {
		seen = append(seen, fmt.Sprintf("%s>%s %s:%s", d.From, d.To, d.Subject, d.Data))
		expect(t, b)
		if d.Subject == "x" && d.To == "b" {
			publish(t, b, "copy", string(d.Data))
			m.Stats()
			m.Partition()
			return string(d.Data) != "secret"
		}
		return true
	})
	publish(t, a, "x", "secret")
	expect(t, b)
	publish(t, a, "x", "open")
	m.Tap(nil)
	publish(t, a, "x", "unseen")
	expect(t, a, "x:secret", "x:open", "x:unseen")
	expect(t, b, "x:open", "x:unseen")
	expect(t, c, "copy:secret", "x:secret", "copy:open", "x:open", "x:unseen")
	want := []string{
		"a>a x:secret", "a>b x:secret", "b>c copy:secret", "a>c x:secret",
		"a>a x:open", "a>b x:open", "b>c copy:open", "a>c x:open",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
	if s := m.Stats(); s.Dropped != 1 {
		t.Errorf("%+v", s)
	}
	// Connections that go meanwhile get nothing.
	m.Tap(func(d cluster.Delivery) bool {
		b.Kill()
		c.Close()
		return true
	})
	publish(t, a, "x", "late")
	expect(t, a, "x:late")
	expect(t, b)
	expect(t, c, "closed")
	if s := m.Stats(); s.Dropped != 3 {
		t.Errorf("%+v", s)
	}
}

// Whatever happens, each message that is published is delivered, lost, dropped or on its way, once for each who listens;
// and each queue gets what the counters say.
func TestMemoryAccounts(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 1))
			m := newMemory(t, cluster.WithSeed(seed), cluster.WithQueue(300))
			names := []string{"a", "b", "c", "d", "e"}
			subjects := []string{"s", "t", "u"}
			some := func(of []string) []string {
				return slices.DeleteFunc(slices.Clone(of), func(string) bool { return chance.IntN(2) == 0 })
			}
			all := make([]*cluster.MemoryBus, len(names))
			dead := make([]bool, len(names))
			got := map[string]uint64{} // by name: read, or left in a channel
			lost := uint64(0)
			read := func(b *cluster.MemoryBus, most int) {
				for range most {
					synctest.Wait()
					select {
					case _, ok := <-b.Receive():
						if !ok {
							return
						}
						got[b.Name()]++
					default:
						return
					}
				}
			}
			told := func(b *cluster.MemoryBus) {
				select {
				case st := <-b.Status():
					lost += st.Lost
				default:
				}
			}
			for i, name := range names {
				all[i] = m.Connect(name)
			}
			offered := uint64(0)
			for range 400 {
				i := chance.IntN(len(all))
				b := all[i]
				switch chance.IntN(16) {
				case 0:
					m.SetFaults(wild)
				case 1:
					m.SetFaults(cluster.Faults{})
				case 2:
					m.Partition(some(names), some(names))
				case 3:
					m.Partition()
				case 4:
					if chance.IntN(2) == 0 {
						b.Down()
					} else {
						m.Down()
					}
				case 5:
					b.Up()
					m.Up()
				case 6:
					b.Cut()
				case 7:
					b.Mend()
				case 8:
					b.Kill()
					dead[i] = true
				case 9:
					if dead[i] {
						read(b, 1<<20)
						told(b)
						b.Close()
						all[i], dead[i] = m.Connect(names[i]), false
					}
				case 10:
					b.Up()
					b.Mend()
					m.Up()
					subscribe(t, b, some(subjects)...)
				case 11:
					if err := b.Unsubscribe(t.Context(), some(subjects)...); err != nil {
						t.Fatal(err)
					}
				case 12:
					time.Sleep(time.Duration(chance.IntN(20)) * time.Millisecond)
				case 13:
					read(b, chance.IntN(500))
				default:
					subject := subjects[chance.IntN(len(subjects))]
					for range chance.IntN(100) {
						before := m.Stats().Published.Messages
						b.Publish(t.Context(), cluster.Message{Subject: subject, Data: []byte("data")})
						for _, name := range m.Subscribers(subject) {
							if name != b.Name() {
								offered += m.Stats().Published.Messages - before
							}
						}
					}
				}
			}
			s := m.Stats()
			if sum := s.Delivered.Messages + s.Lost + s.Dropped + uint64(s.Delayed); sum != offered+s.Repeated {
				t.Fatalf("seed %d: %d offered and %d repeated, but %d are accounted for: %+v", seed, offered, s.Repeated, sum, s)
			}
			time.Sleep(time.Minute)
			for _, b := range all {
				read(b, 1<<20)
				told(b)
			}
			s = m.Stats()
			if s.Delayed != 0 || lost != s.Lost {
				t.Errorf("seed %d: %+v, and %d were told to be lost", seed, s, lost)
			}
			for _, name := range names {
				if want := m.Delivered(name, "").Messages; got[name] != want {
					t.Errorf("seed %d: %s has read %d, counted are %d", seed, name, got[name], want)
				}
			}
		})
	}
}

// Everything at once, for the race detector.
func TestMemoryConcurrently(t *testing.T) {
	m := newMemory(t, cluster.WithQueue(500), cluster.WithEcho())
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(i), 2))
			for range 20 {
				b := m.Connect(fmt.Sprint("n", i%5))
				var readers sync.WaitGroup
				readers.Go(func() {
					for range b.Receive() {
					}
				})
				readers.Go(func() {
					for range b.Status() {
					}
				})
				for range 50 {
					switch s := fmt.Sprint("s", chance.IntN(5)); chance.IntN(14) {
					case 0:
						b.Subscribe(t.Context(), s, s+".a")
					case 1:
						b.Unsubscribe(t.Context(), s)
					case 2:
						m.SetFaults(cluster.Faults{Drop: 0.1, Duplicate: 0.1, Reorder: 0.1, MaxDelay: time.Millisecond})
					case 3:
						m.SetFaults(cluster.Faults{})
					case 4:
						m.Partition([]string{"n0", "n1"}, []string{"n2"})
					case 5:
						m.Partition()
					case 6:
						b.Down()
						b.Up()
					case 7:
						m.Down()
						m.Up()
					case 8:
						b.Cut()
						b.Mend()
					case 9:
						m.Tap(func(d cluster.Delivery) bool { return !strings.HasPrefix(d.Subject, "s0") })
						m.Tap(nil)
					case 10:
						m.Stats()
						m.Delivered("", s)
						m.Subscribers(s)
					default:
						b.Publish(t.Context(), cluster.Message{Subject: s, Data: []byte("1")}, cluster.Message{Subject: s + ".a"})
					}
				}
				if chance.IntN(2) == 0 {
					b.Kill()
				}
				b.Close()
				readers.Wait()
			}
		})
	}
	all.Wait()
	if s := m.Stats(); s.Connections != 0 || s.Subjects != 0 || s.Delayed != 0 {
		t.Errorf("%+v", s)
	}
}
