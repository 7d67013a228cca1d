package wshub_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Analytics: pages send views, stages of a pipeline filter and sum them up, and dashboards see the sums of each second.

type pageView struct{ Page, Agent string }

type analytics struct {
	views wshub.Topic[pageView]
	sums  wshub.Topic[map[string]int]
}

func newAnalytics(hub *wshub.Hub) (analytics, error) {
	views, err1 := wshub.NewTopic[pageView](hub, "views", wshub.Policy{})
	sums, err2 := wshub.NewTopic[map[string]int](hub, "sums", wshub.Coalesce().With(wshub.History(1, 0)))
	return analytics{views, sums}, errors.Join(err1, err2)
}

func (a analytics) page(ctx context.Context, s *wshub.Session) error {
	bad := func(wshub.Message, error) bool { return true } // goes on with the next
	return wshub.ForEach(ctx, wshub.Decode[pageView](wshub.From(ctx, s.Messages()), bad), 1, a.views.Publish)
}

// dashboard is the session of somebody who watches.
func (a analytics) dashboard(ctx context.Context, s *wshub.Session) error {
	s.CloseRead()
	if err := a.sums.With(wshub.Replay(1)).Join(ctx, s); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// run is the pipeline. It ends with ctx or the hub.
func (a analytics) run(ctx context.Context) error {
	people := a.views.Where(func(v pageView) bool { return v.Agent != "bot" })
	views := people.With(wshub.Block(1000, time.Minute)).Stream(ctx) // lossless: pages wait for us
	for batch := range wshub.Batch(ctx, views, 1000, time.Second) {
		sum := map[string]int{}
		for _, v := range batch {
			sum[v.Page]++
		}
		if err := a.sums.Publish(ctx, sum); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func TestProgramAnalytics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, _ := wshub.New()
		defer hub.Close()
		a, err := newAnalytics(hub)
		if err != nil {
			t.Fatal(err)
		}
		go a.run(t.Context())
		page, board := wshubtest.Dial(t, hub.Handler(a.page)), wshubtest.Dial(t, hub.Handler(a.dashboard))
		synctest.Wait()
		for _, text := range []string{`{"Page":"/a"}`, `{"Page":"/b"}`, `{"Page":"/a","Agent":"bot"}`, `?`, `{"Page":"/a"}`} {
			page.SendText(text)
		}
		board.ExpectText(`{"/a":2,"/b":1}`)
		page.SendText(`{"Page":"/c"}`)
		board.ExpectText(`{"/c":1}`)
		wshubtest.Dial(t, hub.Handler(a.dashboard)).ExpectText(`{"/c":1}`)
	})
}
