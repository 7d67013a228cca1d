package mesh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// Two processes with one id hear of each other, are told of it once, and work as well as they can.
func TestPitfall32Conflict(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		a, b := start(t, net, "same"), start(t, net, "same")
		c := start(t, net, "c")
		a.setSessions(1)
		b.setSessions(2)
		a.users["ann"], b.users["ann"] = 3, 4
		settle(3 * testInterval)
		for _, f := range []*folk{a, b} {
			f.mu.Lock()
			want(t, "conflicts", f.conflicts, 1)
			f.mu.Unlock()
		}
		want(t, "sessions", c.OtherSessions(), 3)
		want(t, "c", c.peers() == "same:1 same:2" || c.peers() == "same:2 same:1", true)
		if n, err := c.CountUser(t.Context(), "ann"); n != 7 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := a.CountUser(t.Context(), "ann"); n != 4 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		b.end()
		synctest.Wait()
		want(t, "c", c.peers(), "same:1")
		want(t, "known", c.Node.peers.knows("same"), true)
		a.end()
		synctest.Wait()
		want(t, "known", c.Node.peers.knows("same"), false)
	})
}

// A process that stood still does not take the others for dead.
func TestStalled(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 2)
		// What the loop does cannot be stopped in fake time: it is told that time has passed.
		f := all[0]
		f.do(func() {
			f.pulse(time.Now().Add(time.Hour))
			want(t, "peers", len(f.Peers()), 1)
			f.Node.peers.due = time.Now()
		})
		synctest.Wait()
		want(t, "evicted", f.Stats().Evicted, uint64(0))
	})
}

// What is left of a node that said goodbye does not bring it back.
func TestLateAfterBye(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		all := startAll(t, net, 2)
		a, b := all[0], all[1]
		var mu sync.Mutex
		var late []cluster.Message
		net.Tap(func(d cluster.Delivery) bool {
			mu.Lock()
			defer mu.Unlock()
			if d.From == "n0" && kindOf(d) == kindBeat {
				late = append(late, cluster.Message{Subject: d.Subject, Data: slices.Clone(d.Data)})
			}
			return true
		})
		settle(3 * testInterval)
		a.end()
		settle(0)
		net.Tap(nil)
		other := net.Connect("other")
		defer other.Close()
		if _, err := other.Publish(t.Context(), late...); err != nil || len(late) == 0 {
			t.Fatal(err)
		}
		settle(0)
		want(t, "peers", b.peers(), "")
		settle(2 * goneFor)
		want(t, "departed", b.look().departed, 0)
	})
}

// evil makes bodies by hand.
type evil struct{ raw }

func (e evil) say(k kind, parts ...any) {
	e.t.Helper()
	e.mumble(k, parts...)
	synctest.Wait()
}

// mumble is say without waiting until it was heard.
func (e evil) mumble(k kind, parts ...any) {
	e.t.Helper()
	var body []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			body = appendName(body, p)
		case int:
			body = binary.AppendUvarint(body, uint64(p))
		case uint64:
			body = binary.AppendUvarint(body, p)
		case Origin:
			body = binary.BigEndian.AppendUint64(body, uint64(p))
		case []byte:
			body = append(body, p...)
		}
	}
	m := envelope{kind: k, origin: e.origin, time: time.Now().UnixNano(), payload: body}
	if _, err := e.bus.Publish(e.t.Context(), cluster.Message{Subject: subjectControl, Data: m.append(nil)}); err != nil {
		e.t.Fatal(err)
	}
}

