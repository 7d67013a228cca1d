package wshub

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/wshubtest"
)

// Life is a whole message or control frame, whichever the client sends, and nothing less.
func TestPitfall14LifeIsWhole(t *testing.T) {
	const interval, timeout = 10 * time.Second, 4 * time.Second
	for _, test := range []struct {
		name  string
		opts  []wshubtest.DialOption
		drive func(c *wshubtest.Client) // for a minute
		alive bool
	}{
		{name: "answers", drive: func(*wshubtest.Client) { time.Sleep(time.Minute) }, alive: true},
		{name: "silent", opts: []wshubtest.DialOption{wshubtest.WithoutPong()}, drive: func(*wshubtest.Client) { time.Sleep(time.Minute) }},
		{name: "talks", opts: []wshubtest.DialOption{wshubtest.WithoutPong()}, drive: func(c *wshubtest.Client) {
			for range 20 {
				c.SendText("hi")
				time.Sleep(3 * time.Second)
			}
		}, alive: true},
		{name: "pings", opts: []wshubtest.DialOption{wshubtest.WithoutPong()}, drive: func(c *wshubtest.Client) {
			for range 20 {
				c.Ping("hi")
				time.Sleep(3 * time.Second)
			}
		}, alive: true},
		{name: "pongs unasked", opts: []wshubtest.DialOption{wshubtest.WithoutPong()}, drive: func(c *wshubtest.Client) {
			for range 20 {
				c.SendFrame(true, wshubtest.OpPong, nil)
				time.Sleep(3 * time.Second)
			}
		}, alive: true},
		{name: "begins only", opts: []wshubtest.DialOption{wshubtest.WithoutPong()}, drive: func(c *wshubtest.Client) {
			op := wshubtest.OpText
			for range 20 {
				if c.TrySendRaw(wshubtest.Frame(false, op, []byte("and so on"))) != nil {
					break
				}
				op = wshubtest.OpContinuation
				time.Sleep(3 * time.Second)
			}
		}},
		{name: "dribbles", opts: []wshubtest.DialOption{wshubtest.WithoutPong()}, drive: func(c *wshubtest.Client) {
			f := wshubtest.Frame(true, wshubtest.OpText, make([]byte, 50))
			for _, b := range f[:6] {
				c.SendRaw([]byte{b})
				time.Sleep(2 * time.Second)
			}
			time.Sleep(time.Minute)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t, WithKeepAlive(interval, timeout), WithMessageTimeout(0))
				c := wshubtest.Dial(t, h.Handler(idle), test.opts...)
				s := only(t, h)
				start := s.ConnectedAt()
				test.drive(c)
				synctest.Wait()
				if s.ended() == test.alive {
					t.Fatalf("ended: %v", s.ended())
				}
				if test.alive {
					return
				}
				if !errors.Is(s.Err(), ErrKeepAlive) {
					t.Errorf("Err is %v", s.Err())
				}
				<-s.Done()
				at, _ := s.Ended()
				if d := at.Sub(start); d < interval+timeout || d > interval+timeout+2*timeout+closeWait {
					t.Errorf("ended after %v", d)
				}
			})
		})
	}
}

// While the handler is busy elsewhere and reading pauses, the client is not to blame for pongs that nobody reads; what it has
// sent meanwhile is all there.
func TestPitfall14BusyHandlerIsSpared(t *testing.T) {
	const sent, busy = 30, 5 * time.Minute // more than wait for the handler
	received := 0
	for name, fn := range map[string]SessionFunc{
		"before it reads": func(_ context.Context, s *Session) error {
			time.Sleep(busy)
			for range s.Messages() {
				received++
			}
			return nil
		},
		"between messages": func(_ context.Context, s *Session) error {
			for range s.Messages() {
				if received++; received == 1 {
					time.Sleep(busy)
				}
			}
			return nil
		},
		"Each": Each(func(context.Context, *Session, Message) error {
			if received++; received == 1 {
				time.Sleep(busy)
			}
			return nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				received = 0
				h := newHub(t, WithKeepAlive(30*time.Second, 10*time.Second))
				c := wshubtest.Dial(t, h.Handler(fn))
				s := only(t, h)
				for range sent {
					c.SendText("x")
				}
				time.Sleep(2 * busy)
				synctest.Wait()
				if s.ended() || received != sent {
					t.Errorf("%v, received %d of %d", s.Err(), received, sent)
				}
			})
		})
	}
}

// A client whose queue is full is answered before what waits for it: its pong leaves with the next frame's end.
func TestPitfall14FullQueueStillGetsItsPong(t *testing.T) {
	for name, fill := range map[string]func(h *Hub, s *Session) error{
		"direct": func(_ *Hub, s *Session) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			return s.Send(ctx, Binary(make([]byte, 900)))
		},
		"everyone": func(h *Hub, _ *Session) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			return h.Everyone().Send(ctx, Binary(make([]byte, 900)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t, WithPolicy(Block(200, time.Hour)), WithWriteTimeout(time.Hour), WithKeepAlive(0, 0))
				var c *wshubtest.Client
				before, after := 0, 0 // the pong
				c = wshubtest.Dial(t, h.Handler(idle), wshubtest.WithBuffer(2000), wshubtest.WithOnMessage(func(wshubtest.Message) {
					if c.Received().Pong == 0 {
						before++
					} else {
						after++
					}
				}))
				s := only(t, h)
				c.Stall()
				for fill(h, s) == nil {
				}
				c.Ping("here")
				synctest.Wait()
				c.Resume()
				c.ExpectPong("here")
				synctest.Wait()
				if before > 4 || after < 100 { // 2 are on their way, and one was begun
					t.Errorf("%d messages came before the pong, %d after it", before, after)
				}
			})
		})
	}
}

// A hub without sessions has no timer, and sessions that begin together are not pinged together.
func TestPitfall28SweepIsSpread(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithKeepAlive(32*time.Second, 32*time.Second))
		if h.keepAlive.armed {
			t.Error("armed without a session")
		}
		var clients []*wshubtest.Client
		for range 200 {
			clients = append(clients, wshubtest.Dial(t, h.Handler(idle)))
		}
		time.Sleep(32 * time.Second)
		most, before := 0, 0
		for range 17 {
			time.Sleep(time.Second)
			synctest.Wait()
			pings := 0
			for _, c := range clients {
				pings += c.Received().Ping
			}
			most = max(most, pings-before)
			before = pings
		}
		if before != 200 {
			t.Errorf("%d of 200 were pinged", before)
		}
		if most > 60 { // 12.5 a second on average
			t.Errorf("%d pings in one second", most)
		}
		for _, c := range clients {
			c.Close(1000, "")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if h.keepAlive.armed {
			t.Error("armed after the last session")
		}
		// It starts again.
		c := wshubtest.Dial(t, h.Handler(idle), wshubtest.WithoutPong())
		time.Sleep(2 * time.Minute)
		c.ExpectClose(1008)
	})
}

// A session that reads nothing, since its handler takes nothing, still notices that its client has gone.
func TestKeepAliveFindsTheDeadOfPausedReading(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithKeepAlive(5*time.Second, time.Second))
		c := wshubtest.Dial(t, h.Handler(waiting))
		s := only(t, h)
		for range 30 { // more than wait for the handler
			c.SendText("x")
		}
		synctest.Wait()
		c.Abort()
		select {
		case <-s.Done():
		case <-time.After(time.Hour):
			t.Error("still there an hour later")
			s.abort()
		}
	})
}
