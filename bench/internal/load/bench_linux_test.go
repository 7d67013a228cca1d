package load

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// BenchmarkFrames shows what a frame costs the load, in a process of its own, and the loop of writes that sends it: to each
// of a thousand clients one frame with a write, or twenty; a hundred or fifty times a second, or as fast as it goes.
func BenchmarkFrames(b *testing.B) {
	for _, v := range []struct {
		name  string
		gap   time.Duration
		burst int
	}{
		{"paced", 10 * time.Millisecond, 1},
		{"unpaced", 0, 1},
		{"bursts", 20 * time.Millisecond, 20},
		{"bursts unpaced", 0, 20},
	} {
		b.Run(v.name, func(b *testing.B) { benchmarkFrames(b, v.gap, v.burst) })
	}
}

func benchmarkFrames(b *testing.B, gap time.Duration, burst int) {
	const clients = 1000
	l := newChild(b)
	addr, accepted := peers(b, clients)
	l.dial(proto.Dial{Addrs: []string{addr}, N: clients, Topics: 1})
	all := collect(b, accepted, clients)
	l.begin(proto.Begin{Window: 1, Size: size})
	before := cpu()
	var number uint32
	due := time.Now()
	b.ResetTimer()
	for range b.N {
		var frames []byte
		for range burst {
			number++
			frames = append(frames, frame(final|opText, payload(size, 1, 0, number))...)
		}
		for _, p := range all {
			p.write(b, frames)
		}
		due = due.Add(gap)
		time.Sleep(time.Until(due))
	}
	sent := float64(number) * clients
	w := l.end(proto.End{Frames: int64(sent)})
	b.StopTimer()
	if w.Frames != int64(sent) || w.Missing+w.Disorder+w.Damaged+w.Stray != 0 || w.Lost != 0 {
		b.Errorf("sent %v, got %+v", sent, w)
	}
	b.ReportMetric(w.CPU/sent*1e9, "load-ns/frame")
	b.ReportMetric((cpu()-before)/sent*1e9, "server-ns/frame")
	b.ReportMetric(float64(w.Frames)/w.Seconds, "frames/s")
	b.ReportMetric(float64(w.Latency.P99), "p99-ns")
	b.ReportMetric(0, "ns/op")
}

// newChild is a load in a process of its own.
func newChild(b *testing.B) *loader {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(slices.Clone(os.Environ()), asChild+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(fmt.Errorf("the load: %w", err))
		}
	})
	return &loader{b, in, json.NewDecoder(out)}
}
