package fanout

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/wshub-go/wshub/internal/queue"
	"github.com/wshub-go/wshub/internal/wire"
)

// nullConn takes everything at once, so that what is measured is the hub.
type nullConn struct{ bytes uint64 }

func (c *nullConn) TryWrite(b []byte) (int, error)                      { c.bytes += uint64(len(b)); return len(b), nil }
func (c *nullConn) WriteAll(b []byte, _ time.Duration) (int, error)     { return len(b), nil }
func (c *nullConn) HasControl() bool                                    { return false }
func (c *nullConn) TakeControl(dst []byte) (frames []byte, closes bool) { return dst, false }
func (c *nullConn) CloseSent()                                          {}
func (c *nullConn) Compressed() bool                                    { return false }
func (c *nullConn) CompressThreshold() int                              { return 0 }

// nullOwner is told nothing.
type nullOwner struct{}

func (nullOwner) Slow(*Topic)            {}
func (nullOwner) Failed(error)           {}
func (nullOwner) Flushed()               {}
func (nullOwner) CloseSent()             {}
func (nullOwner) Dropped(*Topic, uint64) {}

var payload = []byte(`{"symbol":"ACME","price":123.45,"at":"2026-01-02T03:04:05Z"}`)

// crowd returns a topic with n members on null connections.
func crowd(b testing.TB, e *Engine, n int) (*Topic, []*Subscriber) {
	b.Helper()
	topic, subs, _ := weigh(b, e, n)
	return topic, subs
}

// weigh is crowd, and returns what a member costs in bytes, its subscriber included and its connection not.
func weigh(b testing.TB, e *Engine, n int) (*Topic, []*Subscriber, float64) {
	b.Helper()
	topic := newTopic(e)
	conns, subs := make([]nullConn, n), make([]*Subscriber, n)
	before := heapInUse()
	for i := range subs {
		subs[i] = e.NewSubscriber(&conns[i], nullOwner{})
		if _, err := topic.Join(subs[i], lossless, nil, 0); err != nil {
			b.Fatal(err)
		}
	}
	each := (float64(heapInUse()) - float64(before)) / float64(n)
	runtime.KeepAlive(conns)
	return topic, subs, each
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkPublish reports what a member costs, how long the call takes, and how long until every member was handed the
// value. Each call finds the workers gone and starts one: what it takes above BenchmarkPublishCall is the scheduler waking a processor, and as
// much for one member as for a million.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 100_000 && testing.Short() {
				b.Skip("a million members")
			}
			e := New(Config{})
			topic, subs, each := weigh(b, e, n)
			ctx := context.Background()
			var calls time.Duration
			b.ReportAllocs()
			for b.Loop() {
				x := new(queue.Entry)
				x.Frame.Init(wire.OpText, payload)
				x.Size = x.Frame.Len()
				start := time.Now()
				if err := topic.Publish(ctx, x); err != nil {
					b.Fatal(err)
				}
				calls += time.Since(start)
				if err := e.Wait(ctx); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(calls.Nanoseconds())/float64(b.N), "ns/call")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/member")
			if n > 1 {
				b.ReportMetric(each, "B/member")
			}
			if a := topic.Tally(); a.Pending != 0 || a.Sent != uint64(b.N*n) {
				b.Errorf("%+v", a)
			}
			runtime.KeepAlive(subs)
		})
	}
}

// BenchmarkPublishCall publishes while a worker is at it, which leaves a core to the publisher: the call takes the same
// whatever the audience.
func BenchmarkPublishCall(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := New(Config{Workers: 1})
			topic, _ := crowd(b, e, n)
			ctx := context.Background()
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				x := new(queue.Entry)
				x.Frame.Init(wire.OpText, payload)
				if err := topic.Publish(ctx, x); err != nil {
					b.Fatal(err)
				}
				if i++; i%1000 == 0 { // else the members of the larger topics fall behind without bound
					b.StopTimer()
					if err := e.Wait(ctx); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			}
			if err := e.Wait(ctx); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkChannelPerClient is what BenchmarkPublish is to be compared with: a hub that loops over a map of clients, and
// a goroutine per client that ranges over its buffered channel.
func BenchmarkChannelPerClient(b *testing.B) {
	type client struct {
		send chan []byte
		conn *nullConn
	}
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			clients := make(map[*client]struct{}, n)
			var mu sync.RWMutex
			var left atomic.Int64
			var wg sync.WaitGroup
			all := make(chan struct{})
			for range n {
				c := &client{make(chan []byte, 16), new(nullConn)}
				clients[c] = struct{}{}
				wg.Go(func() {
					for frame := range c.send {
						if _, err := c.conn.TryWrite(frame); err != nil {
							return
						}
						if left.Add(-1) == 0 {
							all <- struct{}{}
						}
					}
				})
			}
			var calls time.Duration
			b.ReportAllocs()
			for b.Loop() {
				frame := wire.AppendFrame(nil, wire.OpText, payload)
				left.Store(int64(n))
				start := time.Now()
				mu.RLock()
				for c := range clients {
					select {
					case c.send <- frame:
					default:
						b.Error("a client is slow")
					}
				}
				mu.RUnlock()
				calls += time.Since(start)
				<-all
			}
			b.ReportMetric(float64(calls.Nanoseconds())/float64(b.N), "ns/call")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/member")
			for c := range clients {
				close(c.send)
			}
			wg.Wait()
		})
	}
}

