package wshub

import "sync"

// line is a bounded queue of what other nodes have sent, and what is there to be worked off by one goroutine, which is
// there while something is in line. The zero line is empty.
type line[T any] struct {
	mu      sync.Mutex
	places  []place[T] // guarded by mu
	bytes   int64      // guarded by mu
	working bool       // there is a goroutine; guarded by mu
}

type place[T any] struct {
	v    T
	size int
}

// put adds v unless the line has n places or more than the given bytes; the first is always let in. With start set the
// caller starts the goroutine.
func (l *line[T]) put(v T, size, n int, bytes int64) (start, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := len(l.places); have > 0 && (have >= n || l.bytes+int64(size) > bytes) {
		return false, false
	}
	l.places = append(l.places, place[T]{v, size})
	l.bytes += int64(size)
	start = !l.working
	l.working = true
	return start, true
}

// next takes the first in line. When there is none the goroutine ends.
func (l *line[T]) next() (v T, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.places) == 0 {
		l.places, l.working = nil, false
		return v, false
	}
	first := l.places[0]
	l.places[0] = place[T]{}
	l.places = l.places[1:]
	l.bytes -= int64(first.size)
	return first.v, true
}

// busy reports whether there is a goroutine, so that who comes now has to get in line.
func (l *line[T]) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.working
}

// drop ends the line and its goroutine.
func (l *line[T]) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places, l.bytes, l.working = nil, 0, false
}
