package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// places writes where each value stands, and waits as it is told.
type places struct{ in, out chan struct{} }

func (p places) Append(dst []byte, v string) ([]byte, wshub.Kind, error) {
	return nil, 0, errors.New("Append was called")
}

func (p places) AppendDelivery(dst []byte, d wshub.Delivery, v string) ([]byte, wshub.Kind, error) {
	if p.in != nil {
		p.in <- struct{}{}
		<-p.out
	}
	if v == "bad" {
		return nil, 0, errors.New("bad value")
	}
	if d.Time.IsZero() || d.Epoch == 0 || d.Epoch >= 1<<53 {
		return nil, 0, fmt.Errorf("delivery %+v", d)
	}
	return fmt.Appendf(dst, "%s %d %d %s", d.Topic, d.Epoch, d.Offset, v), wshub.KindText, nil
}

func nextText(t *testing.T, c *wshubtest.Client) string {
	t.Helper()
	m, ok := c.Next()
	if !ok {
		t.Fatalf("no message: %v", c.Err())
	}
	return string(m.Data)
}

// What the codec says of a value's place is the order in which every member is sent the values, whoever publishes.
func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic(t, h, "log", wshub.Policy{}, wshub.WithCodec[string](places{}))
		ss, cc := sessions(t, h, 2)
		join(t, topic, ss...)
		const publishers, values = 8, 50
		var wg sync.WaitGroup
		for range publishers {
			wg.Go(func() {
				for i := range values {
					if i%10 == 3 { // takes no place
						if err := topic.Publish(t.Context(), "bad"); err == nil {
							t.Error("a bad value was published")
						}
					}
					publish(t, topic, "v")
				}
			})
		}
		wg.Wait()
		for _, c := range cc {
			epoch := ""
			for i := range publishers * values {
				f := strings.Fields(nextText(t, c))
				if f[0] != "log" || f[2] != fmt.Sprint(i) || epoch != "" && f[1] != epoch {
					t.Fatalf("value %d says %q", i, f)
				}
				epoch = f[1]
			}
		}
	})
}

func TestEpochs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		topic := newTopic(t, h, "log", wshub.Policy{}, wshub.WithCodec[string](places{}))
		ss, cc := sessions(t, h, 1)
		last := uint64(0)
		for range 3 { // at the same moment, in fake time
			join(t, topic, ss...)
			publish(t, topic, "v")
			var epoch, offset uint64
			text := nextText(t, cc[0])
			if _, err := fmt.Sscanf(text, "log %d %d v", &epoch, &offset); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			if epoch <= last || offset != 0 {
				t.Errorf("a topic that came back says epoch %d after %d, offset %d", epoch, last, offset)
			}
			last = epoch
			if err := topic.Leave(ss[0]); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A publish that waits for its turn is bounded by its context, and then has published nothing.
func TestTurnIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		c := places{make(chan struct{}), make(chan struct{})}
		topic := newTopic(t, h, "log", wshub.Policy{}, wshub.WithCodec[string](c))
		ss, cc := sessions(t, h, 1)
		join(t, topic, ss...)
		first := make(chan error, 1)
		go func() { first <- topic.Publish(t.Context(), "first") }()
		<-c.in
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := topic.Publish(ctx, "second"); !errors.Is(err, wshub.ErrPendingFull) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second: %v", err)
		}
		c.out <- struct{}{}
		if err := <-first; err != nil {
			t.Error(err)
		}
		done, stop := context.WithCancel(t.Context())
		stop()
		go func() { first <- topic.Publish(done, "third") }() // need not wait
		<-c.in
		c.out <- struct{}{}
		if err := <-first; err != nil {
			t.Error(err)
		}
		for i, want := range []string{"first", "third"} {
			if text := nextText(t, cc[0]); !strings.HasSuffix(text, fmt.Sprintf(" %d %s", i, want)) {
				t.Errorf("got %q, want %s", text, want)
			}
		}
	})
}
