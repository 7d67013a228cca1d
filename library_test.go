package wshub_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// These tests show that a session has none of the habits of the WebSocket library below it.

// A client that pings and talks, and for a while reads nothing, loses neither its session nor its messages: what the library
// would write itself has 5 s.
func TestPitfall53PingsOfAStalledClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithWriteTimeout(time.Hour), wshub.WithKeepAlive(0, 0))
		ss, cc := sessions(t, h, 1, wshubtest.WithBuffer(1<<10))
		s, c := ss[0], cc[0]
		topic := newTopic[[]byte](t, h, "t", wshub.Evict(100, time.Hour))
		join(t, topic, s)
		c.Stall()
		big := make([]byte, 5000)
		publish(t, topic, big)
		synctest.Wait() // its frame is begun
		for i := range 10 {
			c.Ping(fmt.Sprint(i))
			c.SendText("hi")
			time.Sleep(7 * time.Second)
		}
		if err := s.Err(); err != nil {
			t.Fatalf("the session ended: %v", err)
		}
		publish(t, topic, []byte("last"))
		c.Resume()
		c.ExpectBinary(big)
		c.ExpectPong("9")
		c.ExpectBinary([]byte("last"))
		if n := c.Received().Pong; n != 1 {
			t.Errorf("%d pongs, want the newest", n)
		}
	})
}

// A close beside half a frame is told at once, whoever closes, and over within the time for the client's answer.
func TestPitfall53CloseAgainstHalfAFrame(t *testing.T) {
	text := wshubtest.Frame(true, wshubtest.OpText, []byte("hello"))
	for name, half := range map[string][]byte{
		"a byte":        text[:1],
		"half a header": text[:4],
		"half a frame":  text[:8],
		"a fragment":    wshubtest.Frame(false, wshubtest.OpText, []byte("he")),
		"half a ping":   wshubtest.Frame(true, wshubtest.OpPing, []byte("ping"))[:8],
		"half a close":  wshubtest.Frame(true, wshubtest.OpClose, []byte("\x03\xe8bye"))[:7],
	} {
		for closer, f := range map[string]func(*wshub.Hub, *wshub.Session) error{
			"session":  func(_ *wshub.Hub, s *wshub.Session) error { return s.Close(1001, "") },
			"audience": func(h *wshub.Hub, _ *wshub.Session) error { return h.Everyone().Close(context.Background(), 1001, "") },
			"shutdown": func(h *wshub.Hub, _ *wshub.Session) error { return h.Shutdown(context.Background()) },
		} {
			t.Run(name+"/"+closer, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHub(t, wshub.WithKeepAlive(0, 0), wshub.WithMessageTimeout(0))
					ss, cc := sessions(t, h, 1, wshubtest.WithoutCloseEcho())
					cc[0].SendRaw(half)
					synctest.Wait()
					start := time.Now()
					over := make(chan error)
					go func() { over <- f(h, ss[0]) }()
					cc[0].ExpectClose(1001)
					if d := time.Since(start); d != 0 {
						t.Errorf("the close frame came after %v", d)
					}
					if err := <-over; err != nil {
						t.Error(err)
					}
					<-ss[0].Done()
					if d := time.Since(start); d > 5*time.Second {
						t.Errorf("it took %v", d)
					}
				})
			})
		}
	}
}

// What no client may send is answered with a close frame at once, whose reason is text, and reaches no handler.
func TestPitfall54ViolationsAreAnswered(t *testing.T) {
	const mask = "\x00\x00\x00\x00"
	for _, x := range []struct {
		name, sent string
		code       int
	}{
		{"unmasked", "\x81\x02hi", 1002},
		{"2^63 bytes", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" + mask, 1002},
		{"2^62 bytes", "\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00" + mask, 1009},
		{"16 bits for a length of 5", "\x81\xfe\x00\x05" + mask + "hello", 1002},
		{"64 bits for a length of 5", "\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05" + mask + "hello", 1002},
		{"text that is not UTF-8", "\x81\x83" + mask + "a\xffb", 1007},
		{"close reason that is not UTF-8", "\x88\x84" + mask + "\x03\xe8\xff\xfe", 1007},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				ended := make(chan *wshub.Session, 1)
				c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
					for m := range s.Messages() {
						t.Errorf("the handler got %q", m.Data)
					}
					ended <- s
					return nil
				}))
				start := time.Now()
				c.SendRaw([]byte(x.sent))
				if reason := c.ExpectClose(x.code); reason == "" || !utf8.ValidString(reason) {
					t.Errorf("the close frame's reason is %q", reason)
				}
				if d := time.Since(start); d != 0 {
					t.Errorf("the close frame came after %v", d)
				}
				s := <-ended
				<-s.Done()
				if err := s.Err(); !errors.Is(err, &wshub.CloseError{Code: wshub.StatusCode(x.code)}) {
					t.Errorf("Err is %v, want %d", err, x.code)
				}
			})
		})
	}
}

