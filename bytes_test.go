package wshub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Far fewer values than the count bounds allow, of half a megabyte each, to a client that takes nothing: one is on its
// way, and what is pending behind it is bounded by its bytes.
func TestPitfall21LargeValuesCountByTheirBytes(t *testing.T) {
	const values, size = 256, 512 << 10
	for _, tt := range []struct {
		policy wshub.Policy
		n      int
		most   uint64 // pending at any time, with the one on its way; 0: evicted at the end of the grace
		last   int    // of what comes once the reader reads
	}{
		{wshub.Policy{}, 4, 0, 0}, // one on its way and three pending
		{wshub.DropOldest(values), values, 3, values - 1},
		{wshub.DropNewest(values).With(wshub.MaxBytes(2*size + 100)), 20, 3, 1},
		{wshub.DropOldest(values).With(wshub.MaxBytes(10*size + 1000)), 40, 11, 39},
	} {
		for _, what := range []string{"session", "stream"} {
			t.Run(fmt.Sprint(what, " ", tt.policy), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHub(t)
					topic := newTopic[[]byte](t, h, "images", wshub.Policy{})
					var stats func() wshub.Tally
					var fate func() error
					var read func() [][]byte
					if what == "stream" {
						s := topic.With(tt.policy).Subscribe(t.Context())
						stats, fate = s.Stats, s.Err
						read = func() (got [][]byte) {
							for {
								synctest.Wait()
								select {
								case b, ok := <-s.C():
									if !ok {
										return got
									}
									got = append(got, b)
								default:
									return got
								}
							}
						}
					} else {
						ss, cc := sessions(t, h, 1)
						cc[0].Stall()
						join(t, topic.With(tt.policy), ss[0])
						stats, fate = topic.Stats, ss[0].Err
						read = func() (got [][]byte) {
							cc[0].Resume()
							synctest.Wait()
							for _, m := range cc[0].Take() {
								got = append(got, m.Data)
							}
							return got
						}
					}
					b := make([]byte, size)
					for i := range tt.n {
						b[0] = byte(i)
						publish(t, topic, b)
						synctest.Wait()
						if a := stats(); tt.most > 0 && a.Pending > tt.most {
							t.Fatalf("after %d: %+v", i, a)
						}
					}
					if tt.most == 0 {
						time.Sleep(249 * time.Millisecond)
						synctest.Wait()
						if err := fate(); err != nil {
							t.Errorf("within the grace: %v", err)
						}
						time.Sleep(time.Millisecond)
						synctest.Wait()
						if err := fate(); !errors.Is(err, wshub.ErrSlow) {
							t.Errorf("after the grace: %v", err)
						}
						read()
						return
					}
					got := read()
					if len(got) < 2 || int(got[len(got)-1][0]) != tt.last {
						t.Errorf("%d came, the last is %d, want %d", len(got), got[len(got)-1][0], tt.last)
					}
				})
			})
		}
	}
}

// Direct messages, what a topic keeps for those that lag, and what waits for a busy handler are bounded by their bytes too:
// senders and clients wait.
func TestPitfall21LargeMessagesWait(t *testing.T) {
	const size = 512 << 10
	within := func(t *testing.T, least, most int, send func(context.Context) error) {
		t.Helper()
		n := 0
		for ; n <= most; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			err := send(ctx)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if n < least || n > most {
			t.Errorf("%d were taken, want %d to %d", n, least, most)
		}
	}
	m := wshub.Binary(make([]byte, size))
	for name, do := range map[string]func(*testing.T, *wshub.Hub){
		"mailbox": func(t *testing.T, h *wshub.Hub) {
			ss, cc := sessions(t, h, 1)
			cc[0].Stall()
			within(t, 1, 3, func(ctx context.Context) error { return ss[0].Send(ctx, m) })
			cc[0].Resume()
		},
		"user": func(t *testing.T, h *wshub.Hub) {
			ss, cc := sessions(t, h, 1)
			if err := ss[0].SetUser("ann"); err != nil {
				t.Fatal(err)
			}
			cc[0].Stall()
			within(t, 1, 3, func(ctx context.Context) error { return h.User("ann").Send(ctx, m) })
			cc[0].Resume()
		},
		"log": func(t *testing.T, h *wshub.Hub) {
			topic := newTopic[wshub.Message](t, h, "images", wshub.Evict(1000, time.Hour).With(wshub.MaxBytes(1<<30)))
			ss, cc := sessions(t, h, 1)
			join(t, topic, ss[0])
			cc[0].Stall()
			within(t, 7, 9, func(ctx context.Context) error { return topic.Publish(ctx, m) })
			cc[0].Resume()
		},
		"inbound": func(t *testing.T, h *wshub.Hub) {
			s, c := unread(t, h) // takes nothing from Messages
			sent := make(chan struct{})
			go func() { // ends with the connection
				defer close(sent)
				for c.TrySendRaw(wshubtest.Frame(true, wshubtest.OpBinary, m.Data)) == nil {
				}
			}()
			time.Sleep(time.Second)
			if n := h.Stats().Received; n < 1 || n > 3 {
				t.Errorf("%d were read, want up to 2 that wait and one at hand", n)
			}
			s.Close(1000, "")
			c.Abort()
			<-sent
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				do(t, newHub(t, wshub.WithLimits(wshub.Limits{PendingBytes: 8 * size})))
			})
		})
	}
}

