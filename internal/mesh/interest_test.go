package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// watched writes down the calls of a bus that change what it listens to.
type watched struct {
	cluster.Bus
	mu    sync.Mutex
	calls []string
	took  time.Duration // of each call
	fail  func(call, subjects string) error
}

func (w *watched) call(ctx context.Context, call string, subjects []string, f func(context.Context, ...string) error) error {
	slices.Sort(subjects)
	all := strings.Join(subjects, " ")
	w.mu.Lock()
	w.calls = append(w.calls, call+" "+all)
	fail := w.fail
	w.mu.Unlock()
	time.Sleep(w.took)
	if fail != nil {
		if err := fail(call, all); err != nil {
			return err
		}
	}
	return f(ctx, subjects...)
}

func (w *watched) Subscribe(ctx context.Context, subjects ...string) error {
	return w.call(ctx, "+", subjects, w.Bus.Subscribe)
}

func (w *watched) Unsubscribe(ctx context.Context, subjects ...string) error {
	return w.call(ctx, "-", subjects, w.Bus.Unsubscribe)
}

func (w *watched) setFail(f func(call, subjects string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = f
}

// take returns the calls since the last time.
func (w *watched) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := strings.Join(w.calls, ", ")
	w.calls = nil
	return calls
}

func (w *watched) expect(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	if got := w.take(); got != want {
		t.Errorf("the bus was told %q, want %q", got, want)
	}
}

func keeperRuns(n plane) bool {
	n.keep.mu.Lock()
	defer n.keep.mu.Unlock()
	return n.keep.running
}

func TestInterest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		bus := &watched{Bus: m.Bus()}
		n := newPlane(t, bus)
		bus.expect(t, "+ wshub.all wshub.c wshub.n.here")

		topic := n.Topic("a room", 1, &planeTopic{})
		bus.expect(t, "")
		topic.Want()
		bus.expect(t, "+ wshub.t.a_20room")
		n.WantUser("ann")
		n.WantUser(strings.Repeat("é", 100))
		synctest.Wait()
		if got := bus.take(); !strings.Contains(got, "wshub.u.ann") || !strings.Contains(got, "wshub.uh.") {
			t.Errorf("the bus was told %q", got)
		}
		if keeperRuns(n) {
			t.Error("the keeper stays")
		}

		// Who comes back soon costs nothing.
		for range 100 {
			topic.Unwant()
			time.Sleep(linger - 1)
			topic.Want()
		}
		bus.expect(t, "")
		time.Sleep(2 * linger)
		bus.expect(t, "")

		topic.Unwant()
		n.UnwantUser("ann")
		time.Sleep(linger - 1)
		bus.expect(t, "")
		time.Sleep(time.Nanosecond)
		bus.expect(t, "- wshub.t.a_20room wshub.u.ann")
		if keeperRuns(n) {
			t.Error("the keeper stays")
		}
		topic.Want()
		bus.expect(t, "+ wshub.t.a_20room")
		time.Sleep(time.Hour)
		bus.expect(t, "")

		// A topic that was made again has the subject of the one before it.
		again := n.Topic("a room", 2, &planeTopic{})
		again.Want()
		topic.Unwant()
		time.Sleep(2 * linger)
		bus.expect(t, "")
		if _, to := n.keep.lookup("wshub.t.a_20room"); to.topic != again {
			t.Error("the topic of before took the subject away")
		}
	})
}

// TestInterestFlapping: a topic that comes and goes all the time is one entry.
func TestInterestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		bus := &watched{Bus: m.Bus()}
		n := newPlane(t, bus)
		topic := n.Topic("room", 1, &planeTopic{})
		bus.take()
		for range 1000 {
			topic.Want()
			topic.Unwant()
		}
		n.keep.mu.Lock()
		if got := len(n.keep.lingering); got != 1 {
			t.Errorf("%d entries", got)
		}
		n.keep.mu.Unlock()
		bus.expect(t, "+ wshub.t.room")
		time.Sleep(linger)
		bus.expect(t, "- wshub.t.room")
	})
}