// Bodies that are cut short, too long, or out of bounds are refused whole.
func TestPitfall32MalformedControl(t *testing.T) {
	long := []byte{200, 1}
	cases := []struct {
		name  string
		kind  kind
		parts []any
	}{
		{"hello without anything", kindHello, nil},
		{"hello without an interval", kindHello, []any{"x"}},
		{"hello without a name", kindHello, []any{"", 5000}},
		{"hello of a name that is no token", kindHello, []any{"x.y", 5000}},
		{"hello of everybody", kindHello, []any{"*", 5000}},
		{"hello with more", kindHello, []any{"x", 5000, 1}},
		{"interval 0", kindHello, []any{"x", 0}},
		{"interval of two hours", kindHello, []any{"x", 7_200_000}},
		{"bye with more", kindBye, []any{1}},
		{"beat 0", kindBeat, []any{"x", 5000, 0, 0, 0}},
		{"beat cut", kindBeat, []any{"x", 5000, 1, 0}},
		{"sessions", kindBeat, []any{"x", 5000, 1, uint64(1 << 31), 0}},
		{"unknown item", kindBeat, []any{"x", 5000, 1, 0, 0, 9, "t"}},
		{"count of no topic", kindBeat, []any{"x", 5000, 1, 0, 0, itemCount, "", 1}},
		{"count cut", kindBeat, []any{"x", 5000, 1, 0, 0, itemCount, "t"}},
		{"count", kindBeat, []any{"x", 5000, 1, 0, 0, itemCount, "t", uint64(1 << 31)}},
		{"one good, one bad", kindBeat, []any{"x", 5000, 1, 0, 0, itemCount, "t", 1, itemNumber, "t", 1}},
		{"name longer than the body", kindBeat, []any{"x", 5000, 1, 0, 0, itemCount, long}},
		{"uvarint with zeros", kindBeat, []any{"x", 5000, 1, 0, []byte{0x80, 0}}},
		{"part without index", kindPart, []any{"x", 5000, 1, 0, 0}},
		{"want without origin", kindWant, []any{"x", 5000, 1}},
		{"ask without text", kindAsk, []any{"x", 5000, 1, 1}},
		{"ask of what", kindAsk, []any{"x", 5000, 1, 9, "t"}},
		{"text longer than the body", kindAsk, []any{"x", 5000, 1, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xf, 'a'}}},
		{"answer to nobody", kindAnswer, []any{1}},
		{"watch of nothing", kindWatch, []any{"x", 5000, ""}},
		{"unwatch of nothing", kindUnwatch, []any{""}},
		{"members of nobody", kindMembers, []any{1}},
		{"members that are not there", kindMembers, []any{Origin(1), "t", 1, 1, 1, 1 << 30}},
		{"change 0", kindChange, []any{"t", 0, 0, "s", "u", 0}},
		{"change with flags", kindChange, []any{"t", 1, 4, "s", "u", 0}},
		{"change of nobody", kindChange, []any{"t", 1, 0, "s"}},
		{"data of another kind", kindChange, []any{"t", 1, 0, "s", "u", 2}},
		{"unknown", 99, []any{1}},
		{"unknown", 255, nil},
	}
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		f := start(t, net, "f")
		f.watch("t")
		settle(2 * time.Second)
		e := evil{newRaw(t, net.Connect("evil"), 666)}
		for i, c := range cases {
			e.say(c.kind, c.parts...)
			want(t, c.name, f.Stats().Malformed, uint64(i+1))
			want(t, c.name+": peers", f.peers(), "")
		}
		want(t, "totals", f.look().totals, 0)
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, err := range f.refused {
			if !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
		}
	})
}

// However many nodes somebody makes up, and whatever they say they have, there are bounds.
func TestBounds(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		f := start(t, net, "f")
		settle(time.Second)
		e := evil{newRaw(t, net.Connect("evil"), 1)}
		for i := range maxPeers + 10 {
			e.origin = Origin(i + 1)
			e.mumble(kindHello, fmt.Sprint(i), 5000)
		}
		synctest.Wait()
		want(t, "peers", len(f.Peers()), maxPeers)
		want(t, "refused", f.Stats().Malformed, uint64(10))
		e.say(kindHello, "another name", 5000)
		e.origin = 1
		e.say(kindHello, "another name", 5000)
		want(t, "refused", f.Stats().Malformed, uint64(12))
		e.say(kindBeat, "0", 5000, 1, maxCount, 0, itemCount, "t", maxCount)
		e.origin = 2
		e.say(kindBeat, "1", 5000, 1, maxCount, 0, itemCount, "t", maxCount)
		want(t, "sum", int64(f.topic("t").Others()), clampedSum(2*maxCount))
		for i := range maxPeers {
			e.origin = Origin(i + 1)
			e.mumble(kindBye)
		}
		synctest.Wait()
		want(t, "peers", len(f.Peers()), 0)
		want(t, "sum", f.topic("t").Others(), 0)
		settle(2 * time.Minute)

		e.origin = 9999
		e.say(kindBeat, "wide", 5000, 1, 0, 0, itemCount, "t", 1)
		f.do(func() {
			pr := f.Node.peers.all[9999]
			for len(pr.counts) < maxTopics {
				pr.counts[&total{refs: 1}] = 1
			}
		})
		before := f.Stats().Malformed
		e.say(kindBeat, "wide", 5000, 2, 0, 0, itemCount, "t", 2, itemCount, "one too many", 1)
		want(t, "refused", f.Stats().Malformed-before, uint64(1))
		want(t, "t", f.topic("t").Others(), 2)
		want(t, "one too many", f.topic("one too many").Others(), 0)
		e.say(kindBye)
		want(t, "topics", f.look().totals, 0)
	})
}