// Bytes that were passed in are the caller's again when the call has returned: changing them changes nothing for a client
// that reads at once, for one whose frames wait, compressed or not, nor for one that gets them from the history.
func TestPitfall22BytesAreCopied(t *testing.T) {
	type doc struct{ Lines []string }
	const n = 20
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithCompression(1), wshub.WithPolicy(wshub.Evict(1000, time.Hour).With(wshub.MaxBytes(1<<30))))
		kept := wshub.History(n, 0)
		raw := newTopic[[]byte](t, h, "bytes", kept)
		messages := newTopic[wshub.Message](t, h, "messages", kept)
		events := newTopic(t, h, "events", kept, wshub.AsEvent[wshub.Message]("say"))
		docs := newTopic[*doc](t, h, "docs", kept)
		texts := newTopic[json.RawMessage](t, h, "texts", kept)
		joinAll := func(s *wshub.Session) {
			all := wshub.Replay(n)
			join(t, raw.With(all), s)
			join(t, messages.With(all), s)
			join(t, events.With(all), s)
			join(t, docs.With(all), s)
			join(t, texts.With(all), s)
		}
		var reads []*wshub.Session
		var cc []*wshubtest.Client
		for _, opts := range [][]wshubtest.DialOption{
			{}, {wshubtest.WithBuffer(100)}, {wshubtest.WithBuffer(100), wshubtest.WithCompression()}, {}, {wshubtest.WithCompression()},
		} {
			ss, clients := sessions(t, h, 1, opts...)
			reads, cc = append(reads, ss...), append(cc, clients...)
		}
		cc[1].Stall()
		cc[2].Stall()
		for _, s := range reads[:3] {
			joinAll(s)
		}
		var want, direct []string
		for i := range n {
			b := []byte(fmt.Sprintf(`"%s"`, strings.Repeat(string(rune('a'+i)), 2000)))
			text := string(b)
			d := &doc{[]string{text[1:11]}}
			publish(t, raw, b)
			publish(t, messages, wshub.Message{Kind: wshub.KindText, Data: b})
			publish(t, events, wshub.Message{Kind: wshub.KindText, Data: b})
			publish(t, docs, d)
			publish(t, texts, json.RawMessage(b))
			want = append(want, text, text, `{"event":"say","topic":"events","data":`+text+`}`, `{"Lines":["`+text[1:11]+`"]}`, text)
			if err := h.Everyone().Send(t.Context(), wshub.Binary(b)); err != nil {
				t.Fatal(err)
			}
			for _, s := range reads {
				if err := s.Send(t.Context(), wshub.Binary(b)); err != nil {
					t.Fatal(err)
				}
			}
			direct = append(direct, text, text)
			clear(b)
			d.Lines[0] = "changed"
			d.Lines = nil
		}
		for _, s := range reads[3:] {
			joinAll(s)
		}
		for i, c := range cc {
			c.Resume()
			synctest.Wait()
			count := map[string]int{}
			for _, text := range append(want, direct...) {
				count[text]++
			}
			got := c.Take()
			for _, m := range got {
				if count[string(m.Data)]--; count[string(m.Data)] < 0 {
					t.Fatalf("client %d got %.50q, which nobody sent so often", i, m.Data)
				}
			}
			if len(got) != len(want)+len(direct) {
				t.Errorf("client %d got %d of %d", i, len(got), len(want)+len(direct))
			}
		}
	})
}

// Texts with newlines arrive as they are, each a message of its own, also when many of them leave in one write, unless
// a policy packs: then they are joined by what it says, whatever that is, and nothing else is, direct messages neither.
func TestPitfall23TextsAreJoinedOnlyWhenAsked(t *testing.T) {
	texts := []string{"one\ntwo", "\n", "", "three\n", "four\x1efive"}
	for _, tt := range []struct {
		policy wshub.Policy
		want   []string // after the first, which leaves alone
	}{
		{wshub.Policy{}, texts},
		{wshub.PackText("\n"), []string{strings.Join(texts, "\n")}},
		{wshub.PackText("\x1e"), []string{strings.Join(texts, "\x1e")}},
		{wshub.PackText(" -- "), []string{strings.Join(texts, " -- ")}},
		{wshub.PackText(""), []string{strings.Join(texts, "")}},
	} {
		t.Run(tt.policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t)
				topic := newTopic[string](t, h, "texts", wshub.Policy{})
				ss, cc := sessions(t, h, 1, wshubtest.WithBuffer(10))
				cc[0].Stall()
				join(t, topic.With(tt.policy), ss[0])
				first := strings.Repeat("x", 20)
				publish(t, topic, first)
				synctest.Wait()
				publish(t, topic, texts...)
				for _, text := range texts {
					if err := ss[0].Send(t.Context(), wshub.Text(text)); err != nil {
						t.Fatal(err)
					}
				}
				cc[0].Resume()
				for _, want := range append(append([]string{first}, tt.want...), texts...) {
					cc[0].ExpectText(want)
				}
				cc[0].ExpectNothing()
			})
		})
	}
}
