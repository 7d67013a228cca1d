package mesh

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// benchNode returns a node with peers of which each has 3 members in a topic, and 1,000 more topics.
func benchNode(b *testing.B, peers int) *folk {
	net := cluster.NewMemory()
	b.Cleanup(net.Close)
	f := start(b, net, "f")
	done := make(chan struct{})
	f.do(func() {
		now := time.Now()
		for i := range peers {
			pr := f.meet(Origin(i+1), intro{fmt.Appendf(nil, "n%d", i), time.Hour}, true, now)
			f.Node.peers.setCount(pr, []byte("room"), 3)
			f.Node.peers.setSessions(pr, 100)
			for j := range 1000 {
				f.Node.peers.setCount(pr, fmt.Appendf(nil, "t%d", j), 1)
			}
		}
		close(done)
	})
	<-done
	b.Cleanup(func() { f.Close(context.Background()) })
	return f
}

func BenchmarkOthers(b *testing.B) {
	for _, peers := range []int{5, 50, 500} {
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
			f := benchNode(b, peers)
			room := f.topic("room")
			b.ReportAllocs()
			for b.Loop() {
				if room.Others() != 3*peers || f.OtherSessions() != 100*peers {
					b.Fatal("wrong")
				}
			}
		})
	}
}

func BenchmarkOthersParallel(b *testing.B) {
	f := benchNode(b, 50)
	room := f.topic("room")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			room.Others()
		}
	})
}

// BenchmarkChanged is what a join costs beyond its own node: most of the time nothing but a flag.
func BenchmarkChanged(b *testing.B) {
	f := benchNode(b, 50)
	room := f.topic("room")
	b.ReportAllocs()
	for b.Loop() {
		room.Changed()
	}
}

// BenchmarkReceiveBeat is a heartbeat without a change.
func BenchmarkReceiveBeat(b *testing.B) {
	f := benchNode(b, 50)
	done := make(chan struct{})
	b.ReportAllocs()
	f.do(func() {
		defer close(done)
		number := byte(0)
		body := appendName(nil, "n0")
		body = append(body, 0x88, 0x27, number, 100, 0)
		at := len(body) - 3
		m := envelope{kind: kindBeat, origin: 1, payload: body}
		pr := f.Node.peers.all[1]
		for b.Loop() {
			pr.number = 0
			body[at] = 1
			f.control(&m, subjectControl)
		}
	})
	<-done
}
