package fanout

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
	"github.com/wshub-go/wshub/internal/wire"
)

// unlimited is the room of a connection whose peer reads.
const unlimited = math.MaxInt32

// fakeConn is a connection whose peer reads when the test says so: it has room for a number of bytes, takes what fits
// and parses it into frames.
type fakeConn struct {
	hook      func() // called by every TryWrite, under no lock; set before use
	compress  bool
	threshold int

	mu      sync.Mutex
	room    int
	more    chan struct{} // closed when room grows or err is set; nil while nobody waits
	err     error         // of every later write
	rest    []byte        // of a frame not complete
	frames  []string      // payloads of complete frames, oldest first
	control []byte        // waits for TakeControl
	last    bool
	writes  int
	closed  int // calls of CloseSent
}

func newConn() *fakeConn { return &fakeConn{room: unlimited} }

// stall leaves room for n more bytes, resume for any number.
func (c *fakeConn) stall(n int) { c.setRoom(n) }
func (c *fakeConn) resume()     { c.setRoom(unlimited) }

func (c *fakeConn) setRoom(n int) {
	c.mu.Lock()
	c.room = n
	c.wakeLocked()
	c.mu.Unlock()
}

func (c *fakeConn) fail(err error) {
	c.mu.Lock()
	c.err = err
	c.wakeLocked()
	c.mu.Unlock()
}

func (c *fakeConn) wakeLocked() {
	if c.more != nil {
		close(c.more)
		c.more = nil
	}
}

func (c *fakeConn) takeLocked(b []byte) int {
	n := min(len(b), c.room)
	if c.room != unlimited {
		c.room -= n
	}
	c.rest = append(c.rest, b[:n]...)
	for {
		payload, size := parseFrame(c.rest)
		if size == 0 {
			return n
		}
		c.frames = append(c.frames, string(payload))
		c.rest = c.rest[:copy(c.rest, c.rest[size:])]
	}
}

// parseFrame returns the payload and the size of the first frame of b; the size is 0 when it is not complete.
func parseFrame(b []byte) (payload []byte, size int) {
	if len(b) < 2 {
		return nil, 0
	}
	at, n := 2, int(b[1])
	switch n {
	case 126:
		if len(b) < 4 {
			return nil, 0
		}
		at, n = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return nil, 0
		}
		at, n = 10, int(binary.BigEndian.Uint64(b[2:]))
	}
	if len(b) < at+n {
		return nil, 0
	}
	return b[at : at+n], at + n
}

func (c *fakeConn) TryWrite(b []byte) (int, error) {
	if c.hook != nil {
		c.hook()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	if c.err != nil {
		return 0, c.err
	}
	return c.takeLocked(b), nil
}

func (c *fakeConn) WriteAll(b []byte, timeout time.Duration) (n int, err error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		c.mu.Lock()
		if c.err != nil {
			defer c.mu.Unlock()
			return n, c.err
		}
		k := c.takeLocked(b)
		n, b = n+k, b[k:]
		if len(b) == 0 {
			c.mu.Unlock()
			return n, nil
		}
		if c.more == nil {
			c.more = make(chan struct{})
		}
		more := c.more
		c.mu.Unlock()
		select {
		case <-more:
		case <-timer.C:
			return n, fmt.Errorf("write: %w", os.ErrDeadlineExceeded)
		}
	}
}

// queueControl puts a control frame on the lane; the caller visits.
func (c *fakeConn) queueControl(op wire.Opcode, payload string) {
	c.mu.Lock()
	c.control = wire.AppendFrame(c.control, op, []byte(payload))
	c.last = c.last || op == wire.OpClose
	c.mu.Unlock()
}

func (c *fakeConn) HasControl() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.control) > 0
}

func (c *fakeConn) TakeControl(dst []byte) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dst = append(dst, c.control...)
	c.control = nil
	return dst, c.last
}

func (c *fakeConn) CloseSent() {
	c.mu.Lock()
	c.closed++
	c.mu.Unlock()
}

func (c *fakeConn) Compressed() bool       { return c.compress }
func (c *fakeConn) CompressThreshold() int { return c.threshold }

// received returns the payloads of all complete frames, oldest first.
func (c *fakeConn) received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.frames)
}

// fakeFeed is a channel-like subscriber with room for a number of values.
type fakeFeed struct {
	mu     sync.Mutex
	room   int
	more   chan struct{}
	gone   bool
	values []string
}

func (f *fakeFeed) set(room int, gone bool) {
	f.mu.Lock()
	f.room, f.gone = room, gone
	if f.more != nil {
		close(f.more)
		f.more = nil
	}
	f.mu.Unlock()
}

func (f *fakeFeed) TryPut(e *queue.Entry) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room <= 0 {
		return false
	}
	f.room--
	f.values = append(f.values, fmt.Sprint(e.Value))
	return true
}

func (f *fakeFeed) Put(e *queue.Entry) bool {
	for {
		if f.TryPut(e) {
			return true
		}
		f.mu.Lock()
		if f.gone {
			f.mu.Unlock()
			return false
		}
		if f.room > 0 {
			f.mu.Unlock()
			continue
		}
		if f.more == nil {
			f.more = make(chan struct{})
		}
		more := f.more
		f.mu.Unlock()
		<-more
	}
}

