package wshub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/internal/wire"
	"github.com/wshub-go/wshub/wshubtest"
)

// One frame published to 1,000 sessions that negotiated compression, and to others that did not, is deflated once, and only
// the first get it so. Where nobody negotiated it, or the text is below the threshold, nothing is deflated.
func TestPitfall24DeflatedOnce(t *testing.T) {
	h := newHub(t, wshub.WithCompression(64))
	topic := newTopic[string](t, h, "texts", wshub.Policy{})
	plain, cc := sessions(t, h, 100)
	join(t, topic, plain...)
	text, short := strings.Repeat("over and over ", 100), strings.Repeat("x", 63)
	before := wire.Deflations()
	seen := map[*wshubtest.Client]int64{} // bytes
	expect := func(text string, deflations uint64) {
		t.Helper()
		publish(t, topic, text)
		for _, c := range cc {
			c.ExpectText(text)
			n := c.Received().Wire - seen[c]
			seen[c] += n
			if small := c.Compressed() && len(text) > 64; (n < 200) != (small || len(text) < 64) {
				t.Fatalf("%d bytes came, compression negotiated: %v", n, c.Compressed())
			}
		}
		if n := wire.Deflations() - before; n != deflations {
			t.Errorf("deflated %d times, want %d", n, deflations)
		}
	}
	expect(text, 0)
	compressed, more := sessions(t, h, 1000, wshubtest.WithCompression())
	join(t, topic, compressed...)
	cc = append(cc, more...)
	expect(text, 1)
	expect(short, 1)
	for _, c := range cc {
		c.Abort()
	}
}

// What compresses is some 650 KB, and shared: sessions that have all got a message of their own, compressed for each, hold
// none of it.
func TestPitfall24SessionsHoldNoDeflater(t *testing.T) {
	const n = 200
	heap := func() int64 {
		var m runtime.MemStats
		for range 3 { // pools empty in two
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	h := newHub(t, wshub.WithCompression(64))
	ss, cc := sessions(t, h, n, wshubtest.WithCompression())
	idle, before := heap(), wire.Deflations()
	for i, s := range ss {
		text := strings.Repeat(strconv.Itoa(i), 100)
		if err := s.Send(t.Context(), wshub.Text(text)); err != nil {
			t.Fatal(err)
		}
		cc[i].ExpectText(text)
	}
	if got := wire.Deflations() - before; got != n {
		t.Errorf("deflated %d times, want %d", got, n)
	}
	if grown := (heap() - idle) / n; grown > 32<<10 {
		t.Errorf("each session holds %d bytes more than before", grown)
	}
	for _, c := range cc {
		c.Abort()
	}
}

// 100,000 values in a burst to 100 clients that read, over real sockets, under the default policy: all arrive, in order,
// and nobody is evicted. Beside them a client that never reads is, and costs the others nothing.
//
// A grace is wall time: while a bare loop that writes the same bytes to as many sockets needs a fifth of it, before or
// after, the machine is busy elsewhere and a failure tells nothing about the hub. Then the burst is repeated, as it is the
// first two times that the bare loop met quieter moments.
func TestPitfall61Burst(t *testing.T) {
	const clients, values, attempts = 100, 100_000, 20
	grace := 250 * time.Millisecond // of the default policy
	if wshub.RaceEnabled {
		grace = 5 * time.Second // all is that much slower; make test also runs this without
	}
	var want []byte // the bytes that each client has to get
	for i := range values {
		want = wire.AppendFrame(want, wire.OpText, strconv.AppendInt(nil, int64(i), 10))
	}
	for _, stalled := range []int{0, 1} {
		t.Run(fmt.Sprintf("%d stalled", stalled), func(t *testing.T) {
			failures := 0
			for attempt := 1; ; attempt++ {
				floor := bareBurst(t, clients, want)
				err := burst(t, clients, stalled, values, grace, want)
				if err == nil {
					return
				}
				floor = max(floor, bareBurst(t, clients, want))
				if floor < grace/5 {
					failures++
				}
				if failures == 3 || attempt == attempts {
					t.Fatalf("attempt %d: %v; a bare loop takes %v", attempt, err, floor)
				}
				t.Logf("attempt %d: %v; but a bare loop takes %v", attempt, err, floor)
			}
		})
	}
}

func burst(t *testing.T, clients, stalled, values int, grace time.Duration, want []byte) error {
	h, err := wshub.New(wshub.WithWriteTimeout(time.Minute)) // longer than the grace
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var p wshub.Policy
	if grace != 250*time.Millisecond {
		p = wshub.Evict(1024, grace)
	}
	topic := newTopic[string](t, h, "numbers", p)
	arrived := make(chan *wshub.Session)
	server := wshubtest.Server(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
		if err := topic.Join(ctx, s); err != nil {
			return err
		}
		arrived <- s
		for range s.Messages() {
		}
		return nil
	}))
	read := make(chan error, clients)
	for range clients {
		conn := dialRaw(t, server.URL())
		defer conn.Close()
		<-arrived
		go func() { read <- expectBytes(conn, want) }()
	}
	slow := make(map[*wshub.Session]net.Conn)
	for range stalled {
		conn := dialRaw(t, server.URL()) // and never read
		defer conn.Close()
		slow[<-arrived] = conn
	}
	for i := range values {
		if err := topic.Publish(t.Context(), strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	for range clients {
		err = errors.Join(err, <-read)
	}
	if err != nil {
		return fmt.Errorf("%w; %+v", err, topic.Stats())
	}
	for s, conn := range slow {
		for s.Err() == nil { // what the kernel holds for it is little: these make sure that it lags
			publish(t, topic, strings.Repeat("x", 1<<16))
		}
		conn.Close()
		<-s.Done()
		if !errors.Is(s.Err(), wshub.ErrSlow) {
			t.Errorf("the stalled client's session ended with %v", s.Err())
		}
	}
	a := topic.Stats()
	for ; a.Sent < uint64(clients*values); a = topic.Stats() {
		runtime.Gosched() // the worker that wrote the last bytes is about to count them
	}
	if got := h.Stats().Evicted; got < uint64(stalled) || stalled == 0 && (got > 0 || topic.Len() != clients) ||
		a.Sent < uint64(clients*values) || a.Offered != a.Sent+a.Evicted+a.Undelivered+a.Pending {
		t.Errorf("%d evicted, %d members, account %+v", got, topic.Len(), a)
	}
	return nil
}

// bareBurst returns how long goroutines that do nothing but write take to bring the same bytes to as many clients.
func bareBurst(t *testing.T, clients int, want []byte) time.Duration {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	writers := make([]net.Conn, clients)
	read := make(chan error, clients)
	for i := range clients {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if writers[i], err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
		defer writers[i].Close()
		go func() { read <- expectBytes(conn, want) }()
	}
	start := time.Now()
	for _, w := range writers {
		go w.Write(want)
	}
	for range clients {
		if err := <-read; err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(start)
}

// dialRaw returns a connection that has been upgraded, closed with the test.
func dialRaw(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	upgradeRaw(t, conn)
	return conn
}

// upgradeRaw makes a WebSocket connection of conn.
func upgradeRaw(t *testing.T, conn net.Conn) {
	t.Helper()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatalf("after %q: %v", head, err)
		}
		head = append(head, b[0])
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("answer %q", head)
	}
}

// expectBytes reads as fast as it can and compares.
func expectBytes(r io.Reader, want []byte) error {
	buf := make([]byte, 64<<10)
	for at := 0; at < len(want); {
		n, err := r.Read(buf[:min(len(buf), len(want)-at)])
		if !bytes.Equal(buf[:n], want[at:at+n]) {
			return fmt.Errorf("other bytes than expected between %d and %d", at, at+n)
		}
		if at += n; err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", at, len(want), err)
		}
	}
	return nil
}

