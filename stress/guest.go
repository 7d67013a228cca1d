package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// guest is one visit. Its errors are what must not happen: that the hub closes the session, or the connection is lost, is
// no error.
type guest struct {
	config
	addr string
	conn *conn
	told *report

	until   time.Time         // when the visit is over
	pending string            // what was asked and is not answered yet
	asked   time.Time         // when
	heard   map[string]*heard // by topic
	deaf    bool              // the hub joins it to what it likes
	code    int               // the hub's close code, 0: none yet
	reason  string
	gone    bool // the connection has ended
}

// heard is what a guest knows of a topic, or of a key of one.
type heard struct {
	last  uint64 // the number that came last
	known bool   // the next has to follow it
	left  bool   // nothing may come
}

// topic returns what the guest knows of a topic.
func (g *guest) topic(name string) *heard {
	h := g.heard[name]
	if h == nil {
		h = &heard{left: !g.deaf && strings.Contains(name, "/")} // a meddler may have joined it to others
		g.heard[name] = h
	}
	return h
}

// enter makes the handshake, and sends what early says with it. ok is false when the guest was not let in, or lost.
func (g *guest) enter(path string, early []byte) (ok bool, err error) {
	if path == pathDeaf {
		g.deaf = true
	}
	if rand.IntN(5) > 0 {
		path += "?as=" + g.someone()
	}
	status, err := g.conn.handshake(path, early)
	switch {
	case lost(err): // by the end of the hub's patience
		g.told.count("lost in the handshake")
		return false, nil
	case err != nil:
		return false, fmt.Errorf("handshake: %w", err)
	case status == 429: // the user has 20 already
		g.told.count("429")
		return false, nil
	case status != 101:
		return false, fmt.Errorf("handshake: status %d", status)
	}
	g.told.count("entered")
	return true, nil
}

// ask sends a command.
func (g *guest) ask(command string) {
	g.begin(command)
	if err := g.conn.send(opText, command); err != nil {
		g.gone = true
	}
}

// begin notes that a command is on its way.
func (g *guest) begin(command string) {
	g.pending, g.asked = command, time.Now()
	if what, name, _ := strings.Cut(command, " "); what == "join" {
		g.topic(name).left = false
	}
}

// something is a random command.
func (g *guest) something() string {
	switch rand.IntN(12) {
	case 0, 1, 2, 3, 4:
		return "join " + g.anywhere()
	case 5, 6:
		for name := range g.heard { // any of them
			if !strings.HasPrefix(name, "board-") {
				return "leave " + name
			}
		}
		return "leave " + g.anywhere()
	case 7:
		return "all"
	case 8:
		return "renew " + g.someone()
	case 9:
		return "user " + g.someone()
	case 10:
		return "wait"
	default:
		return "send " + g.someone()
	}
}

// stay receives, and asks for something now and then, until the visit is over or the hub closes.
func (g *guest) stay() error {
	for !g.over() && time.Now().Before(g.until) {
		if g.pending == "" && !g.deaf {
			g.ask(g.something())
			continue
		}
		pause := time.Duration((0.1 + rand.ExpFloat64()) * float64(g.Life) / 6)
		if err := g.receive(earlier(time.Now().Add(pause), g.until)); err != nil {
			return err
		}
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// over reports whether the hub has closed, or the connection is lost.
func (g *guest) over() bool { return g.gone || g.code != 0 }

// receive takes what comes until then, at least one frame if there is one.
func (g *guest) receive(until time.Time) error {
	for !g.over() {
		op, payload, err := g.conn.frame(until)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if g.pending != "" && time.Since(g.asked) > patience {
				return fmt.Errorf("no answer to %q within %v", g.pending, patience)
			}
			return nil
		case lost(err):
			g.gone = true
			return nil
		case err != nil:
			return err
		}
		if err := g.take(op, payload); err != nil {
			return err
		}
		if time.Now().After(until) { // values may come without an end
			return nil
		}
	}
	return nil
}

func (g *guest) take(op byte, payload []byte) error {
	switch op {
	case opPing:
		if g.conn.send(opPong, string(payload)) != nil {
			g.gone = true
		}
		return nil
	case opPong:
		return nil
	case opClose:
		if g.code = 1005; len(payload) >= 2 {
			g.code, g.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
		return nil
	case opText:
		return g.text(string(payload))
	}
	return fmt.Errorf("a frame with opcode %d", op)
}

// text is an answer, a value, or a message to everyone or the user.
func (g *guest) text(s string) error {
	verdict, command, _ := strings.Cut(s, " ")
	switch {
	case s == "everyone" || s == `"direct"`:
		g.told.count("message")
		return nil
	case verdict == "ok" || verdict == "no":
		if command != g.pending {
			return fmt.Errorf("answer %q to %q", s, g.pending)
		}
		g.pending = ""
		g.answered(command)
		return nil
	}
	return g.value(s)
}

// answered notes what is known from an answer on.
func (g *guest) answered(command string) {
	switch what, name, _ := strings.Cut(command, " "); what {
	case "join":
		g.topic(name).known = false
	case "leave":
		g.topic(name).left = strings.Contains(name, "/")
	case "all":
		for name, h := range g.heard {
			h.left = strings.Contains(name, "/")
		}
	}
}

// value checks a value: numbers only rise, those of a room one by one, and there is none of a room that was left.
func (g *guest) value(s string) error {
	name, n := split(s)
	if n == 0 {
		return fmt.Errorf("text %q", s)
	}
	g.told.count("value")
	h := g.topic(name)
	joining := g.pending == "join "+name
	again := joining && strings.HasPrefix(name, "past/") // may be told again what it knows
	switch {
	case h.left:
		return fmt.Errorf("%s: %d came after it was left", name, n)
	case n <= h.last && !again:
		return fmt.Errorf("%s: %d came after %d", name, n, h.last)
	case h.known && n != h.last+1 && !joining:
		return fmt.Errorf("%s: %d came after %d", name, n, h.last)
	}
	h.last, h.known = n, strings.Contains(name, "/")
	return nil
}

// part makes the closing handshake: the guest's, or the answer to the hub's. Values that come before the hub's frame count.
func (g *guest) part(code int, reason string) error {
	if !g.over() {
		if g.conn.send(opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason) != nil {
			g.gone = true
		}
		began := time.Now()
		if err := g.receive(began.Add(patience)); err != nil {
			return err
		}
		if !g.over() {
			return fmt.Errorf("no close frame within %v", patience)
		}
	}
	if g.code > 0 {
		g.told.count(fmt.Sprint("closed with ", g.code))
		g.conn.send(opClose, string(binary.BigEndian.AppendUint16(nil, uint16(g.code)))) // the hub may be gone, and need no answer
		return g.end()
	}
	g.told.count("lost")
	return nil
}

// end waits for the end of the stream, after which nothing comes.
func (g *guest) end() error {
	_, _, err := g.conn.frame(time.Now().Add(patience))
	if !lost(err) {
		return fmt.Errorf("after the close frame (%d %q) came no end: %w", g.code, g.reason, err)
	}
	if !errors.Is(err, io.EOF) {
		g.told.count("reset after the close frame")
	}
	return nil
}

// closedWith checks why the hub has closed: by what the guest has done, or by something that may happen to anyone.
func (g *guest) closedWith(codes ...int) error {
	if g.code == 0 {
		return nil // lost
	}
	for _, c := range append(codes, 1008, 1013, 4001, 4002) { // expired or full, slow, kicked, closed
		if g.code == c {
			return nil
		}
	}
	return fmt.Errorf("closed with %d %q, want %v", g.code, g.reason, codes)
}