func clampedSum(v int64) int64 { return int64(clampInt(v)) }

// What a peer had is given back when it goes.
func TestPeerMemory(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		f := start(t, net, "f")
		settle(time.Second)
		e := evil{newRaw(t, net.Connect("evil"), 7)}
		before := heap()
		round := func(number int) {
			for i := range 100 {
				var body []byte
				for j := range 1000 {
					body = append(body, itemCount)
					body = binary.AppendUvarint(appendName(body, fmt.Sprintf("room-%d-%d", i, j)), 1)
				}
				e.say(kindBeat, "e", 5000, number+i, 0, 0, body)
			}
		}
		round(1)
		with := heap()
		want(t, "topics", f.look().totals, 100_000)
		e.say(kindBye)
		e.origin = 8
		e.say(kindHello, "e", 5000) // what was kept by the last message is replaced
		after := heap()
		t.Logf("%d KB with 100,000 topics, %d KB after", (with-before)>>10, (after-before)>>10)
		if after-before > (with-before)/2 {
			t.Errorf("%d bytes of %d are kept", after-before, with-before)
		}
		runtime.KeepAlive(f)
	})
}

// sent is the bytes of a member.
func sent(session string) []byte { return appendMember(nil, Member{Session: session}) }

// Parts of two lists are not mixed, changes that come before the list wait for it, and those before others too.
func TestListsInParts(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		f := start(t, net, "f")
		settle(time.Second)
		e := evil{newRaw(t, net.Connect("evil"), 7)}
		e.say(kindHello, "e", 3_600_000)
		f.watch("t")
		settle(10 * time.Millisecond)
		me := f.Origin()
		change := func(number int, flags byte, session string) {
			e.say(kindChange, "t", number, []byte{flags}, sent(session))
		}
		// name, number, serial, index times two and 1 in the last, members
		change(7, changeJoined, "seven")
		e.say(kindMembers, me, "t", 5, 1, 0, 2, sent("a"), sent("b"))
		e.say(kindMembers, me, "t", 5, 2, 0, 1, sent("c")) // asked twice
		e.say(kindMembers, me, "t", 5, 1, 3, 1, sent("c"))
		want(t, "lists", f.listsTold(), 0)
		change(6, changeJoined, "six")
		e.say(kindMembers, me, "t", 5, 2, 3, 2, sent("a"), sent("b"))
		want(t, "sees", f.sees("t"), "a b c seven six")
		want(t, "ready", f.readies("t"), 1)
		e.say(kindMembers, me, "t", 5, 3, 1, 0) // says nothing new
		want(t, "sees", f.sees("t"), "a b c seven six")
		change(6, 0, "a") // a repeat
		want(t, "sees", f.sees("t"), "a b c seven six")
		change(9, 0, "a")
		want(t, "sees", f.sees("t"), "a b c seven six")
		change(8, 0, "b")
		want(t, "sees", f.sees("t"), "c seven six")
		change(8, 0, "c")
		want(t, "sees", f.sees("t"), "c seven six")
		want(t, "lists", f.listsTold(), 1)
		want(t, "refused", f.Stats().Malformed, uint64(0))
		want(t, "unsettled", f.look().unsettled, 0)

		// Another node's origin: somebody with the same id watches.
		e.say(kindMembers, me+1, "t", 99, 9, 1, 0)
		want(t, "sees", f.sees("t"), "c seven six")
		// Changes of a topic that is not watched, and of a node that is not known.
		before := f.Stats().Unwanted
		e.say(kindChange, "other", 1, []byte{0}, sent("x"))
		e.origin = 8
		e.say(kindChange, "t", 10, []byte{0}, sent("x"))
		want(t, "unwanted", f.Stats().Unwanted-before, uint64(2))
	})
}

