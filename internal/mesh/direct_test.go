package mesh

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (p plane) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := p.host.take(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the host was told\n%q, want\n%q", got, want)
	}
}

func TestToUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		a, b := newPlane(t, m.Bus()), newPlane(t, m.Bus(), func(c *Config) { c.Node = "there" })
		for _, user := range []string{"ann", "a.*.>", "\x00\xff", strings.Repeat("long ", 1000)} {
			to := To{ToUser, user}
			a.Send(to, Payload{Data: []byte("nobody")})
			b.expect(t)
			b.WantUser(user)
			synctest.Wait()
			if !a.Send(to, Payload{Data: []byte("hi"), Binary: true}) || !a.Kick(to, 4001, "bye") || !a.Leave(to, "room") {
				t.Error("false")
			}
			a.Send(To{ToUser, user + "x"}, Payload{Data: []byte("nobody")})
			b.expect(t, fmt.Sprintf("deliver 2 %q true \"hi\"", user), fmt.Sprintf("kick 2 %q 4001 \"bye\"", user), fmt.Sprintf("leave 2 %q \"room\"", user))
			b.UnwantUser(user)
			before := b.Stats().Unwanted
			a.Send(to, Payload{Data: []byte("lingering")})
			b.expect(t)
			if got := b.Stats().Unwanted; got != before+1 {
				t.Errorf("%d were not wanted", got)
			}
			time.Sleep(2 * linger)
		}
		if got := a.host.takeGaps() + b.host.takeGaps(); got != "" {
			t.Errorf("gaps %q", got)
		}
	})
}

func TestToEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		a, b := newPlane(t, m.Bus()), newPlane(t, m.Bus(), func(c *Config) { c.Node = "there" })
		to := To{Kind: ToEveryone}
		if !a.Kick(to, 1001, "") || !a.Leave(to, "room") {
			t.Error("false")
		}
		if a.Send(to, Payload{}) || a.Send(To{}, Payload{}) || a.Kick(To{Kind: 9}, 1000, "") {
			t.Error("a message to nobody is true")
		}
		b.expect(t, `kick 1 "" 1001 ""`, `leave 1 "" "room"`)
		a.expect(t)
	})
}

// TestToSession has the messages made by hand: other nodes need not know each other.
func TestToSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		n := newPlane(t, m.Bus())
		n.host.sessions["here.one"] = true
		from := newRaw(t, m.Bus(), 7)
		for _, id := range []string{"", "here", "here.", "nobody.one", "here.one", "here." + strings.Repeat("x", 300)} {
			if n.Send(To{ToSession, id}, Payload{}) {
				t.Errorf("a session %.20q of a node that is not there is true", id)
			}
		}
		before := n.Stats()
		from.send("wshub.n.here", envelope{kind: kindSend, payload: []byte("\x03onehi")})
		from.send("wshub.n.here", envelope{kind: kindKick, payload: []byte("\x03one\x0f\xa1bye")})
		from.send("wshub.n.here", envelope{kind: kindLeave, payload: []byte("\x03oneroom")})
		from.send("wshub.n.here", envelope{kind: kindSend, payload: []byte("\x03twohi")})
		n.expect(t, `deliver 3 "here.one" false "hi"`, `kick 3 "here.one" 4001 "bye"`, `leave 3 "here.one" "room"`)

		// And what is wrong.
		from.send("wshub.n.here", envelope{kind: kindSend})
		from.send("wshub.n.here", envelope{kind: kindSend, payload: []byte("\x04one")})
		from.send("wshub.n.here", envelope{kind: kindKick, payload: []byte("\x03one\x0f")})
		from.send("wshub.c", envelope{kind: kindSend, payload: []byte("\x03onehi")})
		from.send("wshub.all", envelope{kind: kindSend, payload: []byte("\x03onehi")})
		from.send("wshub.all", envelope{kind: kindKick})
		from.send("wshub.all", envelope{kind: kindValue})
		from.send("wshub.all", envelope{kind: kindLeave + 1})
		from.publish("wshub.all", []byte("garbage"))
		from.publish("wshub.n.here", nil)
		from.send("wshub.c", envelope{kind: kindValue, number: 1})
		n.expect(t)
		s := n.Stats()
		if got := s.Malformed - before.Malformed; got != 9 {
			t.Errorf("%d were malformed", got)
		}
		if s.Foreign != before.Foreign+1 || s.Unwanted != before.Unwanted+2 || s.Received != before.Received+15 {
			t.Errorf("%+v", s)
		}
		if got := uint64(len(n.host.refused)); got != s.Malformed+s.Foreign {
			t.Errorf("%d were told", got)
		}
	})
}

// TestToSessionOverhead: the addressed part of the envelope is bounded as well.
func TestToSessionOverhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		a := newPlane(t, m.Bus())
		_ = newPlane(t, m.Bus(), func(c *Config) { c.Node = "there" })
		time.Sleep(10 * time.Second)
		if !a.peers.knows("there") {
			t.Fatal("nobody is known")
		}
		if !a.Send(To{ToSession, "there." + strings.Repeat("x", 26)}, Payload{Data: make([]byte, 100)}) {
			t.Error("false")
		}
		before := m.Published("1", "wshub.n.there")
		a.Send(To{ToSession, "there." + strings.Repeat("x", 26)}, Payload{Data: make([]byte, 100)})
		synctest.Wait()
		after := m.Published("1", "wshub.n.there")
		if d := after.Bytes - before.Bytes; d > 2*(100+64) {
			t.Errorf("%d bytes", d)
		}
	})
}
