package wshub

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
)

// DebugObserver writes a line for each event and counts events, for programs that are being written and for tests. What
// it writes depends on the order of events alone: times are left out, and sessions are numbered as they come. Make one
// with [NewDebugObserver], and give its Observer to [WithObserver]. Its methods may be called by any goroutine.
type DebugObserver struct {
	w      io.Writer // nil: counts only
	counts [eventKinds]atomic.Uint64
	values atomic.Uint64 // dropped
	lost   atomic.Uint64 // messages of the bus
	gaps   atomic.Uint64 // values in gaps
	codes  [len(closeCodes)]atomic.Uint64

	mu       sync.Mutex
	sessions map[string]int // those open, numbered; guarded by mu
	last     int            // guarded by mu
}

// closeCodes are the rows that close codes are counted in: clients choose theirs, so it is a closed set.
var closeCodes = [...]string{
	"1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012", "1013", "1014",
	"3xxx", "4xxx", "other",
}

func closeRow(c StatusCode) int {
	name := strconv.Itoa(int(c))
	switch {
	case 3000 <= c && c < 4000:
		name = "3xxx"
	case 4000 <= c && c < 5000:
		name = "4xxx"
	}
	for i, row := range closeCodes {
		if row == name {
			return i
		}
	}
	return len(closeCodes) - 1
}

// NewDebugObserver returns a DebugObserver that writes to w, one Write a line; its errors are ignored. With a nil w it
// only counts. An observer given to several hubs writes to w from several goroutines at once.
func NewDebugObserver(w io.Writer) *DebugObserver { return &DebugObserver{w: w} }

// Observer returns what to give to [WithObserver].
func (d *DebugObserver) Observer() Observer {
	return Observer{
		Connected: d.add, Joined: d.add, Left: d.add, Disconnected: d.add, Dropped: d.add, Evicted: d.add, Error: d.add,
		Refused: d.add, Served: d.add, Handled: d.add, Bus: d.add, Gap: d.add,
	}
}

// Count returns how many events of the kind there were.
func (d *DebugObserver) Count(k EventKind) uint64 {
	if int(k) >= len(d.counts) {
		return 0
	}
	return d.counts[k].Load()
}

// WriteTo writes a table of how many events there were of each kind, how many values were dropped, how many messages
// and values the bus has lost, and how many sessions ended with each close code. Rows of zero are left out.
func (d *DebugObserver) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	row := func(name string, n uint64) {
		if n > 0 {
			fmt.Fprintf(&b, "%-16s%d\n", name, n)
		}
	}
	for k := EventConnected; k < eventKinds; k++ {
		row(k.String(), d.counts[k].Load())
		switch k {
		case EventDisconnected:
			for i, name := range closeCodes {
				row("  "+name, d.codes[i].Load())
			}
		case EventDropped:
			row("  values", d.values.Load())
		case EventBus:
			row("  messages", d.lost.Load())
		case EventGap:
			row("  values", d.gaps.Load())
		}
	}
	return b.WriteTo(w)
}

func (d *DebugObserver) add(e Event) {
	d.counts[e.Kind].Add(1)
	switch e.Kind {
	case EventDropped:
		d.values.Add(e.N)
	case EventDisconnected:
		d.codes[closeRow(e.Code)].Add(1)
	case EventBus:
		d.lost.Add(e.N)
	case EventGap:
		d.gaps.Add(e.N)
	}
	if d.w != nil {
		d.w.Write(d.line(e))
	}
}

// line returns what is written for an event. Texts are quoted: clients have a say in some of them.
func (d *DebugObserver) line(e Event) []byte {
	b := append([]byte(nil), e.Kind.String()...)
	text := func(name, s string) {
		if s != "" {
			b = fmt.Appendf(b, " %s=%q", name, s)
		}
	}
	number := func(name string, n uint64) {
		if n != 0 {
			b = fmt.Appendf(b, " %s=%d", name, n)
		}
	}
	if e.Session != "" {
		number("session", uint64(d.number(e)))
	}
	text("user", e.User)
	text("topic", e.Topic)
	text("name", e.Name)
	number("code", uint64(e.Code))
	text("reason", e.Reason)
	number("status", uint64(e.Status))
	text("origin", e.Origin)
	number("from", e.From)
	number("to", e.To)
	number("n", e.N)
	if e.Cause != nil {
		text("cause", e.Cause.Error())
	}
	return append(b, '\n')
}

// number returns the session's number. It is forgotten with the last event of the session.
func (d *DebugObserver) number(e Event) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.sessions[e.Session]
	if n == 0 {
		d.last++
		n = d.last
		if d.sessions == nil {
			d.sessions = make(map[string]int)
		}
		d.sessions[e.Session] = n
	}
	if e.Kind == EventDisconnected {
		delete(d.sessions, e.Session)
	}
	return n
}