// The same holds for answers.
func TestAnswersInParts(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		f := start(t, net, "f")
		settle(time.Second)
		e := evil{newRaw(t, net.Connect("evil"), 7)}
		e.say(kindHello, "e", 3_600_000)
		var list []NodeMembers
		done := make(chan struct{})
		go func() {
			defer close(done)
			list, _ = f.Present(t.Context(), "t")
		}()
		synctest.Wait()
		me := f.Origin()
		// number of the ask and of the answer, index times two and 1 in the last, members
		e.say(kindAnswer, me, 1, 4, 0, sent("a"))
		e.say(kindAnswer, me, 1, 5, 0, sent("b"))
		e.say(kindAnswer, me, 1, 4, 3, sent("b"))
		e.say(kindAnswer, me, 1, 4, 0, sent("a")) // repeated
		e.say(kindAnswer, me, 1, 5, 5, sent("c")) // one is missing
		e.say(kindAnswer, me, 2, 5, 3, sent("d"))
		e.say(kindAnswer, me+1, 1, 5, 3, sent("d"))
		select {
		case <-done:
			t.Fatal(list)
		default:
		}
		e.say(kindAnswer, me, 1, 5, 3, sent("a"))
		<-done
		want(t, "list", fmt.Sprintf("%s", list), "[{e [{b  } {a  }]}]")
	})
}

// However often it is asked, a node makes one snapshot a second.
func TestSnapshotRate(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		f := start(t, net, "f")
		settle(time.Second)
		e := evil{newRaw(t, net.Connect("evil"), 7)}
		for i := range 1000 {
			if i%2 == 0 {
				e.say(kindWant, "e", 5000, f.Origin())
			} else {
				e.say(kindHello, "e", 5000)
			}
			settle(10 * time.Millisecond)
		}
		if sum, _ := snapshotsOf([]*folk{f}); sum < 9 || sum > 11 {
			t.Errorf("%d snapshots in 10 seconds", sum)
		}
		before, _ := snapshotsOf([]*folk{f})
		settle(2 * time.Second)
		e.say(kindWant, "e", 5000, f.Origin()+1) // the other node of this id
		settle(2 * time.Second)
		after, _ := snapshotsOf([]*folk{f})
		if after-before > 1 {
			t.Errorf("%d snapshots for another", after-before)
		}
	})
}

// Only what is news is taken: not a heartbeat or a snapshot that has come before, or of before one that was taken.
func TestOldReports(t *testing.T) {
	bubble(t, func(t *testing.T, net *cluster.Memory) {
		f := start(t, net, "f")
		settle(time.Second)
		e := evil{newRaw(t, net.Connect("evil"), 7)}
		beat := func(number, count int) { e.say(kindBeat, "e", 5000, number, 1, 0, itemCount, "t", count) }
		part := func(number, index, count int) {
			e.say(kindPart, "e", 5000, number, 1, 0, index, itemCount, "t", count)
		}
		now := func(what string, count int) {
			t.Helper()
			want(t, what, f.topic("t").Others(), count)
		}
		beat(1, 10)
		beat(2, 20)
		now("in order", 20)
		beat(1, 10)
		now("repeat", 20)
		part(1, 1, 11)
		now("old snapshot", 20)
		part(2, 1, 22)
		now("snapshot of what is known", 20)
		beat(5, 50)
		now("what is newer holds", 50)
		want(t, "behind", f.look().behind, 1)
		part(4, 1, 44)
		now("old snapshot", 50)
		want(t, "behind", f.look().behind, 1)
		part(6, 0, 66)
		beat(7, 70)
		part(6, 3, 67)
		now("snapshot that was overtaken", 70)
		part(7, 1, 71)
		now("snapshot", 71)
		want(t, "behind", f.look().behind, 0)
		want(t, "topics", f.look().totals, 1)
	})
}
