package fanout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/internal/queue"
	"github.com/wshub-go/wshub/internal/wire"
)

func TestPublishReachesEveryMember(t *testing.T) {
	for _, n := range []int{1, 3, 63, 64, 65, 200, 2000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				var clients []*client
				for range n {
					c := newClient(e)
					c.join(t, topic, lossless)
					clients = append(clients, c)
				}
				publish(t, topic, "a", "b", "c")
				synctest.Wait()
				for i, c := range clients {
					wants(t, fmt.Sprint("client ", i), c.conn.received(), "a b c")
				}
				if got, want := topic.Tally(), (Tally{Offered: uint64(3 * n), Sent: uint64(3 * n)}); got != want {
					t.Errorf("Tally %+v, want %+v", got, want)
				}
				resting(t, topic)
			})
		})
	}
}

func TestJoinLeave(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		a, b := newClient(e), newClient(e)
		publish(t, topic, "1")
		ma := a.join(t, topic, lossless)
		publish(t, topic, "2")
		mb := b.join(t, topic, lossless)
		publish(t, topic, "3")
		synctest.Wait()
		if m, err := topic.Join(a.Subscriber, lossless, nil, 0); m != ma || err != ErrMember {
			t.Errorf("second Join: %p, %v; want %p, %v", m, err, ma, ErrMember)
		}
		if !ma.Leave() || ma.Leave() {
			t.Error("Leave: want true once")
		}
		publish(t, topic, "4")
		synctest.Wait()
		wants(t, "a", a.conn.received(), "2 3")
		wants(t, "b", b.conn.received(), "3 4")
		if topic.Len() != 1 || a.Len() != 0 || b.Len() != 1 || b.Member(topic) != mb || a.Member(topic) != nil {
			t.Errorf("membership: topic %d, a %d, b %d", topic.Len(), a.Len(), b.Len())
		}
		m := a.join(t, topic, lossless)
		publish(t, topic, "5")
		synctest.Wait()
		wants(t, "a", a.conn.received(), "2 3 5")
		if got, want := ma.Tally().Add(m.Tally()), (Tally{Offered: 3, Sent: 3}); got != want {
			t.Errorf("a's two memberships: %+v, want %+v", got, want)
		}
		a.Detach()
		b.Detach()
		if topic.Len() != 0 {
			t.Errorf("Len %d after all left", topic.Len())
		}
		if got, want := topic.Tally(), (Tally{Offered: 6, Sent: 6}); got != want {
			t.Errorf("Tally %+v, want %+v", got, want)
		}
		resting(t, topic)
	})
}

func TestMaxMembersAndRetire(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := e.NewTopic(TopicConfig{MaxMembers: 1})
		a, b := newClient(e), newClient(e)
		m := a.join(t, topic, lossless)
		if _, err := topic.Join(b.Subscriber, lossless, nil, 0); err != ErrFull {
			t.Errorf("Join of a full topic: %v", err)
		}
		if _, err := topic.Join(a.Subscriber, lossless, nil, 0); err != ErrMember {
			t.Errorf("Join of a full topic by its member: %v", err)
		}
		if topic.Retire() {
			t.Error("Retire with a member")
		}
		m.Leave()
		if !topic.Retire() {
			t.Error("Retire without members: false")
		}
		if _, err := topic.Join(b.Subscriber, lossless, nil, 0); err != ErrRetired {
			t.Errorf("Join after Retire: %v", err)
		}
		topic.Unretire()
		b.join(t, topic, lossless)
		resting(t, topic)
	})
}

func TestExceptOnlyWhere(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		a, b, c := newClient(e), newClient(e), newClient(e)
		a.join(t, topic, lossless)
		b.join(t, topic, lossless)
		even := func(v any) bool { return strings.ContainsAny(v.(string), "02468") }
		mc, err := topic.Join(c.Subscriber, lossless, even, 0)
		if err != nil {
			t.Fatal(err)
		}
		with := func(text string, except, only []uint64) {
			x := entry(text)
			x.Except, x.Only = except, only
			publishEntry(t, topic, x)
		}
		with("0", nil, nil)
		with("1", nil, nil)
		with("2", []uint64{a.ID(), 999}, nil)
		with("4", nil, []uint64{a.ID(), c.ID()})
		with("6", []uint64{c.ID()}, []uint64{a.ID(), c.ID()})
		with("8", nil, []uint64{})
		with("end0", nil, nil)
		synctest.Wait()
		wants(t, "a", a.conn.received(), "0 1 4 6 end0")
		wants(t, "b", b.conn.received(), "0 1 2 end0")
		wants(t, "c", c.conn.received(), "0 2 4 end0")
		if got, want := mc.Tally(), (Tally{Offered: 7, Sent: 4, Filtered: 3}); got != want {
			t.Errorf("c: %+v, want %+v", got, want)
		}
		if got, want := topic.Tally(), (Tally{Offered: 21, Sent: 13, Filtered: 8}); got != want {
			t.Errorf("topic: %+v, want %+v", got, want)
		}
		resting(t, topic)
	})
}

