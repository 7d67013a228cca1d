package main

import (
	"bytes"
	"context"
	"log"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/internal/leak"
	"github.com/wshub-go/wshub/wshubtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

type m = map[string]any

// TestPipeline sends what a client may, and looks at what comes out at every end.
func TestPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := newPlant()
		if err != nil {
			t.Fatal(err)
		}
		var printed bytes.Buffer
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- p.run(t.Context(), log.New(&printed, "", 0), ready) }() // ends with the hub
		<-ready

		c := wshubtest.Dial(t, p.hub.Handler(p.serve))
		for _, r := range []string{
			`{"sensor":"roof","celsius":20}`, `oops`, `{"sensor":"roof","celsius":1000}`, `{"sensor":"oven","celsius":40}`,
		} {
			c.SendText(r)
		}
		synctest.Wait()
		c.ExpectNothing() // the batch waits for more
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		got := map[bool]int{}
		for _, msg := range c.Take() { // topics have no order between them
			alarm := strings.Contains(string(msg.Data), `"alarm"`)
			got[alarm]++
			want := `{"event":"mean","topic":"means","data":{"of":1,"celsius":20}}`
			if alarm {
				want = `{"event":"alarm","topic":"alarms","data":{"sensor":"oven","celsius":40}}`
			}
			if string(msg.Data) != want {
				t.Errorf("got %s, want %s", msg.Data, want)
			}
		}
		if got[false] != 1 || got[true] != 1 {
			t.Errorf("%d means and %d alarms at first", got[false], got[true])
		}
		time.Sleep(250 * time.Millisecond)
		c.ExpectJSON(m{"event": "mean", "topic": "means", "data": m{"of": 2, "celsius": 30}})
		c.ExpectNothing()

		time.Sleep(time.Second)
		c.SendText(`{"sensor":"roof","celsius":30}`) // its batch is not whole yet when the client closes
		if code := c.Close(1000, ""); code != 1000 {
			t.Errorf("closed with %d", code)
		}
		time.Sleep(time.Second)
		if err := p.hub.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := [5]int64{p.stored.Load(), p.bad.Load(), p.odd.Load(), p.averaged.Load(), p.alarmed.Load()}; n != [5]int64{3, 1, 1, 3, 1} {
			t.Errorf("stored, bad, odd, averaged, alarmed: %v", n)
		}
		const want = "mean of 1: 20.00 °C\nmean of 2: 30.00 °C\ncalm again; the last alarm was oven with 40.0 °C\nmean of 3: 30.00 °C\n"
		if printed.String() != want {
			t.Errorf("printed %q", printed.String())
		}
	})
}

// TestStart runs the program for a while, with nobody there.
func TestStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	if err := start(ctx, "127.0.0.1:0", log.New(&out, "", 0)); err != nil {
		t.Error(err)
	}
	first, rest, _ := strings.Cut(out.String(), "\n")
	if ok, _ := regexp.MatchString(`^http://127\.0\.0\.1:\d+/$`, first); !ok {
		t.Errorf("the first line is %q", first)
	}
	if ok, _ := regexp.MatchString(`\n[1-9]\d* readings stored, [1-9]\d* not decoded, 0 implausible; [1-9]\d* means, \d+ alarms\n$`, rest); !ok {
		t.Errorf("printed %q", rest)
	}
	if err := start(ctx, "256.0.0.1:0", log.New(&out, "", 0)); err == nil {
		t.Error("no error for an address that is none")
	}
}
