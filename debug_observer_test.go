package wshub_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

func TestDebugObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, table strings.Builder
		debug, counts := wshub.NewDebugObserver(&out), wshub.NewDebugObserver(nil)
		h := newHub(t, wshub.WithLogger(nil), wshub.WithObserver(debug.Observer(), counts.Observer()),
			wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
				user := r.URL.Query().Get("as")
				if user == "" {
					return wshub.Identity{}, errors.New("who\nare you")
				}
				return wshub.Identity{User: user}, nil
			}))
		topic := newTopic[string](t, h, "room", wshub.Policy{})
		stays, _ := sessions(t, h, 1, wshubtest.WithPath("/?as=ann"))
		join(t, topic, stays[0])
		c := wshubtest.Dial(t, h.Handler(stay), wshubtest.WithPath("/?as=bob"))
		c.Close(4321, "bye\n")
		synctest.Wait()
		wshubtest.Dial(t, h.Handler(func(context.Context, *wshub.Session) error { return errors.New("broken") }), wshubtest.WithPath("/?as=cid")).ExpectClose(1011)
		synctest.Wait()
		if _, _, err := wshubtest.TryDial(t, h.Handler(stay)); err == nil {
			t.Error("upgraded")
		}
		synctest.Wait()
		topic.Leave(stays[0])
		synctest.Wait()
		const lines = `connected session=1 user="ann"
joined session=1 user="ann" topic="room"
connected session=2 user="bob"
disconnected session=2 user="bob" code=4321 reason="bye\n" cause="wshub: closed with 4321 \"bye\\n\""
connected session=3 user="cid"
error session=3 user="cid" cause="broken"
disconnected session=3 user="cid" code=1011 reason="internal error" cause="broken"
refused status=401 cause="who\nare you"
left session=1 user="ann" topic="room"
`
		if out.String() != lines {
			t.Errorf("wrote:\n%s", &out)
		}
		const rows = `connected       3
joined          1
left            1
disconnected    2
  1011          1
  4xxx          1
error           1
refused         1
`
		for _, d := range []*wshub.DebugObserver{debug, counts} {
			table.Reset()
			if n, err := d.WriteTo(&table); err != nil || n != int64(len(rows)) || table.String() != rows {
				t.Errorf("%d, %v:\n%s", n, err, &table)
			}
			if d.Count(wshub.EventConnected) != 3 || d.Count(wshub.EventServed) != 0 || d.Count(99) != 0 {
				t.Errorf("%d connected", d.Count(wshub.EventConnected))
			}
		}
	})
}

// Codes that clients make up are counted in rows that they cannot add to.
func TestDebugObserverCodes(t *testing.T) {
	d := wshub.NewDebugObserver(nil)
	o := d.Observer()
	for _, code := range []wshub.StatusCode{0, -1, 1000, 1005, 1015, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 1 << 30} {
		o.Disconnected(wshub.Event{Kind: wshub.EventDisconnected, Code: code})
	}
	o.Dropped(wshub.Event{Kind: wshub.EventDropped, N: 7})
	o.Dropped(wshub.Event{Kind: wshub.EventDropped, N: 8})
	var b strings.Builder
	d.WriteTo(&b)
	const want = `disconnected    13
  1000          1
  1005          1
  3xxx          2
  4xxx          2
  other         7
dropped         2
  values        15
`
	if b.String() != want {
		t.Errorf("got:\n%s", &b)
	}
}

// The bus and its gaps have their lines and rows.
func TestDebugObserverBus(t *testing.T) {
	var out, table strings.Builder
	d := wshub.NewDebugObserver(&out)
	o := d.Observer()
	o.Bus(wshub.Event{Kind: wshub.EventBus, Name: "down", Cause: wshub.ErrBus, N: 3})
	o.Bus(wshub.Event{Kind: wshub.EventBus, Name: "up", Origin: "n1", Cause: wshub.ErrNodeConflict})
	o.Gap(wshub.Event{Kind: wshub.EventGap, Origin: "n2", Topic: "room", From: 4, To: 5, N: 2})
	const lines = `bus name="down" n=3 cause="wshub: bus failed"
bus name="up" origin="n1" cause="wshub: two nodes have one id"
gap topic="room" origin="n2" from=4 to=5 n=2
`
	if out.String() != lines {
		t.Errorf("wrote:\n%s", &out)
	}
	const rows = `bus             2
  messages      3
gap             1
  values        2
`
	if d.WriteTo(&table); table.String() != rows {
		t.Errorf("the table is:\n%s", &table)
	}
}
