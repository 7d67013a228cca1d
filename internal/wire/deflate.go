package wire

import (
	"bytes"
	"compress/flate"
	"sync"
	"sync/atomic"
)

// deflater is a flate writer with the buffer it writes to. One is about 650 KB, so that connections hold none: they
// share what the pool keeps.
type deflater struct {
	w   *flate.Writer
	out bytes.Buffer
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	// Level 1: what a hub sends is small and sent at once; higher levels cost 3 to 10 times as much for a few per cent.
	d.w, _ = flate.NewWriter(&d.out, flate.BestSpeed)
	return d
}}

var deflations atomic.Uint64

// Deflations returns how many payloads this process has compressed. A frame shared by any number of sessions counts
// once.
func Deflations() uint64 { return deflations.Load() }

// maxKept bounds the buffer that goes back to the pool with a deflater; a larger one is left behind, the writer is not.
const maxKept = 64 << 10

// deflate returns the frame of p compressed, or nil when that is not shorter than limit bytes.
func deflate(op Opcode, p []byte, limit int) []byte {
	deflations.Add(1)
	d := deflaters.Get().(*deflater)
	defer func() {
		if d.out.Cap() > maxKept {
			d.out = bytes.Buffer{}
		}
		deflaters.Put(d)
	}()
	d.out.Reset()
	d.w.Reset(&d.out)
	// Neither call can fail: the writer is a buffer.
	d.w.Write(p)
	d.w.Flush()
	// RFC 7692 section 7.2.1: the empty block that Flush ends with is not sent.
	z := bytes.TrimSuffix(d.out.Bytes(), []byte{0, 0, 0xff, 0xff})
	n := headerLen(len(z)) + len(z)
	if n >= limit {
		return nil
	}
	return append(appendHeader(make([]byte, 0, n), bitFin|bitRSV1|byte(op), len(z)), z...)
}
