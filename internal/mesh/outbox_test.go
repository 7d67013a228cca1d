package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

func text(s string) Outgoing { return Outgoing{Payload: Payload{Data: []byte(s)}} }

// TestPublish: a value arrives as it was published.
func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, cluster.WithEcho())
		a, b := newPlane(t, m.Bus()), newPlane(t, m.Bus(), func(c *Config) { c.Node = "there" })
		here, there := &planeTopic{}, &planeTopic{}
		topic, far := a.Topic("a room", 3, here), b.Topic("a room", 8, there)
		topic.Want()
		far.Want()
		synctest.Wait()
		time.Sleep(time.Second)
		received := a.Stats()
		if epoch, number := topic.Next(); epoch != 3 || number != 1 {
			t.Errorf("next is %d of %d", number, epoch)
		}
		data := []byte("hello")
		topic.Publish(Outgoing{Payload: Payload{Binary: true, Data: data}, Key: []byte("key")})
		data[0] = 'J'
		topic.Publish(Outgoing{Key: make([]byte, MaxKey+1)})
		topic.Publish(Outgoing{Key: []byte{}})
		synctest.Wait()
		values := there.take()
		if len(values) != 3 {
			t.Fatalf("%d values", len(values))
		}
		v := values[0]
		if !v.Binary || string(v.Data) != "hello" || string(v.Key) != "key" || v.Epoch != 3 || v.Number != 1 || v.Origin != a.Origin() || !v.Time.Equal(time.Now()) {
			t.Errorf("received %+v", v)
		}
		if v := values[1]; v.Binary || len(v.Data) != 0 || v.Key != nil || v.Number != 2 {
			t.Errorf("received %+v", v)
		}
		if v := values[2]; v.Key == nil || len(v.Key) != 0 {
			t.Errorf("an empty key is %v", v.Key)
		}
		if epoch, number := topic.Next(); epoch != 3 || number != 4 {
			t.Errorf("next is %d of %d", number, epoch)
		}
		// The bus hears itself; the node does not.
		if s := a.Stats(); s.Received != received.Received || here.take() != nil {
			t.Errorf("the node hears itself: %+v", s)
		}
		if got := m.Published("1", "wshub.t.a_20room"); got.Bytes > uint64(3*64+5) {
			t.Errorf("%d bytes for 5", got.Bytes)
		}
	})
}