// Over a real socket, a client that speaks first: its bytes come with its request, and net/http has read some or all of them by
// the time of the hijack.
func TestPitfall55ClientsThatSpeakFirst(t *testing.T) {
	h := newHub(t)
	handler := h.Handler(func(ctx context.Context, s *wshub.Session) error {
		for m := range s.Messages() {
			if err := s.Send(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
	wrapped := func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(wrappedWriter{w}, r) }
	plain, behind := wshubtest.Server(t, handler), wshubtest.Server(t, http.HandlerFunc(wrapped))
	text := func(s string) []byte { return wshubtest.Frame(true, wshubtest.OpText, []byte(s)) }
	long := strings.Repeat("x", 10_000) // more than net/http's buffer
	half := text("in two pieces")
	for name, x := range map[string]struct {
		early, later []byte
		want         []string
	}{
		"a byte":               {half[:1], half[1:], []string{"in two pieces"}},
		"a message":            {text("early"), nil, []string{"early"}},
		"messages and a piece": {append(append(text("early"), text("")...), half[:9]...), half[9:], []string{"early", "", "in two pieces"}},
		"a long one":           {append(text(long), half[:1]...), half[1:], []string{long, "in two pieces"}},
	} {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for i := range 75 {
				srv := plain
				if i%3 == 0 {
					srv = behind
				}
				wg.Go(func() {
					c, _, err := srv.TryDialTCP(wshubtest.WithEarly(x.early))
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Abort()
					if err := c.TrySendRaw(slices.Concat(x.later, text("later"))); err != nil {
						t.Error(err)
					}
					for _, want := range slices.Concat(x.want, []string{"later"}) {
						if m, ok := c.Next(); !ok || string(m.Data) != want {
							t.Errorf("got %.20q of %d bytes, %v, want %.20q of %d", m.Data, len(m.Data), c.Err(), want, len(want))
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// wrappedWriter is what middleware makes of a ResponseWriter.
type wrappedWriter struct{ http.ResponseWriter }

func (w wrappedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// However a session ends, its connection is freed: the library keeps one that it has not closed for good, with 20 KB.
func TestPitfall56ConnectionsAreFreed(t *testing.T) {
	client := func(frame []byte) func(*wshub.Hub, *wshub.Session, net.Conn) {
		return func(_ *wshub.Hub, _ *wshub.Session, c net.Conn) { c.Write(frame) }
	}
	for name, x := range map[string]struct {
		opts []wshub.Option
		end  func(*wshub.Hub, *wshub.Session, net.Conn)
	}{
		"the client closes":   {nil, client(wshubtest.Frame(true, wshubtest.OpClose, nil))},
		"the client vanishes": {nil, func(_ *wshub.Hub, _ *wshub.Session, c net.Conn) { c.Close() }},
		"a violation":         {nil, client([]byte("\x81\x02hi"))},
		"not UTF-8":           {nil, client(wshubtest.Frame(true, wshubtest.OpText, []byte("\xff")))},
		"the handler returns": {nil, client(wshubtest.Frame(true, wshubtest.OpText, []byte("return")))},
		"the handler panics":  {[]wshub.Option{wshub.WithLogger(nil)}, client(wshubtest.Frame(true, wshubtest.OpText, []byte("panic")))},
		"half a message":      {[]wshub.Option{wshub.WithMessageTimeout(time.Millisecond)}, client([]byte("\x81"))},
		"half a ping":         {[]wshub.Option{wshub.WithMessageTimeout(time.Millisecond)}, client([]byte("\x89\x85"))},
		"silence":             {[]wshub.Option{wshub.WithKeepAlive(time.Millisecond, time.Millisecond)}, client(nil)},
		"not admitted":        {[]wshub.Option{wshub.WithAdmission(time.Millisecond)}, client(nil)},
		"closed":              {nil, func(_ *wshub.Hub, s *wshub.Session, _ net.Conn) { s.Close(1000, "") }},
		"kicked":              {nil, func(h *wshub.Hub, _ *wshub.Session, _ net.Conn) { h.Everyone().Close(context.Background(), 4000, "") }},
		"the hub closes":      {nil, func(h *wshub.Hub, _ *wshub.Session, _ net.Conn) { h.Close() }},
		"too slow": {[]wshub.Option{wshub.WithPolicy(wshub.Evict(1, 0))}, func(h *wshub.Hub, s *wshub.Session, _ net.Conn) {
			for s.Err() == nil {
				h.Everyone().Send(context.Background(), wshub.Binary(make([]byte, 1<<16)))
			}
		}},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%v", name, secure), func(t *testing.T) {
				var taken, freed atomic.Int64
				h := newHub(t, x.opts...)
				arrived := make(chan *wshub.Session)
				srv := httptest.NewUnstartedServer(h.Handler(func(ctx context.Context, s *wshub.Session) error {
					arrived <- s
					if m, ok := <-s.Messages(); ok && m.Text() == "panic" {
						panic("on purpose")
					}
					return nil
				}))
				srv.Config.ConnState = func(c net.Conn, state http.ConnState) {
					if state != http.StateHijacked {
						return
					}
					taken.Add(1)
					switch c := c.(type) {
					case *net.TCPConn:
						runtime.AddCleanup(c, func(n *atomic.Int64) { n.Add(1) }, &freed)
					case *tls.Conn:
						runtime.AddCleanup(c, func(n *atomic.Int64) { n.Add(1) }, &freed)
					}
				}
				if secure {
					srv.StartTLS()
				} else {
					srv.Start()
				}
				defer srv.Close()
				conn, err := net.Dial("tcp", srv.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if secure {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				upgradeRaw(t, conn)
				func() {
					s := <-arrived
					x.end(h, s, conn)
					io.Copy(io.Discard, conn) // until the close frame has come
					conn.Close()
					<-s.Done()
				}()
				for end := time.Now().Add(10 * time.Second); freed.Load() < 1; time.Sleep(time.Millisecond) {
					runtime.GC()
					if time.Now().After(end) {
						t.Fatalf("%d connections were taken over, %d are free", taken.Load(), freed.Load())
					}
				}
			})
		}
	}
}
