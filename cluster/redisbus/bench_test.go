package redisbus

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// payloads returns n messages of 128 bytes.
func payloads(n int) []cluster.Message {
	m := make([]cluster.Message, n)
	for i := range m {
		m[i] = cluster.Message{Subject: "wshub.t.bench", Data: make([]byte, 128)}
	}
	return m
}

// How long a message takes from one bus to another at 10,000 a second, and how much of our processor: of both ends, without
// the server's. An operation is a millisecond: ten messages, in one Publish, as the hub sends what has come together.
func BenchmarkLatency(b *testing.B) {
	s := startServer(b)
	from, to := connect(b, s.url()), connect(b, s.url())
	subscribe(b, to, "wshub.t.bench")
	publish(b, from, payloads(1)...)
	receive(b, to)

	m := payloads(10)
	began := time.Now()
	counted := make(chan []time.Duration)
	stop := make(chan int)
	go func() {
		var took []time.Duration
		total := -1
		for total < 0 || len(took) < total {
			select {
			case m := <-to.Receive():
				took = append(took, time.Since(began)-time.Duration(binary.BigEndian.Uint64(m.Data)))
			case total = <-stop:
			}
		}
		counted <- took
	}()
	sent := 0
	before := processor()
	next := time.Now()
	for b.Loop() {
		time.Sleep(time.Until(next))
		next = next.Add(time.Millisecond)
		for i := range m {
			binary.BigEndian.PutUint64(m[i].Data, uint64(time.Since(began)))
		}
		if _, err := from.Publish(b.Context(), m...); err != nil {
			b.Fatal(err)
		}
		sent += len(m)
	}
	stop <- sent
	took := <-counted
	spent := processor() - before
	slices.Sort(took)
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	b.ReportMetric(us(took[len(took)/2]), "p50-µs")
	b.ReportMetric(us(took[len(took)*99/100]), "p99-µs")
	b.ReportMetric(us(spent)/float64(sent), "cpu-µs/msg")
	b.ReportMetric(float64(sent)/time.Since(began).Seconds(), "msg/s")
}

// How many messages go through when there is always one more. An operation is one of them.
func BenchmarkThroughput(b *testing.B) {
	s := startServer(b)
	from, to := connect(b, s.url(), Buffer(1<<16, 1<<30)), connect(b, s.url(), Buffer(1<<16, 1<<30))
	subscribe(b, to, "wshub.t.bench")
	m := payloads(100)
	b.ReportAllocs()
	before := processor()
	n := 0
	for b.Loop() {
		if n%len(m) == 0 {
			if _, err := from.Publish(b.Context(), m...); err != nil {
				b.Fatal(err)
			}
		}
		receiveOne(b, to)
		n++
	}
	b.ReportMetric(float64(processor()-before)/float64(time.Microsecond)/float64(n), "cpu-µs/msg")
}

func receiveOne(b *testing.B, bus *Bus) {
	if _, ok := <-bus.Receive(); !ok {
		b.Fatal("Receive is closed")
	}
}
