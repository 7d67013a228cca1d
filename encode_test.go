package wshub_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// note is a value that points to what its publisher goes on changing.
type note struct {
	Text string         `json:"text"`
	Tags []string       `json:"tags"`
	Of   map[string]int `json:"of"`
	Next *note          `json:"next,omitempty"`
}

func (n *note) set(i int) {
	*n = note{Text: strings.Repeat(fmt.Sprint(i, " "), 50), Tags: append(n.Tags[:0], fmt.Sprint(i)), Of: n.Of, Next: n.Next}
	n.Of["i"] = i
	if n.Next != nil {
		n.Next.set(-i)
	}
}

// notes is a codec that counts its calls without a lock: the race detector sees one that comes from elsewhere.
type notes struct{ calls *int }

func (c notes) Append(dst []byte, n *note) ([]byte, wshub.Kind, error) {
	*c.calls++
	b, err := json.Marshal(n)
	return append(dst, b...), wshub.KindText, err
}

// placedNotes is one that is told the place of each value.
type placedNotes struct{ notes }

func (c placedNotes) AppendDelivery(dst []byte, _ wshub.Delivery, n *note) ([]byte, wshub.Kind, error) {
	return c.Append(dst, n)
}

// What is published is what it was when Publish was called: it was encoded by then, once and in the caller's goroutine,
// although it is written, compressed and replayed later. The race detector is the judge too.
func TestPitfall62EncodedBeforePublishReturns(t *testing.T) {
	calls := 0
	for name, opts := range map[string][]wshub.TopicOption[*note]{
		"JSON":           nil,
		"event":          {wshub.AsEvent[*note]("note")},
		"codec":          {wshub.WithCodec[*note](notes{&calls})},
		"delivery codec": {wshub.WithCodec[*note](placedNotes{notes{&calls}})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const values = 20
				calls = 0
				h := newHub(t, wshub.WithCompression(64))
				topic := newTopic(t, h, "notes", wshub.History(values, time.Hour), opts...)
				ss, cc := sessions(t, h, 3, wshubtest.WithCompression(), wshubtest.WithBuffer(1<<10))
				join(t, topic, ss[:2]...)
				cc[0].Stall()
				v := &note{Of: map[string]int{}, Next: &note{Of: map[string]int{}}}
				var want []any
				for i := range values {
					v.set(i)
					b, err := json.Marshal(v)
					if err != nil {
						t.Fatal(err)
					}
					w := any(json.RawMessage(b))
					if name == "event" {
						w = map[string]any{"event": "note", "topic": "notes", "data": w}
					}
					want = append(want, w)
					publish(t, topic, v)
					v.set(1000 + i) // while workers write
				}
				join(t, topic.With(wshub.Replay(values)), ss[2])
				cc[0].Resume()
				for _, c := range cc {
					for _, w := range want {
						c.ExpectJSON(w)
					}
				}
				synctest.Wait()
				if opts != nil && name != "event" && calls != values {
					t.Errorf("the codec was called %d times for %d values", calls, values)
				}
			})
		})
	}
	t.Run("direct", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t)
			ss, cc := sessions(t, h, 1, wshubtest.WithBuffer(1<<10))
			cc[0].Stall()
			v := &note{Of: map[string]int{}}
			var want []json.RawMessage
			for i := range 20 {
				v.set(i)
				b, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, b, b)
				for _, to := range []wshub.Sender{ss[0], h.Everyone()} {
					if err := wshub.SendJSON(t.Context(), to, v); err != nil {
						t.Fatal(err)
					}
				}
				v.set(1000 + i)
			}
			cc[0].Resume()
			for _, w := range want {
				cc[0].ExpectJSON(w)
			}
		})
	})
}
