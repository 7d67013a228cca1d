package wire

import (
	"net"
	"os"
	"sync"
	"time"
)

// A flusher is the outlet of connections that cannot be written without waiting: TLS, pipes, and every socket on systems
// without a usable descriptor. It accepts up to limit bytes and writes them from a goroutine that the first byte starts
// and that ends when nothing is left, so that an idle connection has neither goroutine nor buffer.
type flusher struct {
	conn    net.Conn
	limit   int
	timeout time.Duration // for each write of what was accepted; 0: none
	broken  func(error)   // told when a write has failed

	mu       sync.Mutex    // guards the rest; never held across a write
	buf      []byte        // accepted, not yet handed to a write
	inflight int           // bytes the goroutine is writing
	running  bool          // the goroutine exists
	err      error         // sticky: nothing is accepted any more
	room     chan struct{} // closed when bytes have left or err was set; nil while nobody waits
	done     func()        // half-close when empty, then call it; nil: not asked to
}

// tryWrite never waits for the connection.
func (f *flusher) tryWrite(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	n := min(len(b), max(f.limit-f.inflight-len(f.buf), 0))
	if n == 0 {
		return 0, nil
	}
	f.buf = append(f.buf, b[:n]...)
	f.startLocked()
	return n, nil
}

func (f *flusher) writeAll(b []byte, timeout time.Duration) (int, error) {
	var late <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		late = t.C
	}
	total := 0
	for {
		// The channel is taken before the attempt: room that appears between the two is seen.
		room := f.waitRoom()
		n, err := f.tryWrite(b[total:])
		total += n
		if err != nil || total == len(b) {
			return total, err
		}
		select {
		case <-room:
		case <-late:
			return total, os.ErrDeadlineExceeded
		}
	}
}

func (f *flusher) waitRoom() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room == nil {
		f.room = make(chan struct{})
	}
	return f.room
}

func (f *flusher) finish(done func()) {
	f.mu.Lock()
	if f.err == nil {
		f.done = done
		f.startLocked()
		done = nil
	}
	f.mu.Unlock()
	if done != nil {
		done()
	}
}

func (f *flusher) abort() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failLocked(net.ErrClosed)
}

// failLocked records the first error and wakes whoever waits.
func (f *flusher) failLocked(err error) {
	if f.err == nil {
		f.err = err
	}
	f.buf = nil
	f.notifyLocked()
}

func (f *flusher) notifyLocked() {
	if f.room != nil {
		close(f.room)
		f.room = nil
	}
}

// startLocked makes sure that somebody writes. The goroutine belongs to the flusher; it ends when nothing is left to
// write, or when a write fails, as it does once the connection is closed.
func (f *flusher) startLocked() {
	if !f.running {
		f.running = true
		go f.run()
	}
}

func (f *flusher) run() {
	var spare []byte
	for {
		f.mu.Lock()
		if f.err != nil || len(f.buf) == 0 {
			done, failed := f.done, f.err != nil
			f.done, f.buf = nil, nil
			if done == nil {
				f.running = false
				f.mu.Unlock()
				return
			}
			// Still running: the half-close is a write too, and may wait.
			f.mu.Unlock()
			if !failed {
				closeWrite(f.conn)
			}
			done()
			continue
		}
		out := f.buf
		f.buf, f.inflight = spare[:0], len(out)
		f.mu.Unlock()

		_, err := writeWithin(f.conn, out, f.timeout)

		f.mu.Lock()
		f.inflight = 0
		aborted := f.err != nil
		if err != nil {
			f.failLocked(err) // in one step with the room it makes: nobody's bytes are accepted any more
		} else {
			f.notifyLocked()
		}
		f.mu.Unlock()
		if err != nil && !aborted {
			f.broken(err)
		}
		spare = out
	}
}
