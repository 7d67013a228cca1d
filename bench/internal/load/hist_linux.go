package load

import (
	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// longest is what times above it are recorded as.
const longest = int64(5 * 60 * 1e9)

// times are nanoseconds, three digits of them.
type times struct{ h *hdrhistogram.Histogram }

func newTimes() times { return times{hdrhistogram.New(1, longest, 3)} }

func (t times) record(ns int64) { _ = t.h.RecordValue(min(max(ns, 0), longest)) }

func (t times) reset() {
	if t.h.TotalCount() > 0 { // it is large
		t.h.Reset()
	}
}

func (t times) quantiles() proto.Quantiles {
	return proto.Quantiles{
		N:    t.h.TotalCount(),
		P50:  t.h.ValueAtQuantile(50),
		P99:  t.h.ValueAtQuantile(99),
		P999: t.h.ValueAtQuantile(99.9),
		Max:  t.h.Max(),
	}
}
