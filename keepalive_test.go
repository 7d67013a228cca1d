package wshub

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/wshubtest"
)

func TestKeepAlive(t *testing.T) {
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

// While the handler is busy and reading pauses, the client is not to blame for pongs that nobody reads.
func TestKeepAliveSparesPausedReading(t *testing.T) {
	in(t, func(t *testing.T) {
		h := newHub(t, WithKeepAlive(5*time.Second, time.Second))
		c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
			s.Messages()
			time.Sleep(5 * time.Minute)
			for range s.Messages() {
			}
			return nil
		}))
		s := only(t, h)
		for range 30 {
			c.SendText("x")
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if s.ended() {
			t.Errorf("closed: %v", s.Err())
		}
	})
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