func TestFilterThatPanics(t *testing.T) {
	for _, r := range []*Rule{lossless, {N: 1, Coalesce: true}, {N: 1, Coalesce: true, Flush: time.Second}, {N: 10, Overflow: DropNewest}, {N: 1, Overflow: DropOldest}} {
		t.Run(fmt.Sprintf("%v/coalesce=%v/flush=%v", r.Overflow, r.Coalesce, r.Flush), func(t *testing.T) {
			for _, stalled := range []bool{false, true} {
				bubble(t, Config{}, func(t *testing.T, e *Engine) {
					topic, quiet := newTopic(e), newTopic(e)
					a, b := newClient(e), newClient(e)
					b.join(t, topic, lossless)
					a.join(t, quiet, lossless)
					m, err := topic.Join(a.Subscriber, r, func(v any) bool {
						if v == "bad" {
							panic("boom")
						}
						return true
					}, 0)
					if err != nil {
						t.Fatal(err)
					}
					if stalled {
						a.conn.stall(1)
						publish(t, quiet, "first")
						synctest.Wait()
					}
					publish(t, topic, "1", "2", "bad", "3", "4")
					time.Sleep(2 * time.Second)
					synctest.Wait()
					wants(t, "b", b.conn.received(), "1 2 bad 3 4")
					var p *PanicError
					a.conn.resume()
					synctest.Wait()
					if a.owner.told() != (told{failed: 1}) || !errors.As(a.owner.failed[0], &p) || p.Value != "boom" || len(p.Stack) == 0 {
						t.Errorf("stalled=%v: owner was told %+v %v", stalled, a.owner.told(), a.owner.failed)
					}
					got := m.Tally()
					balanced(t, "a", got)
					if got.Pending != 0 || got.Offered > 5 {
						t.Errorf("stalled=%v: %+v", stalled, got)
					}
					a.Detach()
					resting(t, topic)
					resting(t, quiet)
				})
			}
		})
	}
}

func TestShortWritesAtEveryByte(t *testing.T) {
	var texts []string
	total := 0
	for i := range 5 {
		texts = append(texts, strings.Repeat(string(rune('a'+i)), 1+i*40)) // one header of 4 bytes among them
		total += entry(texts[i]).Size
	}
	want := strings.Join(texts, " ")
	for _, quick := range []bool{true, false} {
		for room := 0; room <= total; room++ {
			bubble(t, Config{}, func(t *testing.T, e *Engine) {
				topic := newTopic(e)
				c := newClient(e)
				where := func(any) bool { return true }
				if quick {
					where = nil
				}
				m, err := topic.Join(c.Subscriber, lossless, where, 0)
				if err != nil {
					t.Fatal(err)
				}
				c.conn.stall(room)
				publish(t, topic, texts...)
				synctest.Wait()
				a := m.Tally()
				balanced(t, "stalled", a)
				if int(a.Sent) != len(c.conn.received()) || a.Offered != 5 {
					t.Errorf("room %d: %+v, received %d", room, a, len(c.conn.received()))
				}
				c.conn.stall(1) // one byte more, then the rest
				synctest.Wait()
				c.conn.resume()
				synctest.Wait()
				wants(t, fmt.Sprint("room ", room), c.conn.received(), want)
				if got, want := m.Tally(), (Tally{Offered: 5, Sent: 5}); got != want {
					t.Errorf("room %d: %+v, want %+v", room, got, want)
				}
				resting(t, topic)
			})
		}
	}
}

func TestLargeBatches(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		c, slow := newClient(e), newClient(e)
		c.join(t, topic, lossless)
		m := slow.join(t, topic, lossless)
		slow.conn.stall(3)
		var want []string
		for i := range 1000 {
			text := fmt.Sprint(i, strings.Repeat("x", i%300))
			if i%100 == 99 {
				text = fmt.Sprint(i, strings.Repeat("x", 70<<10)) // larger than a call's worth
			}
			want = append(want, text)
			publish(t, topic, text)
		}
		synctest.Wait()
		slow.conn.resume()
		synctest.Wait()
		wants(t, "client", c.conn.received(), strings.Join(want, " "))
		wants(t, "slow client", slow.conn.received(), strings.Join(want, " "))
		if got := m.Tally(); got != (Tally{Offered: 1000, Sent: 1000}) {
			t.Errorf("slow: %+v", got)
		}
		if slow.conn.writes > 120 {
			t.Errorf("%d writes for 1000 values", slow.conn.writes)
		}
		resting(t, topic)
	})
}

