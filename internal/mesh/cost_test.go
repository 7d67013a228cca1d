package mesh

import (
	"context"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// quietBus takes everything and is never heard of. It allocates nothing.
type quietBus struct {
	received chan cluster.Message
	status   chan cluster.Status
}

func newQuietBus() *quietBus {
	return &quietBus{make(chan cluster.Message, 1024), make(chan cluster.Status, 1)}
}

func (b *quietBus) Publish(_ context.Context, m ...cluster.Message) (int, error) { return len(m), nil }
func (b *quietBus) Subscribe(context.Context, ...string) error                   { return nil }
func (b *quietBus) Unsubscribe(context.Context, ...string) error                 { return nil }
func (b *quietBus) Receive() <-chan cluster.Message                              { return b.received }
func (b *quietBus) Status() <-chan cluster.Status                                { return b.status }
func (b *quietBus) Close() error                                                 { return nil }

// countTopic counts the values that it receives and tells when it has all.
type countTopic struct {
	left int
	done chan struct{}
}

func (t *countTopic) Len() int { return 0 }
func (t *countTopic) Receive(Value) {
	if t.left--; t.left == 0 {
		close(t.done)
	}
}

// quietPlane is a node whose loop has ended: the test may be the loop.
func quietPlane(t testing.TB, keys ...[]byte) *Node {
	n := New(Config{Bus: newQuietBus(), Node: "here", Interval: time.Hour, Keys: keys, Host: &planeHost{}, Everyone: &countTopic{}})
	t.Cleanup(func() { n.Close(context.Background()) })
	stop := make(chan struct{})
	n.do(func() { close(stop); <-n.closing })
	<-stop
	return n
}

func TestPublishAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, keys := range map[string][][]byte{"": nil, "signed": {keyA}} {
		t.Run(name, func(t *testing.T) {
			n := quietPlane(t, keys...)
			topic := n.Topic("room", 1, nil)
			v := Outgoing{Payload: Payload{Data: make([]byte, 200)}, Key: []byte("key")}
			publish := func() {
				for range 100 {
					topic.Publish(v)
				}
			}
			publish()
			// The sender's calls of the bus have a context each, however many messages there are; a few of them are allowed.
			if got := testing.AllocsPerRun(100, publish); got > 100+40 {
				t.Errorf("%v allocations for 100 values", got)
			}
		})
	}
}

func BenchmarkPublish(b *testing.B) {
	for name, keys := range map[string][][]byte{"plain": nil, "signed": {keyA}} {
		b.Run(name, func(b *testing.B) {
			n := quietPlane(b, keys...)
			topic := n.Topic("room", 1, nil)
			v := Outgoing{Payload: Payload{Data: make([]byte, 128)}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%1024 == 0 { // the sender has to keep up
					_ = topic.PublishSure(context.Background(), v)
					continue
				}
				topic.Publish(v)
			}
			if s := n.Stats(); s.Failed != 0 {
				b.Errorf("%d have failed", s.Failed)
			}
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	for name, keys := range map[string][][]byte{"plain": nil, "signed": {keyA}} {
		b.Run(name, func(b *testing.B) {
			bus := newQuietBus()
			topic := &countTopic{}
			n := New(Config{Bus: bus, Node: "here", Interval: time.Hour, Keys: keys, Host: &planeHost{}, Everyone: &countTopic{}})
			defer n.Close(context.Background())
			n.Topic("room", 1, topic).Want()
			var s signer
			s.init(keys)
			messages := make([]cluster.Message, b.N)
			for i := range messages {
				e := envelope{kind: kindValue, origin: 7, time: time.Now().UnixNano(), epoch: 1, number: uint64(i + 1), payload: make([]byte, 128)}
				messages[i] = cluster.Message{Subject: "wshub.t.room", Data: s.sign("wshub.t.room", e.append(nil))}
			}
			topic.left, topic.done = b.N, make(chan struct{})
			b.ReportAllocs()
			b.ResetTimer()
			for _, m := range messages {
				bus.received <- m
			}
			<-topic.done
		})
	}
}
