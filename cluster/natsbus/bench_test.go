package natsbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
)

const (
	payload = 128 // bytes
	subject = "wshub.t.prices"
)

// wire dials, and counts the bytes in both directions.
type wire struct{ out, in atomic.Int64 }

type countedConn struct {
	net.Conn
	*wire
}

func (w *wire) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return countedConn{c, w}, nil
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.Add(int64(n))
	return n, err
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Add(int64(n))
	return n, err
}

// relay is a benchmark's publisher and receiver, with a server process between.
type relay struct {
	b       *testing.B
	p       *process
	publish func([]cluster.Message) error
	receive func() []byte
	end     func()
	wire    wire
	began   time.Time
	used    time.Duration // CPU of this process before
}

// newRelay connects by two buses.
func newRelay(b *testing.B) *relay {
	r := &relay{b: b, p: newProcess(b)}
	counted := NATS(nats.SetCustomDialer(&r.wire))
	from, to := connect(b, r.p.url(), counted), connect(b, r.p.url(), counted)
	subscribe(b, to, subject)
	r.publish = func(m []cluster.Message) error {
		_, err := from.Publish(context.Background(), m...)
		return err
	}
	r.receive = func() []byte { return (<-to.Receive()).Data }
	r.end = func() { from.Close(); to.Close() }
	r.begin()
	return r
}

// newPlainRelay connects by nats.go alone, which does not wait for an answer: the floor.
func newPlainRelay(b *testing.B) *relay {
	r := &relay{b: b, p: newProcess(b)}
	dial := func() *nats.Conn {
		nc, err := nats.Connect(r.p.url(), nats.SetCustomDialer(&r.wire), nats.NoEcho())
		if err != nil {
			b.Fatal(err)
		}
		return nc
	}
	from, to := dial(), dial()
	received := make(chan *nats.Msg, handoff)
	if _, err := to.ChanSubscribe(subject, received); err != nil {
		b.Fatal(err)
	}
	if err := to.Flush(); err != nil {
		b.Fatal(err)
	}
	r.publish = func(m []cluster.Message) error {
		for i := range m {
			if err := from.Publish(m[i].Subject, m[i].Data); err != nil {
				return err
			}
		}
		return nil
	}
	r.receive = func() []byte { return (<-received).Data }
	r.end = func() { from.Close(); to.Close() }
	r.begin()
	return r
}

func (r *relay) begin() {
	r.wire.out.Store(0)
	r.wire.in.Store(0)
	r.used = cpu()
	r.b.ResetTimer()
	r.began = time.Now()
}

// report ends the server, since its CPU is known only then; that of its start, some 10 ms, is in it: give -benchtime
// 50000x and more.
func (r *relay) report(messages int) {
	b := r.b
	b.StopTimer()
	used := cpu() - r.used
	n := float64(messages)
	b.ReportMetric(float64(r.wire.out.Load())/n, "wire-B-out/msg")
	b.ReportMetric(float64(r.wire.in.Load())/n, "wire-B-in/msg")
	b.ReportMetric(n/time.Since(r.began).Seconds(), "msg/s")
	if used > 0 {
		b.ReportMetric(float64(used.Nanoseconds())/1e3/n, "cpu-µs/msg")
	}
	r.end()
	state := r.p.kill()
	b.ReportMetric(float64((state.UserTime()+state.SystemTime()).Nanoseconds())/1e3/n, "server-cpu-µs/msg")
}

// BenchmarkLatency is from the time at which a message is due to be published to the time at which another connection has
// received it, at 10,000 messages a second. What is due while a Publish waits for the server goes with the next.
func BenchmarkLatency(b *testing.B) {
	b.Run("bus", func(b *testing.B) { latency(newRelay(b)) })
	b.Run("nats.go", func(b *testing.B) { latency(newPlainRelay(b)) })
}

func latency(r *relay) {
	const every = 100 * time.Microsecond
	total := r.b.N
	took := make([]time.Duration, 0, total)
	received := make(chan struct{})
	go func() { // ends when all have arrived
		defer close(received)
		for len(took) < total {
			due := time.Duration(binary.BigEndian.Uint64(r.receive()))
			took = append(took, time.Since(r.began)-due)
		}
	}()
	data := make([]byte, 0, 1000*payload)
	var batch []cluster.Message
	for sent := 0; sent < total; {
		batch, data = batch[:0], data[:0]
		for sent+len(batch) < total && len(batch) < 1000 && time.Duration(sent+len(batch))*every <= time.Since(r.began) {
			at := len(data)
			data = data[:at+payload]
			binary.BigEndian.PutUint64(data[at:], uint64(time.Duration(sent+len(batch))*every))
			batch = append(batch, cluster.Message{Subject: subject, Data: data[at:]})
		}
		if len(batch) == 0 {
			time.Sleep(time.Duration(sent)*every - time.Since(r.began))
			continue
		}
		if err := r.publish(batch); err != nil {
			r.b.Fatal(err)
		}
		sent += len(batch)
	}
	<-received
	r.report(total)
	slices.Sort(took)
	r.b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
	r.b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
}

// BenchmarkThroughput is as fast as it goes, in batches.
func BenchmarkThroughput(b *testing.B) {
	for _, size := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			r := newRelay(b)
			received := make(chan struct{})
			go func() { // ends when all have arrived
				defer close(received)
				for range b.N {
					r.receive()
				}
			}()
			batch := make([]cluster.Message, size)
			for i := range batch {
				batch[i] = cluster.Message{Subject: subject, Data: make([]byte, payload)}
			}
			for sent := 0; sent < b.N; {
				m := batch[:min(size, b.N-sent)]
				if err := r.publish(m); err != nil {
					b.Fatal(err)
				}
				sent += len(m)
			}
			<-received
			r.report(b.N)
		})
	}
}
