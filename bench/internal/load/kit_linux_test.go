package load

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/wshub-go/wshub/bench/internal/proto"
)

// loader is a load that runs in the test.
type loader struct {
	t   testing.TB
	in  io.WriteCloser
	out *json.Decoder
}

func newLoader(t testing.TB) *loader {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() { // ends with in, which the cleanup closes
		err := Run(inR, outW)
		outW.CloseWithError(io.EOF)
		done <- err
	}()
	t.Cleanup(func() {
		inW.Close()
		outR.Close()
		if err := <-done; err != nil {
			t.Errorf("the load ended with %v", err)
		}
	})
	return &loader{t, inW, json.NewDecoder(outR)}
}

// request sends a request without waiting for its answer.
func (l *loader) request(do string, args any) {
	l.t.Helper()
	b, err := json.Marshal(args)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := json.NewEncoder(l.in).Encode(proto.Request{Do: do, Args: b}); err != nil {
		l.t.Fatalf("%s: %v", do, err)
	}
}

func (l *loader) answer(do string, result any) error {
	l.t.Helper()
	var r proto.Reply
	if err := l.out.Decode(&r); err != nil {
		l.t.Fatalf("%s: %v", do, err)
	}
	if r.Error != "" {
		return fmt.Errorf("%s", r.Error)
	}
	if result != nil {
		if err := json.Unmarshal(r.Result, result); err != nil {
			l.t.Fatalf("%s: %v", do, err)
		}
	}
	return nil
}

// dial connects clients that all have to connect.
func (l *loader) dial(ask proto.Dial) proto.Dialed {
	l.t.Helper()
	l.request(proto.DoDial, ask)
	var r proto.Dialed
	if err := l.answer(proto.DoDial, &r); err != nil {
		l.t.Fatal(err)
	}
	if r.Connected != ask.N || r.Failed != 0 {
		l.t.Fatalf("dialed: %+v", r)
	}
	return r
}

func (l *loader) begin(ask proto.Begin) {
	l.t.Helper()
	l.request(proto.DoBegin, ask)
	if err := l.answer(proto.DoBegin, nil); err != nil {
		l.t.Fatal(err)
	}
}

func (l *loader) end(ask proto.End) proto.Window {
	l.t.Helper()
	l.request(proto.DoEnd, ask)
	var r proto.Window
	if err := l.answer(proto.DoEnd, &r); err != nil {
		l.t.Fatal(err)
	}
	return r
}

func (l *loader) hang(ask proto.Hang) proto.Hung {
	l.t.Helper()
	l.request(proto.DoHang, ask)
	var r proto.Hung
	if err := l.answer(proto.DoHang, &r); err != nil {
		l.t.Fatal(err)
	}
	return r
}

// peer is a server's side of a connection.
type peer struct {
	net.Conn
	id, topic int
	r         *bufio.Reader
}

// serve upgrades what connects and lets handle have it, until the test is over. The address is for Dial.
func serve(t testing.TB, compress bool, handle func(*websocket.Conn, int, int)) string {
	up := websocket.Upgrader{EnableCompression: compress}
	return listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		t.Cleanup(func() { c.Close() }) // before listen waits for the handlers
		id, topic := params(t, r)
		handle(c, id, topic)
	}))
}

// peers is a server that leaves every frame to the test: it only upgrades.
func peers(t testing.TB, n int) (addr string, accepted <-chan *peer) {
	ch := make(chan *peer, n)
	up := websocket.Upgrader{}
	return listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		id, topic := params(t, r)
		t.Cleanup(func() { c.Close() })
		ch <- &peer{Conn: c.NetConn(), id: id, topic: topic, r: bufio.NewReader(c.NetConn())}
	})), ch
}

func params(t testing.TB, r *http.Request) (id, topic int) {
	id, err := strconv.Atoi(r.URL.Query().Get("id"))
	topic, err2 := strconv.Atoi(r.URL.Query().Get("topic"))
	if r.URL.Path != "/ws" || err != nil || err2 != nil {
		t.Errorf("asked for %v", r.URL)
	}
	return id, topic
}

// listen serves until the test is over and all handlers have returned.
func listen(t testing.TB, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var handlers sync.WaitGroup
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		h.ServeHTTP(w, r)
	})}
	done := make(chan struct{})
	go func() { // ends with the Close below
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
		handlers.Wait()
	})
	return l.Addr().String()
}

// collect takes n peers, in the order of their ids.
func collect(t testing.TB, accepted <-chan *peer, n int) []*peer {
	all := make([]*peer, n)
	for range n {
		p := <-accepted
		all[p.id] = p
	}
	return all
}

// frame is a server's frame.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// payload is one of size bytes, published now.
func payload(size int, window, key, number uint32) []byte {
	p := proto.Fill(size, "x")
	proto.Set(p, window, key, number, proto.Now())
	return p
}

func (p *peer) write(t testing.TB, b []byte) {
	t.Helper()
	if _, err := p.Write(b); err != nil {
		t.Fatalf("write to %d: %v", p.id, err)
	}
}

// next reads a client's frame.
func (p *peer) next(t testing.TB) (first byte, payload []byte) {
	t.Helper()
	var h [2]byte
	p.read(t, h[:])
	size := int(h[1] &^ masked)
	if h[1]&masked == 0 {
		t.Fatalf("client %d sent an unmasked frame", p.id)
	}
	switch size {
	case 126:
		var b [2]byte
		p.read(t, b[:])
		size = int(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		p.read(t, b[:])
		size = int(binary.BigEndian.Uint64(b[:]))
	}
	var mask [4]byte
	p.read(t, mask[:])
	payload = make([]byte, size)
	p.read(t, payload)
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return h[0], payload
}

func (p *peer) read(t testing.TB, b []byte) {
	t.Helper()
	if _, err := io.ReadFull(p.r, b); err != nil {
		t.Fatalf("read from %d: %v", p.id, err)
	}
}
