package mesh

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPitfall51Gaps plays what an origin sends on a topic: values ("5", of epoch 1; "2/5" of epoch 2), heartbeats ("b5"), time ("+2s"),
// and what the node does ("want", "unwant"), and compares what is told: values, and gaps in the place where they are told.
func TestPitfall51Gaps(t *testing.T) {
	tests := []struct{ name, play, want string }{
		{"in order", "1 2 3", "1 2 3"},
		{"begins anywhere", "7 8", "7 8"},
		{"one is missing", "1 3", "1 [2-2] 3"},
		{"many are missing", "1 10 11", "1 [2-9] 10 11"},
		{"told once", "1 3 b3 +2s b3 +2s 4", "1 [2-2] 3 4"},
		{"repeats", "1 2 2 1 3", "1 2 3"},
		{"late after its gap", "1 3 2 4", "1 [2-2] 3 4"},

		{"heartbeat agrees", "1 2 b2 +2s 3", "1 2 3"},
		{"gap at the end", "1 2 b4 +2s", "1 2 [3-4]"},
		{"gap at the end, then more", "1 b4 +2s 5", "1 [2-4] 5"},
		{"gap at the end, late", "1 b3 +2s 2 3 4", "1 [2-3] 4"},
		{"heartbeat overtakes", "1 b3 2 3 +2s 4", "1 2 3 4"},
		{"heartbeat overtakes some", "1 b4 2 3 +2s 5", "1 2 3 [4-4] 5"},
		{"heartbeat overtakes, a gap behind it", "1 b3 5 +2s 6", "1 [2-4] 5 6"},
		{"two heartbeats", "1 b3 b5 +2s", "1 [2-3] [4-5]"},
		{"old heartbeat", "1 2 3 b2 +2s 4", "1 2 3 4"},

		{"begins with a heartbeat", "+2s b4 5", "5"},
		{"begins with a heartbeat, gap", "+2s b4 6", "[5-5] 6"},
		{"begins with a heartbeat, gap at the end", "+2s b4 b6 +2s 7", "[5-6] 7"},
		{"begins with a heartbeat, late after its gap", "+2s b4 b6 +2s 5 7", "[5-6] 7"},
		{"heartbeat from before it listened", "b4 8", "8"},
		{"heartbeat as it begins to listen, the last are missing", "b4 2 +2s", "2 [3-4]"},
		{"heartbeat as it begins to listen, before its values", "b4 2 3 +500ms 4 +2s 5", "2 3 4 5"},
		{"heartbeat as it begins to listen, of what came before", "b4 +2s 5 6", "5 6"},
		{"heartbeat as it begins to listen, a later epoch", "b4 2/1 +2s 2/2", "2/1 2/2"},
		{"heartbeat before its value", "+2s b4 4 5", "4 5"},
		{"heartbeat before its values", "+2s b4 3 4 5", "3 4 5"},
		{"heartbeat before its values, one is missing", "+2s b4 3 5", "3 [4-4] 5"},
		{"heartbeat before its values, the last are missing", "+2s b4 2 +2s", "2 [3-4]"},
		{"heartbeat before its values, the last is late", "+2s b4 2 3 +500ms 4 +2s", "2 3 4"},

		{"new epoch", "5 6 2/1 2/2", "5 6 2/1 2/2"},
		{"new epoch, gap", "5 2/3", "5 [2/1-2] 2/3"},
		{"new epoch by a heartbeat", "5 b2/2 +2s 2/3", "5 [2/1-2] 2/3"},
		{"new epoch, the heartbeat overtakes", "5 b2/2 6 2/1 2/2 +2s", "5 6 2/1 2/2"},
		{"new epoch, the end of the one before", "5 2/1 b7 b2/1 +2s", "5 2/1 [6-7]"},
		{"new epoch by a heartbeat, the end of the one before", "5 b7 b2/1 +2s", "5 [6-7] [2/1-1]"},
		{"new epoch, then old values", "5 2/1 6", "5 2/1"},
		{"two epochs on", "5 2/1 3/1 b5 b2/1 b3/1 +2s", "5 2/1 3/1"},
		{"first epoch is a later one", "2/3 2/4", "2/3 2/4"},

		{"lingering", "1 unwant 2 want 3", "1 3"},
		{"lingering, missing while nobody wants it", "1 unwant 3 want 4", "1 4"},
		{"lingering, missing after", "1 unwant 2 want 4", "1 [3-3] 4"},
		{"dropped, begins anew", "1 unwant +6s want 5 6", "1 5 6"},
		{"dropped, an old suspicion", "1 b3 unwant +6s want 5 6", "1 5 6"},
		{"unwanted, a suspicion", "1 b3 unwant +2s want 4", "1 [2-3] 4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t)
				told := &order{}
				n := newPlane(t, m.Bus(), func(c *Config) { c.Host = told })
				from := newRaw(t, m.Bus(), 7)
				topic := n.Topic("room", 9, told)
				topic.Want()
				synctest.Wait()
				for _, step := range strings.Fields(tt.play) {
					switch {
					case step == "want":
						topic.Want()
					case step == "unwant":
						topic.Unwant()
					case step[0] == '+':
						d, err := time.ParseDuration(step[1:])
						if err != nil {
							t.Fatal(err)
						}
						time.Sleep(d)
					case step[0] == 'b':
						epoch, number := place(t, step[1:])
						n.onLoop(func() { n.heard(7, "room", epoch, number) })
					default:
						epoch, number := place(t, step)
						from.value("wshub.t.room", epoch, number)
					}
					synctest.Wait()
				}
				var got string
				n.onLoop(func() { got = strings.Join(told.list, " ") })
				want := strings.ReplaceAll(tt.want, "[2/", "[") // a gap does not say its epoch
				if got != want {
					t.Errorf("told  %q\nwant %q", got, want)
				}
				var gaps uint64
				for _, s := range told.list {
					if s[0] == '[' {
						gaps++
					}
				}
				if s := n.Stats(); s.Gaps != gaps || s.Missing < gaps {
					t.Errorf("%d gaps were told, %+v", gaps, s)
				}
			})
		})
	}
}

