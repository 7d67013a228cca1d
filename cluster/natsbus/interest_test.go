package natsbus

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/wshub-go/wshub/cluster"
)

// Subscriptions cost memory, and no goroutines.
func TestManySubscriptions(t *testing.T) {
	s := embedded(t, nil)
	base := s.NumSubscriptions()
	a := connect(t, s.ClientURL())
	subscribe(t, a, "one")
	goroutines := runtime.NumGoroutine()
	const n = 10_000
	subjects := many(n)
	subscribe(t, a, subjects...)
	if got := s.NumSubscriptions() - base; got != n+1 {
		t.Fatalf("the server has %d subscriptions, want %d", got, n+1)
	}
	expectGoroutines(t, goroutines)
	if err := a.Unsubscribe(within(t), subjects...); err != nil {
		t.Fatal(err)
	}
	if got := s.NumSubscriptions() - base; got != 1 {
		t.Fatalf("the server has %d subscriptions, want one", got)
	}
	if len(a.interest) != 1 || a.client.NumSubscriptions() != 1 || len(a.leaving) != 0 {
		t.Fatalf("something is left: %d, %d, %d", len(a.interest), a.client.NumSubscriptions(), len(a.leaving))
	}
}

// The bus's goroutines are those that its documentation counts.
func TestPitfall52Goroutines(t *testing.T) {
	p := newProxy(t, embedded(t, nil).Addr().String()) // the server's goroutines come and go; these are the client's
	a := connect(t, p.url())
	awaitState(t, a, cluster.StateUp)
	subscribe(t, a, "one")
	before := runtime.NumGoroutine()
	a.Close()
	const own = 6
	const others = 2 + 2 // of the proxy and of the server
	expectGoroutines(t, before-own)
	if n := runtime.NumGoroutine(); n < before-own-others {
		t.Errorf("%d goroutines ended, want at most %d", before-n, own+others)
	}
}

// Whatever comes and goes at the same time: in the end the server has what is wanted, once.
func TestPitfall30InterestChangesAtTheSameTime(t *testing.T) {
	s := embedded(t, nil)
	base := s.NumSubscriptions()
	a, b := connect(t, s.ClientURL()), connect(t, s.ClientURL())
	const workers, subjects = 8, 20
	wanted := make([]bool, workers*subjects)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for range 200 {
				i := w*subjects + random.IntN(subjects)
				own, shared := fmt.Sprintf("own.%d", i), fmt.Sprintf("shared.%d", random.IntN(subjects))
				if wanted[i] = random.IntN(2) == 0; wanted[i] {
					if err := a.Subscribe(within(t), own, shared, own); err != nil {
						t.Error(err)
					}
				} else if err := a.Unsubscribe(within(t), own, shared, own); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i := range subjects {
		if err := a.Unsubscribe(within(t), fmt.Sprintf("shared.%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	var batch []cluster.Message
	for i := range wanted {
		m := cluster.Message{Subject: fmt.Sprintf("own.%d", i)}
		batch = append(batch, m)
		if wanted[i] {
			want = append(want, m.Subject)
		}
	}
	if got := s.NumSubscriptions() - base; int(got) != len(want) {
		t.Fatalf("the server has %d subscriptions, want %d", got, len(want))
	}
	if n, err := b.Publish(within(t), batch...); err != nil {
		t.Fatal(n, err)
	}
	for _, subject := range want {
		expect(t, a, subject, "")
	}
	select {
	case m := <-a.Receive():
		t.Fatalf("received %q too", m.Subject)
	default:
	}
}

// Calls of all kinds while connections break end, and leave nothing behind.
func TestCallsWhileConnectionsBreak(t *testing.T) {
	s := embedded(t, nil)
	p := newProxy(t, s.Addr().String())
	a, b := connect(t, p.url()), connect(t, s.ClientURL())
	awaitState(t, a, cluster.StateUp)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for w := range 4 {
		subject := fmt.Sprintf("s.%d", w)
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a.Subscribe(within(t), subject)
				a.Publish(within(t), cluster.Message{Subject: "x"}, cluster.Message{Subject: "x"})
				a.Unsubscribe(within(t), subject)
			}
		})
	}
	for range 3 {
		p.cut()
		awaitState(t, a, cluster.StateDown)
		awaitState(t, a, cluster.StateUp)
	}
	close(stop)
	all.Wait()
	subscribe(t, a, "s.0", "s.1")
	publish(t, b, "s.2", "nobody hears it")
	for _, subject := range []string{"s.0", "s.1"} {
		publish(t, b, subject, subject)
		expect(t, a, subject, subject)
	}
}

func BenchmarkSubscribe(b *testing.B) {
	p := newProcess(b)
	bus := connect(b, p.url())
	goroutines := runtime.NumGoroutine()
	names := make([]string, b.N)
	for i := range names {
		names[i] = fmt.Sprintf("wshub.t.%08d", i)
	}
	named := heap()
	b.ResetTimer()
	for rest := names; len(rest) > 0; {
		batch := rest[:min(1000, len(rest))]
		rest = rest[len(batch):]
		subscribe(b, bus, batch...)
	}
	b.StopTimer()
	b.ReportMetric(float64(heap()-named)/float64(b.N), "B/subscription")
	b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")
	runtime.KeepAlive(bus)
}

// heap is what is in use, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
