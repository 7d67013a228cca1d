package mesh

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// sizes adds up sizes of messages.
type sizes struct {
	mu           sync.Mutex
	largest, sum int
}

func (s *sizes) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.largest, s.sum = max(s.largest, n), s.sum+n
}

// take returns the largest and the sum since the last call.
func (s *sizes) take() (largest, sum int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	largest, sum = s.largest, s.sum
	s.largest, s.sum = 0, 0
	return largest, sum
}

// beatsOf has f called with the data of each heartbeat that a node receives.
func beatsOf(net *cluster.Memory, to string, f func(from string, data []byte)) {
	net.Tap(func(d cluster.Delivery) bool {
		var e envelope
		if d.To == to && d.Subject == subjectControl && e.parse(d.Data) == nil && e.kind == kindBeat {
			f(d.From, d.Data)
		}
		return true
	})
}

// A heartbeat of a node with 100,000 topics of which none has changed is under 200 bytes; one with a change is not much more,
// and those that tell all of them stay below 32 KiB.
func TestPitfall35BeatBytes(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 2)
		a, b := all[0], all[1]
		const topics = 100_000
		var count sizes
		beatsOf(net, "n1", func(_ string, data []byte) { count.add(len(data)) })
		for i := range topics {
			a.set(fmt.Sprintf("room-%06d", i), 1)
		}
		a.setSessions(topics)
		settle(2 * testInterval)
		want(t, "topics", b.look().totals, topics)
		largest, sum := count.take()
		if largest >= 32<<10 || sum > 40*topics {
			t.Errorf("100,000 changes: up to %d bytes a message, %d in all", largest, sum)
		}
		before := a.Stats()
		settle(10 * testInterval)
		if n := a.Stats().Beats - before.Beats; n < 10 || n > 13 {
			t.Errorf("%d heartbeats in 10 intervals", n)
		}
		if largest, sum = count.take(); largest >= 200 || sum == 0 {
			t.Errorf("%d bytes without a change", largest)
		}
		if bytes := (a.Stats().BeatBytes - before.BeatBytes) / (a.Stats().Beats - before.Beats); bytes != uint64(largest) {
			t.Errorf("counted %d bytes, sent %d", bytes, largest)
		}
		t.Logf("%d bytes without a change", largest)
		a.set("room-000007", 2)
		settle(time.Second)
		if largest, _ = count.take(); largest >= 200 {
			t.Errorf("%d bytes with one", largest)
		}
		want(t, "the other node", b.topic("room-000007").Others(), 2)

		c := start(t, net, "c") // gets it all as a snapshot
		settle(2 * testInterval)
		want(t, "snapshot", c.look().totals, topics)
		want(t, "snapshot", c.topic("room-000007").Others(), 2)
	})
}

// Changes are told soon, but not each of them.
func TestEarlyBeats(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 2)
		a, b := all[0], all[1]
		settle(time.Second)
		a.set("x", 1)
		settle(time.Millisecond)
		want(t, "first change", b.topic("x").Others(), 1)
		before := a.Stats().Beats
		for i := range 1000 {
			a.set("x", i)
			a.setSessions(i)
			settle(time.Millisecond)
		}
		if n := a.Stats().Beats - before; n > 12 {
			t.Errorf("%d heartbeats in a second", n)
		}
		settle(200 * time.Millisecond)
		want(t, "last change", b.topic("x").Others(), 999)
		want(t, "sessions", b.OtherSessions(), 999)
	})
}

// One that comes and goes between two heartbeats is not told at all.
func TestBeatOfNoChange(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		a := startAll(t, net, 2)[0]
		a.set("x", 1)
		a.setSessions(1)
		settle(10 * time.Millisecond)
		before := a.Stats().Beats
		for range 100 {
			a.set("x", 2)
			a.set("x", 1)
			a.setSessions(0)
			a.setSessions(1)
			settle(time.Millisecond)
		}
		if n := a.Stats().Beats - before; n > 1 {
			t.Errorf("%d heartbeats about nothing", n)
		}
		want(t, "pending", a.look().pending, false)
	})
}

// Heartbeats of a node that others hear no values of tell what they have missed.
func TestBeatTellsNumbers(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 2)
		a, b := all[0], all[1]
		b.topic("x").Want()
		settle(time.Second)
		publish := func() { a.topic("x").Publish(Outgoing{Payload: Payload{Data: []byte("v")}}) }
		publish()
		settle(0)
		net.Tap(func(d cluster.Delivery) bool { return d.Subject != "wshub.t.x" })
		publish()
		publish()
		settle(2 * testInterval)
		net.Tap(nil)
		want(t, "gaps", fmt.Sprint(b.takeGaps()), "[{n0 x 2 3}]")

		// Also when the heartbeats were missed as well, or the node was given up: a snapshot has them.
		for _, silent := range []time.Duration{testInterval, 6 * testInterval} {
			net.Partition([]string{"n0"})
			publish()
			settle(silent)
			net.Partition()
			settle(3 * testInterval)
			want(t, fmt.Sprint("gaps after ", silent), len(b.takeGaps()), 1)
		}
	})
}

func TestBeatsWaitForTheBus(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		net.Down()
		a, b := start(t, net, "a"), start(t, net, "b")
		settle(10 * testInterval)
		want(t, "beats", a.Stats().Beats, uint64(0))
		net.Up()
		a.setSessions(1)
		settle(3 * time.Second)
		want(t, "b", b.peers(), "a:1")
		failed := a.Stats().Failed
		net.Down()
		a.setSessions(2)
		settle(10 * testInterval)
		want(t, "b alone", b.OtherSessions(), 0)
		want(t, "failed", a.Stats().Failed, failed)
		net.Up()
		settle(3 * time.Second)
		want(t, "b", b.peers(), "a:2")
	})
}
