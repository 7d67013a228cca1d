package natsbus

import (
	"context"
	"encoding/binary"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// BenchmarkHubLatency is from the time at which a value is due to be published on one hub to the time at which a stream, or
// the client of a session over TCP, has it from another, at 10,000 values a second: Topic.Publish, the bus, a server process,
// the bus, the topic's log and the subscriber. The bytes are those of both hubs' connections to the server, the CPU is that of
// this process: both hubs and the client.
func BenchmarkHubLatency(b *testing.B) {
	b.Run("stream", func(b *testing.B) {
		hubLatency(b, func(_ *wshub.Hub, topic wshub.Topic[[]byte], got func([]byte)) {
			stream := topic.Subscribe(b.Context())
			go func() { // ends with the hub
				for v := range stream.C() {
					got(v)
				}
			}()
		})
	})
	b.Run("socket", func(b *testing.B) {
		hubLatency(b, func(hub *wshub.Hub, topic wshub.Topic[[]byte], got func([]byte)) {
			joined := make(chan error, 1)
			srv := wshubtest.Server(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, err := hub.Accept(w, r)
				if err == nil {
					err = topic.Join(context.Background(), s)
				}
				joined <- err
			}))
			srv.DialTCP(wshubtest.WithOnMessage(func(m wshubtest.Message) { got(m.Data) }))
			if err := <-joined; err != nil {
				b.Fatal(err)
			}
		})
	})
}

// hubLatency measures. subscribe has got called, by one goroutine, with each value that has come.
func hubLatency(b *testing.B, subscribe func(*wshub.Hub, wshub.Topic[[]byte], func([]byte))) {
	const every = 100 * time.Microsecond
	r := &relay{b: b, p: newProcess(b)}
	var hubs [2]*wshub.Hub
	var topics [2]wshub.Topic[[]byte]
	for i := range hubs {
		h, err := wshub.New(wshub.WithLogger(nil), wshub.WithBus(connect(b, r.p.url(), NATS(nats.SetCustomDialer(&r.wire)))))
		if err != nil {
			b.Fatal(err)
		}
		defer h.Close()
		if topics[i], err = wshub.NewTopic[[]byte](h, "prices", wshub.Block(50_000, time.Minute)); err != nil {
			b.Fatal(err)
		}
		hubs[i] = h
	}
	total := b.N
	took := make([]time.Duration, 0, total)
	received := make(chan struct{})
	subscribe(hubs[1], topics[1], func(v []byte) {
		took = append(took, time.Since(r.began)-time.Duration(binary.BigEndian.Uint64(v)))
		if len(took) == total {
			close(received)
		}
	})
	data := make([]byte, payload)
	r.begin()
	for sent := 0; sent < total; {
		due := time.Duration(sent) * every
		if early := due - time.Since(r.began); early > 0 {
			time.Sleep(early)
			continue
		}
		binary.BigEndian.PutUint64(data, uint64(due))
		if err := topics[0].Publish(b.Context(), data); err != nil {
			b.Fatal(err)
		}
		sent++
	}
	select {
	case <-received:
	case <-time.After(patience):
		b.Fatalf("some of %d values have not come: %+v", total, hubs[1].Stats().Bus)
	}
	r.end = func() { hubs[0].Close(); hubs[1].Close() }
	r.report(total)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
}
