package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// visits are the ways to come and go, each as often as its weight says.
var visits = []struct {
	name   string
	weight int
	visit  func(*guest) error
}{
	{"polite", 30, polite},
	{"early", 5, early},
	{"hub's goodbye", 5, bye},
	{"listener", 10, listener},
	{"reset", 15, rude},
	{"hang up", 5, hangUp},
	{"no reader", 5, noReader},
	{"half a frame", 5, halfFrame},
	{"broken frame", 5, brokenFrame},
	{"panic", 1, panics},
	{"half a handshake", 10, halfHandshake},
	{"stranger", 4, strangers},
}

// polite comes, stays and closes.
func polite(g *guest) error {
	if ok, err := g.enter([]string{pathEach, pathRange}[rand.IntN(2)], nil); !ok {
		return err
	}
	return g.politely()
}

func (g *guest) politely() error {
	if err := g.stay(); err != nil {
		return err
	}
	if err := g.part(1000, ""); err != nil {
		return err
	}
	return g.closedWith(1000)
}

// early asks with its handshake.
func early(g *guest) error {
	command := "join " + g.anywhere()
	g.begin(command)
	if ok, err := g.enter([]string{pathEach, pathRange}[rand.IntN(2)], masked(opText, command)); !ok {
		return err
	}
	return g.politely()
}

// bye asks the hub to close.
func bye(g *guest) error { return g.last("bye", 1000) }

// panics makes the handler panic.
func panics(g *guest) error { return g.last("panic", 1011) }

// last stays and then asks for the end.
func (g *guest) last(command string, code int) error {
	if ok, err := g.enter([]string{pathEach, pathRange}[rand.IntN(2)], nil); !ok {
		return err
	}
	err := g.stay()
	if err == nil && !g.over() {
		if err = g.conn.send(opText, command); err != nil {
			g.gone, err = true, nil
		} else {
			err = g.receive(time.Now().Add(patience))
		}
		if err == nil && !g.over() {
			err = fmt.Errorf("nothing came of %q", command)
		}
	}
	if err != nil {
		return err
	}
	if err := g.part(1000, ""); err != nil {
		return err
	}
	return g.closedWith(code)
}

// listener is not read from, and leaves politely or by saying something.
func listener(g *guest) error {
	if ok, err := g.enter(pathDeaf, nil); !ok {
		return err
	}
	if err := g.stay(); err != nil {
		return err
	}
	if rand.IntN(2) == 0 && !g.over() {
		g.conn.send(opText, "hello?") // 1008
	}
	if err := g.part(1000, ""); err != nil {
		return err
	}
	return g.closedWith(1000)
}

// rude resets the connection under whatever is being written to it.
func rude(g *guest) error { return g.vanish((*conn).reset) }

// hangUp ends the stream without a word.
func hangUp(g *guest) error { return g.vanish(func(c *conn) { c.CloseWrite() }) }

// vanish stays and goes without a close frame.
func (g *guest) vanish(how func(*conn)) error {
	if ok, err := g.enter([]string{pathEach, pathRange, pathDeaf}[rand.IntN(3)], nil); !ok {
		return err
	}
	err := g.stay()
	how(g.conn)
	return err
}

// noReader joins and does not read until it goes, in one way or the other.
func noReader(g *guest) error {
	g.conn.SetReadBuffer(32 << 10)
	if ok, err := g.enter([]string{pathEach, pathRange, pathDeaf}[rand.IntN(3)], nil); !ok {
		return err
	}
	if !g.deaf {
		g.ask("join " + g.anywhere())
	}
	time.Sleep(time.Until(g.until))
	switch rand.IntN(3) {
	case 0:
		g.conn.reset()
		return nil
	case 1:
		return nil
	}
	if err := g.receive(time.Now().Add(time.Second)); err != nil { // what the kernel has kept for it is in order
		return err
	}
	if err := g.part(1000, ""); err != nil {
		return err
	}
	return g.closedWith(1000)
}

// halfFrame goes in the midst of a frame.
func halfFrame(g *guest) error {
	if ok, err := g.enter([]string{pathEach, pathRange}[rand.IntN(2)], nil); !ok {
		return err
	}
	if err := g.stay(); err != nil {
		return err
	}
	b := masked(opText, strings.Repeat("x", 1000))
	g.conn.raw(b[:1+rand.IntN(len(b)-1)])
	if rand.IntN(2) == 0 {
		g.conn.reset()
	}
	return nil
}