// BenchmarkPublishBurst publishes 64 values before it waits: members at the same place share a batch.
func BenchmarkPublishBurst(b *testing.B) {
	const n, burst = 10_000, 64
	e := New(Config{})
	topic, _ := crowd(b, e, n)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		for range burst {
			x := new(queue.Entry)
			x.Frame.Init(wire.OpText, payload)
			if err := topic.Publish(ctx, x); err != nil {
				b.Fatal(err)
			}
		}
		if err := e.Wait(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n/burst, "ns/delivery")
}

// BenchmarkPublishParallel has every core publish to a topic of its own.
func BenchmarkPublishParallel(b *testing.B) {
	e := New(Config{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		topic, _ := crowd(b, e, 100)
		for pb.Next() {
			x := new(queue.Entry)
			x.Frame.Init(wire.OpText, payload)
			if err := topic.Publish(context.Background(), x); err != nil {
				b.Error(err)
			}
		}
	})
	if err := e.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkJoinLeave(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := New(Config{})
			topic, subs := crowd(b, e, n)
			s := e.NewSubscriber(new(nullConn), nullOwner{})
			b.ReportAllocs()
			for b.Loop() {
				m, err := topic.Join(s, lossless, nil, 0)
				if err != nil {
					b.Fatal(err)
				}
				m.Leave()
			}
			runtime.KeepAlive(subs)
		})
	}
}

// BenchmarkDetach is the mass disconnect of a large topic.
func BenchmarkDetach(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		_, subs := crowd(b, New(Config{}), 10_000)
		b.StartTimer()
		for _, s := range subs {
			s.Detach()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/member")
}

func BenchmarkSend(b *testing.B) {
	e := New(Config{})
	s := e.NewSubscriber(new(nullConn), nullOwner{})
	b.ReportAllocs()
	for b.Loop() {
		x := e.Entry()
		x.Frame.Init(wire.OpText, payload)
		if err := s.Send(context.Background(), x); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAllocations asserts what a publish and a direct message allocate beside the frame and the entry they are given.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx := context.Background()
	for _, n := range []int{0, 1, 1000} {
		e := New(Config{})
		topic, _ := crowd(t, e, n)
		const runs = 200
		entries := make([]*queue.Entry, 0, 2*runs)
		for range cap(entries) {
			x := &queue.Entry{}
			x.Frame.Init(wire.OpText, payload)
			entries = append(entries, x)
		}
		i := 0
		got := testing.AllocsPerRun(runs, func() {
			if err := topic.Publish(ctx, entries[i]); err != nil {
				t.Fatal(err)
			}
			i++
			if err := e.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%d members: %v allocations", n, got)
		if got > 1 { // the channel of Wait
			t.Errorf("Publish to %d members: %v allocations", n, got)
		}
	}
	e := New(Config{})
	s := e.NewSubscriber(new(nullConn), nullOwner{})
	if got := testing.AllocsPerRun(1000, func() {
		x := e.Entry()
		x.Frame.Init(wire.OpText, payload)
		if err := s.Send(ctx, x); err != nil {
			t.Fatal(err)
		}
	}); got > 1 { // the frame
		t.Errorf("Send: %v allocations", got)
	}
}

// TestMemberSize keeps the cost of a subscription in view.
func TestMemberSize(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n = 20_000
	topic, subs, each := weigh(t, New(Config{}), n)
	if each >= 300 {
		t.Errorf("%.0f bytes a subscriber with one subscription; Subscriber %d, Member %d", each, unsafe.Sizeof(Subscriber{}), unsafe.Sizeof(Member{}))
	}
	before := heapInUse()
	for range 20 {
		publish(t, topic, "x")
		if err := topic.e.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	more := (float64(heapInUse()) - float64(before)) / n
	t.Logf("%.0f bytes a subscriber, %.1f more after traffic", each, more)
	if more >= 8 {
		t.Errorf("traffic leaves %.1f bytes a subscriber", more)
	}
	runtime.KeepAlive(subs)
}