// TestPublishOrder: whoever publishes, numbers and messages have one order.
func TestPublishOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		a, b := newPlane(t, m.Bus()), newPlane(t, m.Bus(), func(c *Config) { c.Node = "there" })
		room := &planeTopic{}
		topic := a.Topic("room", 1, nil)
		b.Topic("room", 2, room).Want()
		synctest.Wait()
		const publishers, each = 8, 500
		var wg sync.WaitGroup
		for p := range publishers {
			wg.Go(func() {
				for i := range each {
					topic.Publish(text(fmt.Sprintf("%d %d", p, i)))
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		values := room.take()
		if len(values) != publishers*each {
			t.Fatalf("%d values", len(values))
		}
		var last [publishers]int
		for i, v := range values {
			var p, k int
			if _, err := fmt.Sscanf(string(v.Data), "%d %d", &p, &k); err != nil || k != last[p] || v.Number != uint64(i+1) {
				t.Fatalf("value %d is %q, number %d", i, v.Data, v.Number)
			}
			last[p]++
		}
		if got := b.host.takeGaps(); got != "" || b.Stats().Repeated != 0 {
			t.Errorf("gaps %q, %+v", got, b.Stats())
		}
	})
}

// gate is a bus whose Publish waits.
func gate(bus cluster.Bus) (s *scripted, open func()) {
	s = &scripted{Bus: bus}
	wait := make(chan struct{})
	s.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
		select {
		case <-wait:
			return bus.Publish(ctx, m...)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return s, func() { close(wait) }
}

// TestOutboxFull: the bounds hold for all that was not published yet, what has no room fails, is told in sums, and is a gap.
func TestOutboxFull(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int
		fits int
	}{
		{"messages", 10, maxWaiting},
		{"bytes", 1 << 20, maxWaitingBytes>>20 - 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t, cluster.WithMaxPayload(2<<20))
				s, open := gate(m.Bus())
				s.publish, s.subscribe = nil, nil
				wait := make(chan struct{})
				a, b := newPlane(t, s), newPlane(t, m.Bus(), func(c *Config) { c.Node = "there" })
				time.Sleep(time.Second) // greetings are over
				s.set(func() {
					s.publish = func(ctx context.Context, batch []cluster.Message) (int, error) {
						<-wait
						return s.Bus.Publish(context.Background(), batch...)
					}
				})
				defer open()
				data := make([]byte, tt.size)
				for range tt.fits + 10 {
					a.Everyone().Publish(Outgoing{Payload: Payload{Data: data}})
				}
				if err := a.Everyone().PublishSure(t.Context(), Outgoing{Payload: Payload{Data: data}}); !errors.Is(err, ErrBusy) {
					t.Errorf("PublishSure = %v", err)
				}
				if _, number := a.Everyone().Next(); number != uint64(tt.fits+10+1) {
					t.Errorf("next is %d: what was refused has used a number, or what failed has not", number)
				}
				close(wait)
				time.Sleep(time.Second)
				a.host.mu.Lock()
				if a.host.failed != 10 || a.host.told > 2 || !errors.Is(a.host.cause, ErrBusy) {
					t.Errorf("failed %d in %d calls, %v", a.host.failed, a.host.told, a.host.cause)
				}
				a.host.mu.Unlock()
				if got := len(b.everyone.take()); got != tt.fits {
					t.Errorf("%d arrived, want %d", got, tt.fits)
				}
				a.Everyone().Publish(text("more"))
				synctest.Wait()
				if got, want := b.host.takeGaps(), fmt.Sprintf(":%d-%d", tt.fits+1, tt.fits+10); got != want {
					t.Errorf("gaps %q, want %q", got, want)
				}
				if s := a.Stats(); s.Failed != 11 {
					t.Errorf("%+v", s)
				}
				a.out.mu.Lock()
				defer a.out.mu.Unlock()
				if a.out.count != 0 || a.out.bytes != 0 || a.out.sending || cap(a.out.waiting)+cap(a.out.spare) > 2*keptWaiting {
					t.Errorf("the outbox is not as before: %d messages, %d bytes, sending %t", a.out.count, a.out.bytes, a.out.sending)
				}
			})
		})
	}
}

// TestPublishFails: one message that the bus does not take is no reason not to try those behind it, a bus that is down is.
func TestPublishFails(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name    string
		refuse  map[string]error
		arrive  string
		failed  int
		results []error
	}{
		{name: "none", arrive: "1 2 3 4 5", results: []error{nil, nil, nil, nil, nil}},
		{
			name: "one is too large", refuse: map[string]error{"2": cluster.ErrTooLarge}, arrive: "1 3 4 5", failed: 1,
			results: []error{nil, cluster.ErrTooLarge, nil, nil, nil},
		},
		{
			name: "the first and the last", refuse: map[string]error{"1": cluster.ErrTooLarge, "5": cluster.ErrSubject}, arrive: "2 3 4", failed: 2,
			results: []error{cluster.ErrTooLarge, nil, nil, nil, cluster.ErrSubject},
		},
		{
			name: "down", refuse: map[string]error{"3": cluster.ErrDown}, arrive: "1 2", failed: 3,
			results: []error{nil, nil, cluster.ErrDown, cluster.ErrDown, cluster.ErrDown},
		},
		{
			name: "another error", refuse: map[string]error{"1": broken}, failed: 5,
			results: []error{broken, broken, broken, broken, broken},
		},
	}
	for _, sure := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s sure %t", tt.name, sure), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newMemory(t)
					s := &scripted{Bus: m.Bus()}
					a, b := newPlane(t, s), newPlane(t, m.Bus(), func(c *Config) { c.Node = "there" })
					time.Sleep(time.Second)
					open := make(chan struct{})
					calls := 0
					s.set(func() {
						s.publish = func(ctx context.Context, batch []cluster.Message) (int, error) {
							<-open
							calls++
							for i, msg := range batch {
								if err := tt.refuse[string(msg.Data[len(msg.Data)-1:])]; err != nil && msg.Subject == subjectAll {
									return i, err
								}
								if n, err := s.Bus.Publish(ctx, msg); err != nil {
									return i + n, err
								}
							}
							return len(batch), nil
						}
					})
					before := a.Stats()
					a.post("wshub.x", firstControl, []byte("0")) // the sender waits with it, the others are one batch
					synctest.Wait()
					results := make([]error, 5)
					var wg sync.WaitGroup
					for i := range 5 {
						v := text(fmt.Sprint(i + 1))
						if !sure {
							a.Everyone().Publish(v)
							continue
						}
						wg.Go(func() { results[i] = a.Everyone().PublishSure(t.Context(), v) })
						synctest.Wait()
					}
					close(open)
					wg.Wait()
					time.Sleep(time.Second)
					var got string
					for i, v := range b.everyone.take() {
						if i > 0 {
							got += " "
						}
						got += string(v.Data)
					}
					if got != tt.arrive {
						t.Errorf("%q arrive, want %q", got, tt.arrive)
					}
					told := tt.failed
					if sure {
						told = 0 // whoever waits knows
						for i, err := range results {
							if !errors.Is(err, tt.results[i]) {
								t.Errorf("PublishSure %d = %v, want %v", i+1, err, tt.results[i])
							}
						}
					}
					a.host.mu.Lock()
					defer a.host.mu.Unlock()
					if a.host.failed != told || a.Stats().Failed-before.Failed != uint64(tt.failed) {
						t.Errorf("%d are told as failed, %d counted, want %d", a.host.failed, a.Stats().Failed, tt.failed)
					}
				})
			})
		}
	}
}

