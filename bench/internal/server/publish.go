package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/wshub-go/wshub/bench/internal/contender"
	"github.com/wshub-go/wshub/bench/internal/proto"
)

// numbers is where each topic or client stands in the window that is being published to.
type numbers struct {
	window uint32
	last   map[int]uint32
}

// publish works a schedule off. It returns early when ctx ends. A direct message to a client that is not there counts for
// nothing.
func publish(ctx context.Context, hub contender.Hub, p proto.Publish, n *numbers) (proto.Published, error) {
	if p.Rate <= 0 || p.Count < 0 || len(p.Topics) == 0 && p.Direct <= 0 {
		return proto.Published{}, errors.New("a schedule needs a rate, and topics or clients")
	}
	burst := max(p.Burst, 1)
	like := "x"
	if p.JSON {
		like = text()
	}
	payload := proto.Fill(p.Size, like)
	if n.last == nil || n.window != p.Window {
		n.window, n.last = p.Window, make(map[int]uint32)
	}
	calls, late := histogram(), histogram()
	random := rand.New(rand.NewPCG(uint64(p.Window), 1)) // the same for every contender
	result := proto.Published{PerKey: n.last}

	start := time.Now()
	for i := 0; i < p.Count; {
		due := time.Duration(float64(i) / p.Rate * float64(time.Second))
		if !until(ctx, start.Add(due)) {
			break
		}
		late.RecordValue(int64(max(0, time.Since(start)-due)))
		for end := min(i+burst, p.Count); i < end; i++ {
			var key int
			switch {
			case p.Direct > 0:
				key = random.IntN(p.Direct)
			case p.Random:
				key = p.Topics[random.IntN(len(p.Topics))]
			default:
				key = p.Topics[i%len(p.Topics)]
			}
			before := proto.Now()
			proto.Set(payload, p.Window, uint32(key), n.last[key]+1, before)
			ok := true
			if p.Direct > 0 {
				ok = hub.Send(key, payload)
			} else {
				hub.Publish(key, payload)
			}
			if ok {
				calls.RecordValue(proto.Now() - before)
				n.last[key]++
				result.Count++
			}
		}
	}
	result.Seconds = time.Since(start).Seconds()
	result.Call, result.Late = quantiles(calls), quantiles(late)
	return result, nil
}

// until waits for a time, unless it has passed, and reports false when ctx has ended.
func until(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// histogram counts times of up to ten minutes, exact to a thousandth.
func histogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(10*time.Minute), 3)
}

func quantiles(h *hdrhistogram.Histogram) proto.Quantiles {
	return proto.Quantiles{
		N:    h.TotalCount(),
		P50:  h.ValueAtQuantile(50),
		P99:  h.ValueAtQuantile(99),
		P999: h.ValueAtQuantile(99.9),
		Max:  h.Max(),
	}
}

// text is what fills a payload that stands for an application's JSON: names that come again, numbers that do not. It
// deflates to about a third.
func text() string {
	random := rand.New(rand.NewPCG(1, 2))
	symbols := []string{"ACME", "BOLT", "CORE", "DUNE", "ECHO", "FERN", "GALE", "HELM"}
	var b strings.Builder
	for b.Len() < 64<<10 {
		fmt.Fprintf(&b, "{'symbol':'%s','price':%.2f,'volume':%d,'change':%.4f,'time':'2026-01-%02dT%02d:%02d:%02dZ'},",
			symbols[random.IntN(len(symbols))], random.Float64()*1000, random.IntN(1_000_000), random.Float64()-0.5,
			1+random.IntN(28), random.IntN(24), random.IntN(60), random.IntN(60))
	}
	return b.String()
}
