package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

type suite struct {
	Config
	window int    // messages that may be unread
	token  string // in front of all subjects
	number int    // of the test, so that what a test leaves under way does not reach the next
	pairs  int    // of subjects that alive has used
}

// subject returns a subject of the running test.
func (s *suite) subject(name string) string { return fmt.Sprintf("%s.%d.%s", s.token, s.number, name) }

// peer is a bus under test. Its methods end the test when what they need does not happen; they belong on the test's
// goroutine.
type peer struct {
	cluster.Bus
	s    *suite
	t    testing.TB
	lost uint64 // told by the states that were read
}

// peer connects, waits until the bus is up, and closes it with the test.
func (s *suite) peer(t testing.TB) *peer {
	t.Helper()
	p := &peer{Bus: s.New(t), s: s, t: t}
	t.Cleanup(func() { p.shut() })
	p.wait(cluster.StateUp)
	return p
}

// peers connects n times.
func (s *suite) peers(t testing.TB, n int) []*peer {
	t.Helper()
	var all []*peer
	for range n {
		all = append(all, s.peer(t))
	}
	return all
}

// shut closes the bus and wants that to end.
func (p *peer) shut() {
	p.t.Helper()
	p.soon("Close", func() error {
		p.Close()
		return nil
	})
}

// soon wants f to return in time, without an error. f runs on a goroutine of its own, which may outlive the test if the
// bus hangs: it must not use t.
func (p *peer) soon(what string, f func() error) {
	p.t.Helper()
	done := make(chan struct{})
	var err error
	go func() { // owned by this call, which fails when it does not end
		defer close(done)
		err = f()
	}()
	p.s.within(p.t, what+" returns", done)
	if err != nil {
		p.t.Error(err)
	}
}

// within waits until a channel is closed.
func (s *suite) within(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	timer := time.NewTimer(s.Timeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("waited %v: %s", s.Timeout, what)
	}
}

// wait reads states until one is as wanted.
func (p *peer) wait(want cluster.State) {
	p.t.Helper()
	timer := time.NewTimer(p.s.Timeout)
	defer timer.Stop()
	for {
		select {
		case st, ok := <-p.Status():
			if !ok {
				p.t.Fatalf("Status is closed, want the state %v", want)
			}
			p.lost += st.Lost
			if st.State == want {
				return
			}
		case <-timer.C:
			p.t.Fatalf("waited %v: the state is %v", p.s.Timeout, want)
		}
	}
}

// ctx returns a context that ends when too much time has passed.
func (p *peer) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), p.s.Timeout)
}

func (p *peer) subscribe(subjects ...string) {
	p.t.Helper()
	ctx, cancel := p.ctx()
	defer cancel()
	if err := p.Subscribe(ctx, subjects...); err != nil {
		p.t.Fatalf("subscribe %d subjects, %.60q first: %v", len(subjects), subjects[0], err)
	}
}

func (p *peer) unsubscribe(subjects ...string) {
	p.t.Helper()
	ctx, cancel := p.ctx()
	defer cancel()
	if err := p.Unsubscribe(ctx, subjects...); err != nil {
		p.t.Fatalf("unsubscribe %d subjects, %.60q first: %v", len(subjects), subjects[0], err)
	}
}

// publish publishes messages in one call.
func (p *peer) publish(messages ...cluster.Message) {
	p.t.Helper()
	n, err := p.try(messages...)
	if n != len(messages) || err != nil {
		p.t.Fatalf("publish of %d messages: %d, %v", len(messages), n, err)
	}
}

// send publishes texts on a subject, each in a call of its own.
func (p *peer) send(subject string, texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.publish(message(subject, text))
	}
}

// try publishes, and may fail. It can be called on any goroutine.
func (p *peer) try(messages ...cluster.Message) (int, error) {
	ctx, cancel := p.ctx()
	defer cancel()
	return p.Publish(ctx, messages...)
}

// next returns the next message.
func (p *peer) next() cluster.Message {
	p.t.Helper()
	timer := time.NewTimer(p.s.Timeout)
	defer timer.Stop()
	select {
	case m, ok := <-p.Receive():
		if !ok {
			p.t.Fatal("Receive is closed")
		}
		return m
	case <-timer.C:
		p.t.Fatalf("waited %v: a message is received", p.s.Timeout)
		return cluster.Message{}
	}
}

// expect wants texts on a subject, in order, and nothing else before or between.
func (p *peer) expect(subject string, texts ...string) {
	p.t.Helper()
	for _, want := range texts {
		p.expectMessage(message(subject, want))
	}
}

func (p *peer) expectMessage(want cluster.Message) {
	p.t.Helper()
	got := p.next()
	if got.Subject != want.Subject || !bytes.Equal(got.Data, want.Data) {
		p.t.Fatalf("received %s, want %s", show(got), show(want))
	}
}

// quiet wants nothing to be there to read now.
func (p *peer) quiet() {
	p.t.Helper()
	select {
	case m, ok := <-p.Receive():
		if ok {
			p.t.Fatalf("received %s, want nothing more", show(m))
		}
	default:
	}
}

// alive wants the bus to hear another one, and that one to hear it, on subjects of their own. Messages on other subjects
// must not come.
func (p *peer) alive(other *peer) {
	p.t.Helper()
	p.s.pairs++
	there, back := p.s.subject(fmt.Sprint("there", p.s.pairs)), p.s.subject(fmt.Sprint("back", p.s.pairs))
	p.subscribe(back)
	other.subscribe(there)
	p.send(there, "?")
	other.expect(there, "?")
	other.send(back, "!")
	p.expect(back, "!")
}

// probe publishes on a subject until p receives it, and all that was published in between. It returns messages on other
// subjects that came meanwhile. Errors of publishing that match ErrDown are passed over.
func (p *peer) probe(from *peer, subject string) (others []cluster.Message) {
	p.t.Helper()
	deadline := time.NewTimer(p.s.Timeout)
	defer deadline.Stop()
	for i := 0; ; i++ {
		text := fmt.Sprint("probe ", i)
		if _, err := from.try(message(subject, text)); err != nil && !errors.Is(err, cluster.ErrDown) {
			p.t.Fatalf("publish: %v", err)
		}
		again := time.NewTimer(20 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case m, ok := <-p.Receive():
				if !ok {
					p.t.Fatal("Receive is closed")
				}
				if m.Subject != subject {
					others = append(others, m)
				} else if string(m.Data) == text {
					again.Stop()
					return others
				}
			case <-again.C:
				waiting = false
			case <-deadline.C:
				again.Stop()
				p.t.Fatalf("waited %v: what is published on %s is received", p.s.Timeout, subject)
			}
		}
	}
}

func message(subject, text string) cluster.Message {
	return cluster.Message{Subject: subject, Data: []byte(text)}
}

// texts returns n texts, counted from a number.
func texts(from, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint(from+i))
	}
	return all
}

func show(m cluster.Message) string {
	if len(m.Data) > 60 {
		return fmt.Sprintf("%d bytes on %q", len(m.Data), m.Subject)
	}
	return fmt.Sprintf("%q on %q", m.Data, m.Subject)
}