func TestFeed(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		f, o := &fakeFeed{room: 2}, new(fakeOwner)
		s := e.NewFeed(f, o)
		m, err := topic.Join(s, lossless, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if topic.WantsFrame() {
			t.Error("WantsFrame with a feed only")
		}
		for i := range 5 {
			publishEntry(t, topic, &queue.Entry{Value: i, Size: 8})
		}
		synctest.Wait()
		wants(t, "feed", f.received(), "0 1")
		f.set(1, false)
		synctest.Wait()
		wants(t, "feed", f.received(), "0 1 2")
		if got, want := m.Tally(), (Tally{Offered: 5, Sent: 3, Pending: 2}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		f.set(10, false)
		synctest.Wait()
		wants(t, "feed", f.received(), "0 1 2 3 4")
		c := newClient(e)
		c.join(t, topic, lossless)
		if err := topic.TryPublish(&queue.Entry{Value: 5}); err != ErrWantFrame {
			t.Errorf("value for a socket: %v", err)
		}
		f.set(0, false)
		publish(t, topic, "6", "7")
		synctest.Wait()
		wants(t, "client", c.conn.received(), "6 7")
		f.set(0, true)
		synctest.Wait()
		if got, want := m.Tally(), (Tally{Offered: 7, Sent: 5, Undelivered: 2}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		s.Detach()
		resting(t, topic)
	})
}

func TestCompressedOnce(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		topic := newTopic(e)
		for i := range 100 {
			c := newClient(e)
			c.conn.compress = i%2 == 0
			c.conn.threshold = 10
			c.join(t, topic, lossless)
		}
		x := entry(strings.Repeat("abc", 100))
		before := wire.Deflations()
		publishEntry(t, topic, x)
		synctest.Wait()
		if n := wire.Deflations() - before; n != 1 {
			t.Errorf("%d deflations", n)
		}
		for m := range topic.Members() {
			c := m.sub.conn.(*fakeConn)
			want := string(x.Frame.Payload())
			if c.compress {
				p, _ := parseFrame(x.Frame.Deflated(10))
				want = string(p)
			}
			if got := c.received(); len(got) != 1 || got[0] != want {
				t.Fatalf("received %q, want %q", got, want)
			}
		}
	})
}

func TestMailbox(t *testing.T) {
	bubble(t, Config{MailboxCount: 3}, func(t *testing.T, e *Engine) {
		c := newClient(e)
		send(t, c.Subscriber, "a")
		synctest.Wait()
		c.conn.stall(0)
		send(t, c.Subscriber, "b") // begun: it has left the mailbox
		synctest.Wait()
		for _, text := range []string{"c", "d", "e"} {
			send(t, c.Subscriber, text)
		}
		if err := c.TrySend(entry("f")); err != queue.ErrFull {
			t.Errorf("TrySend to a full mailbox: %v", err)
		}
		if got, want := e.Direct(), (Tally{Offered: 5, Sent: 1, Pending: 4}); got != want {
			t.Errorf("Direct %+v, want %+v", got, want)
		}
		waited := make(chan error)
		go func() { waited <- c.Send(t.Context(), entry("f")) }()
		synctest.Wait()
		select {
		case err := <-waited:
			t.Errorf("Send to a full mailbox returned %v", err)
		default:
		}
		c.conn.resume()
		if err := <-waited; err != nil {
			t.Errorf("Send: %v", err)
		}
		synctest.Wait()
		wants(t, "client", c.conn.received(), "a b c d e f")

		c.conn.stall(0)
		for _, text := range []string{"g", "h", "i", "j"} {
			send(t, c.Subscriber, text)
			synctest.Wait()
		}
		go func() { waited <- c.Send(t.Context(), entry("k")) }()
		synctest.Wait()
		c.Stop()
		if err := <-waited; err != ErrStopped {
			t.Errorf("Send at Stop: %v", err)
		}
		if err := c.TrySend(entry("l")); err != ErrStopped {
			t.Errorf("TrySend after Stop: %v", err)
		}
		c.conn.resume()
		synctest.Wait()
		wants(t, "client", c.conn.received(), "a b c d e f g")
		if got, want := e.Direct(), (Tally{Offered: 10, Sent: 7, Undelivered: 3}); got != want {
			t.Errorf("Direct %+v, want %+v", got, want)
		}
		c.Detach()
	})
}

// Direct messages that have piled up leave in one write.
func TestMailIsBatched(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, e *Engine) {
		c := newClient(e)
		c.conn.stall(1)
		var want []string
		for i := range 200 {
			text := fmt.Sprint(i)
			send(t, c.Subscriber, text)
			want = append(want, text)
		}
		synctest.Wait()
		before := c.conn.writes
		c.conn.resume()
		synctest.Wait()
		if got := c.conn.received(); !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		if n := c.conn.writes - before; n > 2 {
			t.Errorf("%d writes", n)
		}
	})
}