// place reads "5" or "2/5".
func place(t *testing.T, s string) (epoch, number uint64) {
	epoch = 1
	if strings.Contains(s, "/") {
		if _, err := fmt.Sscanf(s, "%d/%d", &epoch, &number); err != nil {
			t.Fatal(s, err)
		}
		return epoch, number
	}
	if _, err := fmt.Sscan(s, &number); err != nil {
		t.Fatal(s, err)
	}
	return epoch, number
}

// order is a host and a topic that writes down gaps and values in their order. The loop's.
type order struct {
	planeHost
	list []string
}

func (o *order) Gap(g Gap) { o.list = append(o.list, fmt.Sprintf("[%d-%d]", g.From, g.To)) }

func (o *order) Receive(v Value) {
	if v.Epoch > 1 {
		o.list = append(o.list, fmt.Sprintf("%d/%d", v.Epoch, v.Number))
		return
	}
	o.list = append(o.list, fmt.Sprint(v.Number))
}

func (o *order) Len() int { return 0 }

// TestGapsOfOrigins: origins and topics have nothing to do with each other.
func TestGapsOfOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		n := newPlane(t, m.Bus())
		room, other := &planeTopic{}, &planeTopic{}
		n.Topic("room", 1, room).Want()
		n.Topic("other", 2, other).Want()
		synctest.Wait()
		a, b := newRaw(t, m.Bus(), 1), newRaw(t, m.Bus(), 2)
		a.value("wshub.t.room", 1, 1)
		b.value("wshub.t.room", 1, 5)
		a.value("wshub.t.other", 1, 9)
		a.value(subjectAll, 1, 3)
		a.value("wshub.t.room", 1, 2)
		b.value("wshub.t.room", 1, 6)
		a.value(subjectAll, 1, 5)
		if got := n.host.takeGaps(); got != ":4-4" {
			t.Errorf("gaps %q", got)
		}
		if got := room.numbers() + "|" + other.numbers() + "|" + n.everyone.numbers(); got != "1 5 2 6|9|3 5" {
			t.Errorf("values %q", got)
		}
	})
}

// TestPitfall51GapAfterSilence: an origin that was cut off, gone for its peers and came back still has its numbers; one that stays away
// is forgotten.
func TestPitfall51GapAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		n := newPlane(t, m.Bus())
		from := newRaw(t, m.Bus(), 7)
		from.value(subjectAll, 1, 1)
		n.onLoop(func() { n.forget(7) })
		time.Sleep(time.Minute)
		from.value(subjectAll, 1, 4)
		if got := n.host.takeGaps(); got != ":2-3" {
			t.Errorf("gaps %q after a minute", got)
		}
		n.onLoop(func() { n.forget(7) })
		time.Sleep(2 * sourceFor)
		n.onLoop(func() {
			if len(n.sources.all) != 0 {
				t.Error("the origin is kept")
			}
		})
		from.value(subjectAll, 1, 9)
		if got := n.host.takeGaps(); got != "" {
			t.Errorf("gaps %q of an origin that was forgotten", got)
		}
		n.onLoop(func() {
			if i, _ := n.keep.lookup(subjectAll); len(i.origins) != 1 {
				t.Errorf("%d baselines", len(i.origins))
			}
		})
	})
}

// TestManyOrigins: what is kept of origins is bounded, whoever they are.
func TestManyOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		n := newPlane(t, m.Bus())
		from := newRaw(t, m.Bus(), 0)
		for o := range Origin(2*maxSources + 100) {
			from.origin = o + 1
			from.value(subjectAll, 1, 1)
		}
		n.onLoop(func() {
			i, _ := n.keep.lookup(subjectAll)
			if len(n.sources.all) > maxSources || len(i.origins) > maxSources+1 {
				t.Errorf("%d origins, %d baselines", len(n.sources.all), len(i.origins))
			}
		})
	})
}

// TestManySuspicions: a flood of heartbeats is bounded, and what it told is not lost.
func TestManySuspicions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		n := newPlane(t, m.Bus())
		from := newRaw(t, m.Bus(), 7)
		from.value(subjectAll, 1, 1)
		n.onLoop(func() {
			for i := range uint64(maxSuspects + 10) {
				n.heard(7, "", 1, i+2)
			}
			if len(n.sources.suspects) > maxSuspects {
				t.Errorf("%d suspicions", len(n.sources.suspects))
			}
		})
		time.Sleep(2 * time.Second)
		if s := n.Stats(); s.Missing != maxSuspects+10 {
			t.Errorf("%d are missing", s.Missing)
		}
	})
}

// TestReceiveAllocs: the data plane adds nothing to what the bus has allocated.
func TestReceiveAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	n := quietPlane(t)
	var e envelope
	payload := []byte("hello")
	number := uint64(0)
	if got := testing.AllocsPerRun(1000, func() {
		number++
		e = envelope{kind: kindValue, origin: 7, epoch: 1, number: number, payload: payload}
		n.receiveValue(n.source(7, time.Unix(1, 0)), &e, subjectAll)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
	_ = n.Close(context.Background())
}
