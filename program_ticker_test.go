package wshub_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// A ticker whose clients choose how often they are told, always of the newest quotes and never of those between.

type quote struct {
	Symbol string
	Cents  int
}

func (q quote) key() string { return q.Symbol }

func tickerServer(hub *wshub.Hub) (wshub.Topic[quote], http.Handler, error) {
	policy := wshub.Compose(wshub.Coalesce(), wshub.History(1000, 0)) // with keys: the last quote of each symbol
	quotes, err := wshub.NewTopic(hub, "quotes", policy, wshub.KeyBy(quote.key))
	return quotes, hub.HandlerFor(func(r *http.Request) (wshub.SessionFunc, error) {
		every, err := time.ParseDuration(r.FormValue("every"))
		if err != nil {
			return nil, &wshub.RejectError{Status: http.StatusBadRequest, Reason: "every: want a duration"}
		}
		return func(ctx context.Context, s *wshub.Session) error {
			all := wshub.Compose(wshub.FlushEvery(every), wshub.Replay(1000)) // what is known comes first
			if err := quotes.With(all).Join(ctx, s); err != nil {
				return err
			}
			for m := range s.Messages() { // another interval
				every, err := time.ParseDuration(m.Text())
				if err != nil {
					return wshub.ErrDecode
				}
				if err := quotes.With(wshub.FlushEvery(every)).Update(ctx, s); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}), err
}

func TestProgramTicker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, _ := wshub.New()
		defer hub.Close()
		quotes, server, err := tickerServer(hub)
		if err != nil {
			t.Fatal(err)
		}
		fast := wshubtest.Dial(t, server, wshubtest.WithPath("/?every=0s"))
		slow := wshubtest.Dial(t, server, wshubtest.WithPath("/?every=1s"))
		expect := func(c *wshubtest.Client, cents ...int) {
			for _, n := range cents {
				c.ExpectJSON(quote{"ACME", n})
			}
			c.ExpectNothing()
		}
		time.Sleep(50 * time.Millisecond) // the clock of a bubble begins at a whole second, and so do the intervals
		for i := range 20 {
			quotes.Publish(t.Context(), quote{"ACME", i})
			expect(fast, i)
			if time.Sleep(100 * time.Millisecond); i == 9 {
				expect(slow, 9)
				slow.SendText("200ms")
			}
		}
		expect(slow, 11, 13, 15, 17, 19)
		expect(wshubtest.Dial(t, server, wshubtest.WithPath("/?every=0s")), 19)
	})
}