// TestJoinStorm: many topics at once are few calls of the bus.
func TestJoinStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		bus := &watched{Bus: m.Bus(), took: 10 * time.Millisecond}
		n := newPlane(t, bus)
		time.Sleep(time.Second)
		bus.take()
		topics := make([]*Topic, 10_000)
		var wg sync.WaitGroup
		for i := range topics {
			topics[i] = n.Topic(fmt.Sprint(i), 1, &planeTopic{})
			wg.Go(func() {
				topics[i].Want()
				topics[i].Await(t.Context())
			})
		}
		wg.Wait()
		if d := len(m.Subscribers("wshub.t.9999")); d != 1 {
			t.Error("Await has not waited")
		}
		if calls := strings.Count(bus.take(), "+"); calls > 5 {
			t.Errorf("%d calls for %d topics", calls, len(topics))
		}
		for _, topic := range topics {
			topic.Unwant()
		}
		time.Sleep(linger + time.Second)
		if calls := strings.Count(bus.take(), "-"); calls > 5 {
			t.Errorf("%d calls to take %d topics away", calls, len(topics))
		}
		if got := m.Subscribers("wshub.t.77"); len(got) != 0 {
			t.Errorf("%v still listen", got)
		}
		n.keep.mu.Lock()
		defer n.keep.mu.Unlock()
		if len(n.keep.all) > 10 || n.keep.running {
			t.Errorf("%d subjects are kept", len(n.keep.all))
		}
	})
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		conn := m.Bus()
		bus := &watched{Bus: conn}
		n := newPlane(t, bus)
		room, other := n.Topic("room", 1, &planeTopic{}), n.Topic("other", 1, &planeTopic{})
		wait := func(topic *Topic, want time.Duration) {
			t.Helper()
			start := time.Now()
			topic.Await(t.Context())
			if d := time.Since(start); d != want {
				t.Errorf("Await took %v, want %v", d, want)
			}
		}
		bus.took = 100 * time.Millisecond
		room.Want()
		wait(room, bus.took)
		wait(room, 0)
		wait(other, 0) // nobody wants it
		bus.took = 3 * time.Second
		other.Want()
		wait(other, awaitAtMost)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		other.Await(ctx)
		if d := time.Since(start); d != time.Millisecond {
			t.Errorf("Await took %v, its ctx a millisecond", d)
		}
		time.Sleep(bus.took)
		wait(other, 0)
		bus.took = 0

		// Down: it does not wait, and the subject comes with the bus.
		conn.Down()
		synctest.Wait()
		late := n.Topic("late", 1, &planeTopic{})
		late.Want()
		wait(late, 0)
		synctest.Wait()
		if n.keep.since(mustLookup(t, n, "wshub.t.late")) != (time.Time{}) {
			t.Error("a bus that is down listens")
		}
		time.Sleep(time.Minute)
		if keeperRuns(n) {
			t.Error("the keeper stays while the bus is down")
		}
		conn.Up()
		synctest.Wait()
		if n.keep.since(mustLookup(t, n, "wshub.t.late")) != time.Now() {
			t.Error("nobody noticed that the bus listens")
		}

		// Close ends it.
		bus.took = 500 * time.Millisecond
		last := n.Topic("last", 1, &planeTopic{})
		last.Want()
		start = time.Now()
		done := make(chan struct{})
		go func() { last.Await(t.Context()); close(done) }()
		synctest.Wait()
		go n.Close(t.Context())
		<-done
		if d := time.Since(start); d != 0 {
			t.Errorf("Await goes on for %v after Close", d)
		}
		_ = n.Close(t.Context())
		last.Want()
		last.Unwant()
		wait(last, 0)
	})
}

func mustLookup(t *testing.T, n plane, subject string) *interest {
	t.Helper()
	i, _ := n.keep.lookup(subject)
	if i == nil {
		t.Fatalf("%s is not wanted", subject)
	}
	return i
}

// TestReady: who asks is called by the loop, once the bus listens.
func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		bus := &watched{Bus: m.Bus(), took: 100 * time.Millisecond}
		n := newPlane(t, bus)
		time.Sleep(time.Second)
		start := time.Now()
		var after []time.Duration // the loop's
		ready := func() { after = append(after, time.Since(start)) }
		n.want("wshub.p.room", ready)
		time.Sleep(time.Second)
		n.want("wshub.p.room", ready) // has it
		n.unwant("wshub.p.room")
		n.want("wshub.p.other", ready)
		n.unwant("wshub.p.other") // not any more
		time.Sleep(time.Second)
		n.onLoop(func() {
			if fmt.Sprint(after) != "[100ms 1s]" {
				t.Errorf("called after %v", after)
			}
		})
		time.Sleep(2 * linger)
		if got := m.Subscribers("wshub.p.room"); len(got) != 0 {
			t.Errorf("%v still listen", got)
		}
	})
}

