package load

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
)

// sampleOf is of how many clients one inflates its compressed messages: all would cost more than the servers.
const sampleOf = 50

// inflater inflates messages one by one, with the same memory.
type inflater struct {
	in    bytes.Reader
	tail  bytes.Reader
	flate io.ReadCloser
	out   []byte
}

// tail is what the sender left away, and a last empty block that ends the stream.
const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflate returns what p holds, in memory that the next call uses again.
func (f *inflater) inflate(p []byte) ([]byte, error) {
	f.in.Reset(p)
	f.tail.Reset([]byte(tail))
	source := io.MultiReader(&f.in, &f.tail)
	if f.flate == nil {
		f.flate = flate.NewReader(source)
	} else if err := f.flate.(flate.Resetter).Reset(source, nil); err != nil {
		return nil, err
	}
	f.out = f.out[:0]
	for {
		if len(f.out) == cap(f.out) {
			f.out = append(f.out, 0)[:len(f.out)]
		}
		n, err := f.flate.Read(f.out[len(f.out):cap(f.out)])
		f.out = f.out[:len(f.out)+n]
		switch {
		case err == io.EOF:
			return f.out, nil
		case err != nil:
			return nil, err
		case len(f.out) > maxMessage:
			return nil, errors.New("too long")
		}
	}
}
