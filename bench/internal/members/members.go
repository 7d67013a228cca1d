// Package members is a process that holds a topic's members without a network: the engine of wshub with connections that
// take everything at once and keep nothing, so that what is measured is the engine alone.
package members

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/wshub-go/wshub/bench/internal/proto"
	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/wire"
)

// Do is what the process can be asked for: [Args], answered with [Result].
const Do = "members"

// Args says how many members there are and how often to publish.
type Args struct {
	Members   int `json:"members"`
	Publishes int `json:"publishes"`
	Size      int `json:"size"` // bytes of a payload
}

// Result is what came of it.
type Result struct {
	Bytes  float64         `json:"bytes"`  // of engine state, for each member
	Member float64         `json:"member"` // nanoseconds from the publish call until all were handed the value, for each member; the median
	Call   proto.Quantiles `json:"call"`   // of the publish call
}

// Run answers requests until in ends.
func Run(in io.Reader, out io.Writer) error {
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var req proto.Request
		if err := dec.Decode(&req); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		var reply proto.Reply
		if result, err := answer(req); err != nil {
			reply.Error = err.Error()
		} else if reply.Result, err = json.Marshal(result); err != nil {
			return err
		}
		if err := enc.Encode(reply); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

func answer(req proto.Request) (r Result, err error) {
	if req.Do != Do {
		return r, fmt.Errorf("cannot %q", req.Do)
	}
	var args Args
	if err := json.Unmarshal(req.Args, &args); err != nil {
		return r, err
	}
	if args.Members < 1 || args.Publishes < 1 {
		return r, fmt.Errorf("%d members and %d publishes", args.Members, args.Publishes)
	}
	return measure(args)
}

func measure(args Args) (r Result, err error) {
	e := fanout.New(fanout.Config{})
	topic := e.NewTopic(fanout.TopicConfig{MaxPending: 1 << 20, MaxBytes: 1 << 30, MaxKeys: 1 << 16})
	rule := &fanout.Rule{Overflow: fanout.Evict, N: 1 << 20, Age: time.Hour}
	conns := make([]null, args.Members)
	before := heap()
	for i := range conns {
		if _, err := topic.Join(e.NewSubscriber(&conns[i], nobody{}), rule, nil, 0); err != nil {
			return r, err
		}
	}
	r.Bytes = (float64(heap()) - float64(before)) / float64(args.Members)

	ctx := context.Background()
	payload := proto.Fill(args.Size, "x")
	whole := hdrhistogram.New(1, int64(time.Minute), 3)
	call := hdrhistogram.New(1, int64(time.Minute), 3)
	for range args.Publishes {
		x := e.Entry()
		x.Frame.Init(wire.OpText, payload)
		x.Size = x.Frame.Len()
		start := time.Now()
		if err := topic.Publish(ctx, x); err != nil {
			return r, err
		}
		took := time.Since(start)
		if err := e.Wait(ctx); err != nil {
			return r, err
		}
		if err := whole.RecordValue(int64(time.Since(start))); err != nil {
			return r, err
		}
		if err := call.RecordValue(int64(took)); err != nil {
			return r, err
		}
	}
	for i := range conns {
		if want := uint64(args.Publishes * (len(payload) + header(len(payload)))); conns[i].bytes != want {
			return r, fmt.Errorf("a member was handed %d bytes of %d", conns[i].bytes, want)
		}
	}
	r.Member = float64(whole.ValueAtQuantile(50)) / float64(args.Members)
	r.Call = proto.Quantiles{
		N: call.TotalCount(), P50: call.ValueAtQuantile(50), P99: call.ValueAtQuantile(99),
		P999: call.ValueAtQuantile(99.9), Max: call.Max(),
	}
	runtime.KeepAlive(topic)
	return r, nil
}

// header is how many bytes a frame of n bytes has before them.
func header(n int) int { return len(wire.AppendFrame(nil, wire.OpText, make([]byte, n))) - n }

// heap is how much is allocated and in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// null takes everything at once.
type null struct{ bytes uint64 }

func (c *null) TryWrite(b []byte) (int, error)                      { c.bytes += uint64(len(b)); return len(b), nil }
func (c *null) WriteAll(b []byte, _ time.Duration) (int, error)     { return len(b), nil }
func (c *null) HasControl() bool                                    { return false }
func (c *null) TakeControl(dst []byte) (frames []byte, closes bool) { return dst, false }
func (c *null) CloseSent()                                          {}
func (c *null) Compressed() bool                                    { return false }
func (c *null) CompressThreshold() int                              { return 0 }

// nobody is told what happens to a member.
type nobody struct{}

func (nobody) Slow(*fanout.Topic)            {}
func (nobody) Failed(error)                  {}
func (nobody) Flushed()                      {}
func (nobody) CloseSent()                    {}
func (nobody) Dropped(*fanout.Topic, uint64) {}