// TestSubscribeFails: what the bus could not have is asked for again, until it tells that it listens.
func TestSubscribeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		bus := &watched{Bus: m.Bus()}
		n := newPlane(t, bus)
		bus.take()
		bus.setFail(func(string, string) error { return errors.New("not now") })
		room, gone := n.Topic("room", 1, &planeTopic{}), n.Topic("gone", 1, &planeTopic{})
		room.Want()
		bus.expect(t, "+ wshub.t.room")
		gone.Want()
		synctest.Wait()
		bus.take()
		time.Sleep(retryAfter)
		bus.expect(t, "+ wshub.t.gone wshub.t.room")
		gone.Unwant()
		time.Sleep(linger + retryAfter)
		synctest.Wait()
		bus.take()
		time.Sleep(retryAfter)
		// Unsubscribe has failed too, and is asked once more after a while.
		bus.expect(t, "+ wshub.t.room")
		bus.setFail(nil)
		time.Sleep(2 * linger)
		bus.expect(t, "+ wshub.t.room, - wshub.t.gone")
		if keeperRuns(n) {
			t.Error("the keeper stays")
		}
		if n.keep.since(mustLookup(t, n, "wshub.t.room")).IsZero() {
			t.Error("the bus listens, and nobody knows")
		}

		// What is dropped while the bus could not have it is not asked for any more.
		bus.setFail(func(call, _ string) error {
			if call == "+" {
				return errors.New("not now")
			}
			return nil
		})
		gone.Want()
		time.Sleep(retryAfter / 2)
		gone.Unwant()
		time.Sleep(linger)
		synctest.Wait()
		bus.take()
		time.Sleep(2 * linger)
		bus.expect(t, "")
		bus.setFail(nil)

		// One that this bus cannot have is nobody else's trouble.
		bus.setFail(func(_, subjects string) error {
			if strings.Contains(subjects, "bad") {
				return cluster.ErrSubject
			}
			return nil
		})
		bus.mu.Lock()
		bus.took = time.Millisecond
		bus.mu.Unlock()
		var topics []*Topic
		for i := range 100 {
			topic := n.Topic(fmt.Sprint("good", i), 1, &planeTopic{})
			topics = append(topics, topic)
			topic.Want()
		}
		bad := n.Topic("bad", 1, &planeTopic{})
		bad.Want()
		bad.Await(t.Context())
		time.Sleep(time.Second)
		for _, topic := range topics {
			if n.keep.since(mustLookup(t, n, topic.subject)).IsZero() {
				t.Errorf("%s suffers", topic.name)
			}
		}
		if keeperRuns(n) {
			t.Error("the keeper stays")
		}
	})
}

// TestWantedAfterUnsubscribeFailed: what the bus may or may not have taken away is asked for when somebody wants it again.
func TestWantedAfterUnsubscribeFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		bus := &scripted{Bus: m.Bus()}
		n := newPlane(t, bus)
		other := newRaw(t, m.Bus(), 7)
		host := &planeTopic{}
		room := n.Topic("room", 1, host)
		room.Want()
		synctest.Wait()
		other.value(room.subject, 1, 1)
		bus.set(func() {
			bus.unsubscribe = func(ctx context.Context, subjects []string) error {
				_ = bus.Bus.Unsubscribe(ctx, subjects...) // and the broker does not answer in time
				return context.DeadlineExceeded
			}
		})
		room.Unwant()
		time.Sleep(linger + time.Second)
		room.Want()
		room.Await(t.Context())
		other.value(room.subject, 1, 9)
		if got := host.numbers(); got != "1 9" {
			t.Errorf("received %q, want 1 9", got)
		}
		if gaps := n.host.takeGaps(); gaps != "" {
			t.Errorf("%s is missing, of what nobody wanted", gaps)
		}
	})
}