func TestAllocs(t *testing.T) {
	if wshub.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	h := newHub(t)
	// The clients take nothing, so what is counted is the hub's; their connections hold all of it.
	ss, cc := sessions(t, h, 3, wshubtest.WithBuffer(4<<20))
	for _, c := range cc {
		c.Stall()
		defer c.Abort()
	}
	s := ss[0]
	flat := newTopic[price](t, h, "flat", wshub.Policy{})
	binary := newTopic[[]byte](t, h, "bytes", wshub.Policy{})
	messages := newTopic[wshub.Message](t, h, "messages", wshub.Policy{})
	event := newTopic(t, h, "event", wshub.Policy{}, wshub.AsEvent[price]("price"))
	messageEvent := newTopic(t, h, "message event", wshub.Policy{}, wshub.AsEvent[wshub.Message]("m"))
	coded := newTopic(t, h, "coded", wshub.Policy{}, wshub.WithCodec[price](longhand{}))
	join(t, flat, ss...)
	join(t, coded, ss...)
	join(t, event, ss...)
	join(t, messageEvent, ss...)
	join(t, binary, ss...)
	join(t, messages, ss...)
	ctx := context.Background()
	payload := make([]byte, 128)
	message := wshub.Text(strings.Repeat("x", 128))
	jsonText := wshub.Text(`{"n":1}`)
	attr := wshub.NewAttr[int]("n")
	attr.Set(s, 1)
	for _, tt := range []struct {
		name string
		max  float64
		f    func() error
	}{
		{"publish a flat struct", 3, func() error { return flat.Publish(ctx, price{"A", 1}) }},
		{"publish an event", 3, func() error { return event.Publish(ctx, price{"A", 1}) }},
		{"publish a message as an event", 3, func() error { return messageEvent.Publish(ctx, jsonText) }},
		{"publish with a codec", 3, func() error { return coded.Publish(ctx, price{"A", 1}) }},
		{"publish bytes", 3, func() error { return binary.Publish(ctx, payload) }},
		{"publish a message", 3, func() error { return messages.Publish(ctx, message) }},
		{"send to a session", 1, func() error { return s.Send(ctx, message) }},
		{"send to an id", 1, func() error { return h.To(s.ID()).Send(ctx, message) }},
		{"look a session up", 0, func() error { _, ok := h.Session(s.ID()); return want(ok) }},
		{"count sessions", 0, func() error { return want(h.Len() == 3) }},
		{"count members", 0, func() error { return want(flat.Len() == 3) }},
		{"ask for a member", 0, func() error { return want(flat.Has(s)) }},
		{"get an attribute", 0, func() error { v, ok := attr.Get(s); return want(ok && v == 1) }},
	} {
		var err error
		got := tt.max + 1
		for range 5 { // the garbage collector may empty a pool
			for h.Stats().Topics.Pending > 0 { // while a worker owns the session, messages to it wait
				runtime.Gosched()
			}
			got = min(got, testing.AllocsPerRun(200, func() { err = errors.Join(err, tt.f()) }))
		}
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got > tt.max {
			t.Errorf("%s: %v allocations, at most %v", tt.name, got, tt.max)
		}
	}
}

// longhand is a codec whose messages are longer than what a buffer begins with.
type longhand struct{}

func (longhand) Append(dst []byte, p price) ([]byte, wshub.Kind, error) {
	for range 100 {
		dst = strconv.AppendInt(append(dst, p.Symbol...), int64(p.Value), 10)
	}
	return dst, wshub.KindText, nil
}

func want(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("not so")
}