func (f *fakeFeed) received() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.values)
}

// fakeOwner notes what it is told.
type fakeOwner struct {
	mu      sync.Mutex
	slow    []*Topic
	failed  []error
	flushed int
	closed  int
	dropped map[*Topic]uint64
	onSlow  func()
	at      time.Time // of Slow
}

func (o *fakeOwner) Slow(t *Topic) {
	o.mu.Lock()
	o.slow, o.at = append(o.slow, t), time.Now()
	f := o.onSlow
	o.mu.Unlock()
	if f != nil {
		f()
	}
}

func (o *fakeOwner) Failed(err error) {
	o.mu.Lock()
	o.failed = append(o.failed, err)
	o.mu.Unlock()
}

func (o *fakeOwner) Flushed() {
	o.mu.Lock()
	o.flushed++
	o.mu.Unlock()
}

func (o *fakeOwner) CloseSent() {
	o.mu.Lock()
	o.closed++
	o.mu.Unlock()
}

func (o *fakeOwner) Dropped(t *Topic, n uint64) {
	o.mu.Lock()
	if o.dropped == nil {
		o.dropped = make(map[*Topic]uint64)
	}
	o.dropped[t] += n
	o.mu.Unlock()
}

// state returns how often each hook was called, in one comparable value.
type told struct{ slow, failed, flushed, closed int }

func (o *fakeOwner) told() told {
	o.mu.Lock()
	defer o.mu.Unlock()
	return told{len(o.slow), len(o.failed), o.flushed, o.closed}
}

// lossless is the rule of tests that are not about policies.
var lossless = &Rule{Overflow: Evict, N: 1 << 20, Age: time.Hour}

// client is a subscriber with its connection and owner.
type client struct {
	*Subscriber
	conn  *fakeConn
	owner *fakeOwner
}

func newClient(e *Engine) *client {
	c := &client{conn: newConn(), owner: new(fakeOwner)}
	c.Subscriber = e.NewSubscriber(c.conn, c.owner)
	return c
}

func (c *client) join(t testing.TB, topic *Topic, r *Rule) *Member {
	t.Helper()
	m, err := topic.Join(c.Subscriber, r, nil, 0)
	if err != nil {
		t.Fatalf("Join: %v", err)
	}
	return m
}

// newTopic returns a topic with bounds that no test meets by accident.
func newTopic(e *Engine) *Topic {
	return e.NewTopic(TopicConfig{MaxPending: 1 << 20, MaxBytes: 1 << 30, MaxKeys: 1 << 16})
}

// entry returns a text whose value is the text.
func entry(text string) *queue.Entry {
	e := &queue.Entry{Value: text}
	e.Frame.Init(wire.OpText, []byte(text))
	e.Size = e.Frame.Len()
	return e
}

// keyed returns an entry with a key.
func keyed(key any, text string) *queue.Entry {
	e := entry(text)
	e.Key = key
	return e
}

func publish(t testing.TB, topic *Topic, texts ...string) {
	t.Helper()
	for _, text := range texts {
		publishEntry(t, topic, entry(text))
	}
}

// publishEntry publishes without waiting: no test here expects a full log.
func publishEntry(t testing.TB, topic *Topic, e *queue.Entry) {
	t.Helper()
	if err := topic.TryPublish(e); err != nil {
		t.Fatalf("TryPublish: %v", err)
	}
}

func send(t testing.TB, s *Subscriber, text string) {
	t.Helper()
	if err := s.TrySend(entry(text)); err != nil {
		t.Fatalf("TrySend: %v", err)
	}
}

// wants fails unless got is what the space-separated want says.
func wants(t testing.TB, what string, got []string, want string) {
	t.Helper()
	if w := strings.Fields(want); !slices.Equal(got, w) {
		t.Errorf("%s received %q, want %q", what, got, w)
	}
}

// balanced fails unless the account adds up.
func balanced(t testing.TB, what string, a Tally) {
	t.Helper()
	if a.Offered != a.decided()+a.Pending || a.Pending > a.Offered {
		t.Errorf("%s: account does not add up: %+v", what, a)
	}
}

// bubble runs f in fake time with an engine and then checks that the engine has come to rest and left nothing behind in
// topics that f returned.
func bubble(t *testing.T, cfg Config, f func(t *testing.T, e *Engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := New(cfg)
		f(t, e)
		if err := e.Wait(context.Background()); err != nil {
			t.Errorf("Wait: %v", err)
		}
		synctest.Wait()
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.running != 0 || e.workers != 0 || len(e.runs) != 0 || len(e.active) != 0 {
			t.Errorf("engine at rest: running %d, workers %d, runs %d, active %d", e.running, e.workers, len(e.runs), len(e.active))
		}
	})
}

// resting fails unless the topic's log is trimmed to its head and nobody has a claim: everybody caught up.
func resting(t testing.TB, topic *Topic) {
	t.Helper()
	topic.lagMu.Lock()
	lag := len(topic.lag)
	topic.lagMu.Unlock()
	n, _ := topic.log.Retained()
	if lag != 0 || topic.cfg.History == 0 && n != 0 {
		t.Errorf("topic at rest: %d claims, %d entries retained", lag, n)
	}
}
