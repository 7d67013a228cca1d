package wshub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// unread returns a session whose SessionFunc takes no message.
func unread(t *testing.T, h *wshub.Hub) (*wshub.Session, *wshubtest.Client) {
	t.Helper()
	arrived := make(chan *wshub.Session)
	c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
		arrived <- s
		<-ctx.Done()
		return nil
	}))
	return <-arrived, c
}

// A message closes the session wherever it is when CloseRead is called, and counts as unread.
func TestCloseReadRefusesMessages(t *testing.T) {
	slow := rate.Every(time.Hour)
	for _, test := range []struct {
		name                 string
		inbound              wshub.Policy
		before, taken, after int // messages
	}{
		{"next", wshub.Policy{}, 0, 0, 1},
		{"waiting in Messages", wshub.Policy{}, 3, 0, 0},
		{"reading paused", wshub.Block(1, time.Hour), 2, 0, 0},
		{"over the rate", wshub.DropNewest(1).With(wshub.Rate(slow, 1)), 0, 0, 1},
		{"delayed by the rate", wshub.Block(5, 2*time.Hour).With(wshub.Rate(slow, 1)), 2, 0, 0},
		{"alone delayed by the rate", wshub.Block(5, 2*time.Hour).With(wshub.Rate(slow, 1)), 2, 1, 0},
		{"conflated", wshub.Coalesce(), 2, 0, 0},
		{"bytes", wshub.Block(5, time.Hour).With(wshub.MaxBytes(1)), 2, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, wshub.WithInbound(test.inbound))
				s, c := unread(t, h)
				for range test.before {
					c.SendText("mm")
				}
				synctest.Wait()
				for range test.taken {
					<-s.Messages()
				}
				synctest.Wait()
				start := time.Now()
				s.CloseRead()
				s.CloseRead()
				for range test.after {
					synctest.Wait()
					if s.Err() != nil {
						t.Fatalf("closed before a message: %v", s.Err())
					}
					c.SendText("mm")
				}
				if m, ok := <-s.Messages(); ok {
					t.Errorf("Messages gave %q", m.Data)
				}
				if got := c.ExpectClose(1008); got != "unexpected message" {
					t.Errorf("reason %q", got)
				}
				<-s.Done()
				if !errors.Is(s.Err(), wshub.ErrUnexpectedMessage) {
					t.Errorf("Err is %v", s.Err())
				}
				if d := time.Since(start); d != 0 {
					t.Errorf("it took %v", d)
				}
				st := h.Stats()
				if st.Received != uint64(test.before+test.after) || st.Received != st.Unread+st.InboundCoalesced+uint64(test.taken) {
					t.Errorf("stats %+v", st)
				}
				s.CloseRead() // after the end
				if h.Stats() != st {
					t.Errorf("stats %+v, then %+v", st, h.Stats())
				}
			})
		})
	}
}

// Everything but messages goes on: pings, pongs, sending, and the client's close.
func TestCloseReadLeavesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithKeepAlive(10*time.Second, 5*time.Second))
		s, c := unread(t, h)
		s.CloseRead()
		c.Ping("hi")
		c.ExpectPong("hi")
		time.Sleep(time.Minute) // the client answers pings
		if err := s.Send(t.Context(), wshub.Text("news")); err != nil {
			t.Fatal(err)
		}
		c.ExpectText("news")
		c.Close(1000, "bye")
		<-s.Done()
		if s.Err() != nil {
			t.Errorf("Err is %v", s.Err())
		}
	})
}

// Messages that nobody will take do not keep the context alive.
func TestCloseReadAfterTheClientClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		s, c := unread(t, h)
		c.SendText("bye")
		c.SendFrame(true, wshubtest.OpClose, []byte("\x03\xe8")) // not answered before the message was taken
		synctest.Wait()
		if s.Context().Err() != nil {
			t.Fatal("the message was not waited for")
		}
		start := time.Now()
		s.CloseRead()
		<-s.Done()
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("it took %v", d)
		}
		if st := h.Stats(); s.Err() != nil || st.Received != 1 || st.Unread != 1 {
			t.Errorf("%v, stats %+v", s.Err(), st)
		}
	})
}

// A message that comes at the same time closes the session too, when nobody takes it.
func TestCloseReadRacesAMessage(t *testing.T) {
	h := newHub(t)
	for range 200 {
		s, c := unread(t, h)
		s.Messages()
		sent := make(chan struct{})
		go func() { // ends with the write
			c.SendText("m")
			close(sent)
		}()
		s.CloseRead()
		<-sent
		select {
		case <-s.Done():
		case <-time.After(5 * time.Second):
			t.Fatal("the message waits for nobody")
		}
	}
}

// Beside messages that come and are taken none is given out and refused at once, none is lost, and every session whose
// message was refused closes for it.
func TestCloseReadRacesMessages(t *testing.T) {
	h := newHub(t)
	for i := range 300 {
		before := h.Stats()
		taken := make(chan uint64)
		arrived := make(chan *wshub.Session)
		c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
			arrived <- s
			var n uint64
			for range s.Messages() {
				n++
			}
			taken <- n
			return nil
		}))
		s := <-arrived
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 20 {
				if c.TrySend("m") != nil {
					return
				}
			}
		})
		wg.Go(func() {
			for range i % 10 {
				s.Send(t.Context(), wshub.Text("x")) // takes a while
			}
			s.CloseRead()
		})
		wg.Wait()
		c.TrySend("the last straw")
		n := <-taken
		<-s.Done()
		st := h.Stats()
		if got := st.Received - before.Received; got != n+st.Unread-before.Unread {
			t.Fatalf("%d received, %d taken, %d unread", got, n, st.Unread-before.Unread)
		}
		if !errors.Is(s.Err(), wshub.ErrUnexpectedMessage) {
			t.Fatalf("Err is %v", s.Err())
		}
	}
}

// Beside the session's end too each message counts once.
func TestCloseReadRacesTheEnd(t *testing.T) {
	h := newHub(t, wshub.WithDrain(0, 0))
	for i := range 300 {
		before := h.Stats()
		arrived := make(chan *wshub.Session)
		c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *wshub.Session) error {
			arrived <- s
			<-ctx.Done()
			return nil
		}))
		s := <-arrived
		for range 10 {
			c.SendText("m")
		}
		for h.Stats().Received-before.Received < 10 {
			time.Sleep(10 * time.Microsecond)
		}
		left := make(chan struct{})
		go func() { // ends with the session
			defer close(left)
			<-s.Context().Done()
			for range i * 20 {
				s.Ended()
			}
			s.CloseRead()
			if _, ok := <-s.Messages(); ok {
				t.Error("Messages gave one after CloseRead")
			}
		}()
		h.To(s.ID()).Close(t.Context(), 4000, "")
		<-s.Done()
		<-left
		if got := h.Stats().Unread - before.Unread; got != 10 {
			t.Fatalf("round %d: %d of 10 messages count as unread", i, got)
		}
	}
}
