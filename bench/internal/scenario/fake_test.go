package scenario

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	inprocess "github.com/wshub-go/wshub/bench/internal/members"
	"github.com/wshub-go/wshub/bench/internal/proto"
	"github.com/wshub-go/wshub/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// world is children that answer without doing anything, and what they have in common.
type world struct {
	capacity float64      // frames a second that arrive in time; 0 for any
	slow     float64      // how many times as long as it should publishing takes; 0 is 1
	hangs    bool         // publishes of measured windows are not answered
	window   proto.Window // is what the load finds, but for the frames
	fails    string       // the role that does not start

	mu      sync.Mutex
	clients int
	places  int // topics of a client
	alive   int
	servers int
	rate    float64 // of the last publish
	count   int     // of its publishes
	flags   [][]string
}

func (w *world) bench() *Bench { return &Bench{Start: w.start, Quick: true, Files: 1000} }

func (w *world) start(flags ...string) (*Child, error) {
	role := flags[1]
	if role == w.fails {
		return nil, errors.New("does not start")
	}
	w.mu.Lock()
	w.alive++
	if role == "server" {
		w.servers++
	}
	w.flags = append(w.flags, flags)
	w.mu.Unlock()
	requests, in := io.Pipe()
	out, replies := io.Pipe()
	done := make(chan struct{})
	go func() { // ends with in
		defer close(done)
		w.serve(role, requests, replies)
	}()
	return NewChild(in, out, func(bool) float64 {
		_ = out.Close()
		<-done
		w.mu.Lock()
		w.alive--
		switch role {
		case "server":
			w.servers--
		case "load":
			w.clients = 0
		}
		w.mu.Unlock()
		return 7
	}), nil
}

func (w *world) serve(role string, in io.Reader, out *io.PipeWriter) {
	enc, dec := json.NewEncoder(out), json.NewDecoder(in)
	write := func(result any) {
		b, err := json.Marshal(result)
		if err != nil {
			panic(err)
		}
		_ = enc.Encode(proto.Reply{Result: b})
	}
	if role == "server" || role == "broker" {
		write(proto.Ready{Addr: "127.0.0.1:1"})
	}
	defer out.Close()
	for {
		var req proto.Request
		if dec.Decode(&req) != nil {
			return
		}
		w.mu.Lock()
		result := w.answer(role, req)
		w.mu.Unlock()
		if result != nil {
			write(result)
		}
	}
}

// answer returns nil for silence.
func (w *world) answer(role string, req proto.Request) any {
	args := func(v any) {
		if err := json.Unmarshal(req.Args, v); err != nil {
			panic(err)
		}
	}
	switch role + " " + req.Do {
	case "server " + proto.DoStats:
		n := w.clients / w.servers // each has its share
		return proto.Stats{Clients: n, Joins: n * max(w.places, 1), CPU: 1, Heap: 1 << 20, Stack: 1 << 20, RSS: 1 << 22, Goroutines: 3}
	case "server " + proto.DoPublish:
		var p proto.Publish
		args(&p)
		w.rate, w.count = p.Rate, p.Count
		if w.hangs && p.Window > 1 {
			return nil
		}
		seconds := float64(p.Count) / p.Rate * max(w.slow, 1)
		return proto.Published{Count: p.Count, Seconds: seconds, Call: proto.Quantiles{P99: 1000}}
	case "load " + proto.DoDial:
		var d proto.Dial
		args(&d)
		w.clients += d.N
		w.places = d.Places
		return proto.Dialed{Connected: d.N, Seconds: 1}
	case "load " + proto.DoHang:
		w.clients = 0
		return proto.Hung{}
	case "load " + proto.DoBegin:
		return struct{}{}
	case "load " + proto.DoEnd:
		var e proto.End
		args(&e)
		got := w.window
		got.Frames = e.Frames
		if audience := float64(e.Frames) / float64(max(w.count, 1)); w.capacity > 0 && w.rate*audience > w.capacity {
			got.Frames = int64(float64(e.Frames) * w.capacity / (w.rate * audience))
		}
		got.Sent, got.Echoed = 20*int64(w.clients), 20*int64(w.clients)
		got.Latency = proto.Quantiles{N: got.Frames, P50: 1e6, P99: 2e6, P999: 3e6, Max: 4e6}
		return got
	case "members " + inprocess.Do:
		return inprocess.Result{Bytes: 250, Member: 30, Call: proto.Quantiles{P99: 1000}}
	}
	panic(role + " is asked for " + req.Do)
}

// ended fails the test if a child is left.
func (w *world) ended(t *testing.T) {
	t.Helper()
	if w.alive != 0 {
		t.Errorf("%d processes are left", w.alive)
	}
}

// started is the flags of the first child of a role, as one string.
func (w *world) started(role string) string {
	i := slices.IndexFunc(w.flags, func(flags []string) bool { return flags[1] == role })
	if i < 0 {
		return ""
	}
	return strings.Join(w.flags[i], " ")
}

var everything = Contender{Name: Wshub, Topics: true, Direct: true, Compress: true, Echo: true, Cluster: true}