// brokenFrame breaks the protocol.
func brokenFrame(g *guest) error {
	if ok, err := g.enter([]string{pathEach, pathRange, pathDeaf}[rand.IntN(3)], nil); !ok {
		return err
	}
	if err := g.stay(); err != nil {
		return err
	}
	if !g.over() {
		broken := [][]byte{{0x81, 1, 'x'}, {0x83, 0x80, 0, 0, 0, 0}, masked(opText, "\xff"), {0x80, 0x80, 0, 0, 0, 0}, {0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0}}
		g.conn.raw(broken[rand.IntN(len(broken))])
		if err := g.receive(time.Now().Add(patience)); err != nil {
			return err
		}
		if !g.over() {
			return errors.New("nothing came of a broken frame")
		}
	}
	if err := g.part(1000, ""); err != nil {
		return err
	}
	return g.closedWith(1002, 1007, 1009)
}

// halfHandshake goes before it has the answer.
func halfHandshake(g *guest) error {
	b := []byte(request(pathRange))
	g.conn.raw(b[:rand.IntN(len(b)+1)])
	if rand.IntN(2) == 0 {
		time.Sleep(rand.N(100 * time.Millisecond))
	}
	if rand.IntN(2) == 0 {
		g.conn.reset()
	}
	return nil
}

// strangers are not let in.
func strangers(g *guest) error {
	switch status, err := g.conn.handshake(pathEach+"?as="+stranger, nil); {
	case err != nil && !lost(err):
		return fmt.Errorf("handshake: %w", err)
	case err == nil && status != 401:
		return fmt.Errorf("a stranger is answered %d", status)
	}
	return nil
}

// report is what guests tell. The process of guests sends it as JSON.
type report struct {
	Counts map[string]int // of what happened
	Most   int            // guests at once
	Faults []string       // what must not happen, the first few

	mu sync.Mutex // guards all of it
	at int        // guests now
}

func newReport() *report { return &report{Counts: make(map[string]int)} }

func (r *report) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Counts[what]++
}

func (r *report) come(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at += n
	r.Most = max(r.Most, r.at)
}

func (r *report) fault(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Counts["fault"]++
	if len(r.Faults) < 20 {
		r.Faults = append(r.Faults, fmt.Sprintf("guest %q: %v", name, err))
	}
}

func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "at most %d at once", r.Most)
	for _, what := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(&b, "; %s %d", what, r.Counts[what])
	}
	return b.String()
}

// err is all faults, and that nobody came.
func (r *report) err() error {
	var errs []error
	if r.Counts["entered"] == 0 || r.Counts["value"] == 0 {
		errs = append(errs, errors.New("no guest has received anything"))
	}
	for _, f := range r.Faults {
		errs = append(errs, errors.New(f))
	}
	return errors.Join(errs...)
}

// guests visits the address until ctx ends, with as many at a time as the config says, who begin within a tenth of the time.
func guests(ctx context.Context, c config, addr string) *report {
	told := newReport()
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(c.Duration)
	}
	var all sync.WaitGroup
	for range c.Sessions {
		all.Go(func() {
			pause(ctx, rand.N(max(1, min(c.Life, c.Duration/10))))
			for ctx.Err() == nil {
				visit(ctx, c, addr, end, told)
			}
		})
	}
	all.Wait()
	return told
}

// pause sleeps, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// visit is one guest's, from the dial to the end.
func visit(ctx context.Context, c config, addr string, end time.Time, told *report) {
	n := 0
	for _, v := range visits {
		n += v.weight
	}
	n = rand.IntN(n)
	i := 0
	for ; n >= visits[i].weight; i++ {
		n -= visits[i].weight
	}
	conn, err := connect(addr)
	if err != nil { // the machine is out of ports, or the listener's queue is full
		told.count("failed to dial")
		pause(ctx, 100*time.Millisecond)
		return
	}
	defer conn.Close()
	told.come(1)
	defer told.come(-1)
	told.count("visit: " + visits[i].name)
	stay := time.Duration(rand.ExpFloat64() * float64(c.Life))
	g := &guest{config: c, addr: addr, conn: conn, told: told, heard: make(map[string]*heard), until: earlier(time.Now().Add(stay), end)}
	if err := visits[i].visit(g); err != nil {
		told.fault(visits[i].name, err)
	}
}
