package wshub_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
)

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		last3 := newTopic[int](t, h, "last3", wshub.History(3, time.Minute))
		wantSeq(t, last3.Snapshot())
		publish(t, last3, 1, 2)
		before := last3.Snapshot()
		wantSeq(t, before, 1, 2)
		publish(t, last3, 3, 4, 5)
		wantSeq(t, before, 3, 4, 5) // taken when the loop begins
		for v := range last3.Snapshot() {
			publish(t, last3, v+10) // while it goes
		}
		wantSeq(t, last3.Snapshot(), 13, 14, 15)
		time.Sleep(time.Minute)
		wantSeq(t, last3.Snapshot())

		none := newTopic[int](t, h, "none", wshub.Policy{})
		s := none.Subscribe(t.Context())
		defer s.Close()
		publish(t, none, 1) // pending for the stream, and no history
		wantSeq(t, none.Snapshot())
		wantSeq(t, wshub.Topic[int]{}.Snapshot())
	})
}

// With keys it is the last value of each, in the order of their last changes, as a Replay of everything is.
func TestSnapshotIsWhatReplayOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		ss, _ := sessions(t, h, 1)
		for _, p := range []wshub.Policy{wshub.History(4, 0), wshub.Compose(wshub.Coalesce(), wshub.History(4, 0))} {
			topic := newTopic(t, h, p.String(), p, wshub.KeyBy(price.key))
			for i, k := range []string{"A", "B", "A", "C", "D", "E", "C", "B"} {
				publish(t, topic, price{k, i})
			}
			publish(t, topic.Except(ss[0]), price{"F", 100})
			publish(t, topic.Only(ss[0]), price{"G", 101}) // not for streams
			snapshot := slices.Collect(topic.Snapshot())
			ctx, cancel := context.WithCancel(t.Context())
			// Everything at once: what Coalesce holds back for a key would change the order.
			stream := topic.With(wshub.Compose(wshub.KeepAll(), wshub.Replay(1000))).Stream(ctx)
			var replay []price
			for open := true; open; {
				synctest.Wait()
				select {
				case v := <-stream:
					replay = append(replay, v)
				default:
					open = false
				}
			}
			cancel()
			if len(snapshot) != 4 || !slices.Equal(snapshot, replay) {
				t.Errorf("%v: snapshot %v, replay %v", p, snapshot, replay)
			}
		}
	})
}

// What a few are told of a key is not its state: whoever comes later gets the last value that was for all.
func TestOnlyIsNoState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		ss, cc := sessions(t, h, 2)
		topic := newTopic(t, h, "state", wshub.Compose(wshub.Coalesce(), wshub.History(4, 0)), wshub.KeyBy(price.key))
		join(t, topic, ss[0])
		publish(t, topic, price{"A", 1}, price{"B", 2})
		for i := range 10 {
			publish(t, topic.Only(ss[0]), price{"A", 10 + i}, price{fmt.Sprint(i), 0})
			synctest.Wait()
		}
		wantSeq(t, topic.Snapshot(), price{"A", 1}, price{"B", 2})
		join(t, topic.With(wshub.Replay(10)), ss[1])
		cc[1].ExpectText(`{"symbol":"A","value":1}`)
		cc[1].ExpectText(`{"symbol":"B","value":2}`)
		cc[1].ExpectNothing()
	})
}

// A snapshot beside publishers, members that come and go and history that ages is always a run of what was published.
func TestSnapshotBesidePublishers(t *testing.T) {
	h := newHub(t)
	topic := newTopic[int](t, h, "t", wshub.History(8, 50*time.Millisecond))
	const n = 3000
	done, turn := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			if i%100 == 1 {
				<-turn // or all may be published before anybody looks
			}
			if err := topic.Publish(context.Background(), i); err != nil {
				t.Error(err)
			}
			if i%100 == 0 {
				topic.Subscribe(context.Background()).Close()
			}
		}
	}()
	looks, highest := 0, 0
	for open := true; open; {
		select {
		case <-done:
			open = false // and look once more
		case turn <- struct{}{}:
		default:
		}
		before := -1
		for v := range topic.Snapshot() {
			if before >= 0 && v != before+1 {
				t.Errorf("%d after %d", v, before)
			}
			before = v
		}
		if before < 0 {
			continue // it has aged by the time we look
		}
		if before < highest {
			t.Errorf("%d after a snapshot with %d", before, highest)
		}
		looks, highest = looks+1, before
	}
	if looks == 0 {
		t.Error("never saw anything")
	}
}

// A topic whose last member leaves is looked at to see whether it may vanish. With history it may not, and does not do so
// for an instant.
func TestSnapshotBesideTheLastToLeave(t *testing.T) {
	h := newHub(t)
	topic := newTopic[int](t, h, "t", wshub.History(1, 0))
	publish(t, topic, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			topic.Subscribe(context.Background()).Close()
		}
	}()
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
		}
		wantSeq(t, topic.Snapshot(), 1)
	}
}

// What a few are told pushes nothing out of the history of the others.
func TestOnlyIsNoHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		ss, cc := sessions(t, h, 2)
		topic := newTopic[string](t, h, "chat", wshub.History(3, 0))
		join(t, topic, ss[0])
		publish(t, topic, "a", "b", "c", "d")
		for range 20 {
			publish(t, topic.Only(ss[0]), "welcome")
		}
		wantSeq(t, topic.Snapshot(), "b", "c", "d")
		join(t, topic.With(wshub.Replay(10)), ss[1])
		publish(t, topic, "e")
		for _, want := range []string{"b", "c", "d", "e"} {
			cc[1].ExpectText(want)
		}
		cc[1].ExpectNothing()
	})
}