func TestPublishSure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		s, open := gate(m.Bus())
		n := newPlane(t, s)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		got := make(chan error, 1)
		go func() { got <- n.Everyone().PublishSure(ctx, text("a")) }()
		synctest.Wait()
		cancel(cause)
		if err := <-got; !errors.Is(err, cause) {
			t.Errorf("PublishSure = %v after its ctx ended", err)
		}
		if err := n.Everyone().PublishSure(ctx, text("b")); !errors.Is(err, cause) {
			t.Errorf("PublishSure = %v with a ctx that had ended", err)
		}
		if err := n.Everyone().PublishSure(t.Context(), Outgoing{Payload: Payload{Data: make([]byte, maxWaitingBytes)}}); !errors.Is(err, cluster.ErrTooLarge) {
			t.Errorf("PublishSure = %v of more than there is room for", err)
		}
		// A bus that hangs is given up after a while.
		start := time.Now()
		if err := n.Everyone().PublishSure(t.Context(), text("c")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("PublishSure = %v of a bus that hangs", err)
		}
		if d := time.Since(start); d > 2*publishTimeout {
			t.Errorf("it took %v", d)
		}
		open()
		if err := n.Everyone().PublishSure(t.Context(), text("d")); err != nil {
			t.Errorf("PublishSure = %v", err)
		}
		m.Down()
		if err := n.Everyone().PublishSure(t.Context(), text("e")); !errors.Is(err, cluster.ErrDown) {
			t.Errorf("PublishSure = %v while the bus is down", err)
		}
		_ = n.Close(t.Context())
		if err := n.Everyone().PublishSure(t.Context(), text("f")); !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("PublishSure = %v after Close", err)
		}
		n.Everyone().Publish(text("g"))
	})
}

// TestPost: what is posted arrives as it is, in order with the rest.
func TestPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		n := newPlane(t, m.Bus())
		listener := m.Bus()
		defer listener.Close()
		if err := listener.Subscribe(t.Context(), "wshub.x"); err != nil {
			t.Fatal(err)
		}
		body := []byte("body")
		n.post("wshub.x", 200, body)
		body[0] = 'B'
		msg := <-listener.Receive()
		var e envelope
		if err := e.parse(msg.Data); err != nil || e.kind != 200 || !bytes.Equal(e.payload, []byte("body")) || e.origin != n.Origin() || e.number != 0 {
			t.Errorf("%v %+v", err, e)
		}
	})
}
