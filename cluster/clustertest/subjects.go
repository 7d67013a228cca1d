package clustertest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/cluster"
)

// Nobody receives a subject that is only similar to one's own.
func (s *suite) isolation(t testing.TB) {
	var subjects []string
	for _, name := range []string{"a", "a.b", "a.b.c", "a.a", "b.a", "ab", "A", "a-b", "a_b", "a0", "b"} {
		subjects = append(subjects, s.subject(name))
	}
	from, to := s.peer(t), s.peers(t, len(subjects))
	for i, p := range to {
		p.subscribe(subjects[i])
	}
	for round := range 3 {
		for _, subject := range subjects {
			from.send(subject, fmt.Sprint(round))
		}
		from.send(strings.TrimSuffix(subjects[0], ".a"), "above all")
		for i, p := range to {
			p.expect(subjects[i], fmt.Sprint(round))
		}
	}
	for _, p := range to {
		p.quiet()
	}
}

var badSubjects = []string{
	"", ".", "..", "a.", ".a", "a..b", "*", ">", "a.*", "a.>", "a.b*", "a?", "[ab]", "a b", " a", "a\t", "a\nb", "a\r\nPING\r\n",
	"a\x00", "\u00e9", "\xff", "a/b", "a:b", "{a}", "$SYS", "a,b", "a'b", `a\b`, strings.Repeat("a", cluster.MaxSubject+1),
	strings.Repeat("a.", cluster.MaxSubject),
}

// A bad subject is refused, with all of its call, and hurts nobody.
func (s *suite) badSubject(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	x, y := s.subject("x"), s.subject("y")
	b.subscribe(x)
	for i, bad := range badSubjects {
		if n, err := a.try(message(bad, "bad")); n != 0 || !errors.Is(err, cluster.ErrSubject) {
			t.Errorf("publish on %.40q: %d, %v, want 0 and ErrSubject", bad, n, err)
		}
		ctx, cancel := b.ctx()
		if err := b.Subscribe(ctx, y, bad); !errors.Is(err, cluster.ErrSubject) {
			t.Errorf("subscribe %.40q: %v, want ErrSubject", bad, err)
		}
		if err := b.Unsubscribe(ctx, bad); err != nil && !errors.Is(err, cluster.ErrSubject) {
			t.Errorf("unsubscribe %.40q: %v, want ErrSubject or nothing", bad, err)
		}
		cancel()
		a.send(y, "not subscribed, since the other subject was bad")
		a.send(x, fmt.Sprint(i))
		b.expect(x, fmt.Sprint(i))
	}
	b.alive(a)
}

// The longest subjects are told apart by their last byte.
func (s *suite) longSubject(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	x := s.subject("")
	x += strings.Repeat("x", cluster.MaxSubject-len(x)-1)
	b.subscribe(x+"1", x+"2")
	a.send(x+"3", "3")
	a.send(x+"1", "1")
	b.expect(x+"1", "1")
	a.send(x+"2", "2")
	b.expect(x+"2", "2")
}

// Thousands of subjects are subscribed in batches, each is received, and they are given up in batches.
func (s *suite) manySubjects(t testing.TB) {
	const count, step = 10_000, 500
	a, b := s.peer(t), s.peer(t)
	var subjects []string
	for i := range count {
		subjects = append(subjects, s.subject(fmt.Sprint("t.", i)))
	}
	for from := 0; from < count; from += step {
		b.subscribe(subjects[from : from+step]...)
	}
	for from := 0; from < count; from += s.window {
		b.all(a, subjects[from:min(from+s.window, count)])
	}
	kept := subjects[count-1]
	for from := 0; from < count-1; from += step {
		b.unsubscribe(subjects[from:min(from+step, count-1)]...)
	}
	b.silent(a, kept, subjects[0], subjects[count/2], subjects[count-2])
	a.send(kept, "kept")
	b.expect(kept, "kept")
}

// all publishes a message on each of the subjects and wants p to receive each once, in any order.
func (p *peer) all(from *peer, subjects []string) {
	p.t.Helper()
	var batch []cluster.Message
	missing := map[string]bool{}
	for _, subject := range subjects {
		batch = append(batch, message(subject, subject))
		missing[subject] = true
	}
	from.publish(batch...)
	for range subjects {
		m := p.next()
		if !missing[m.Subject] || string(m.Data) != m.Subject {
			p.t.Fatalf("received %s: it was not published now, or came before", show(m))
		}
		delete(missing, m.Subject)
	}
}

// silent waits until p receives nothing of the silent subjects, which it has unsubscribed: nothing comes before a message
// on another subject that was published later, a few times in a row.
func (p *peer) silent(from *peer, heard string, silent ...string) {
	p.t.Helper()
	ctx, cancel := p.ctx()
	defer cancel()
	for row := 0; row < 3; {
		if ctx.Err() != nil {
			p.t.Fatalf("waited %v: nothing comes on subjects that were unsubscribed", p.s.Timeout)
		}
		for _, subject := range silent {
			from.send(subject, "unwanted")
		}
		from.send(heard, "end")
		row++
		for m := p.next(); m.Subject != heard; m = p.next() {
			row = 0
		}
	}
}

// Who subscribes twice, in one call, two calls or many at once, receives once; and has unsubscribed after one call.
func (s *suite) doubleSubscribe(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	x, y := s.subject("x"), s.subject("y")
	b.subscribe(x, y, x)
	b.subscribe(x)
	failed := make(chan error)
	for range 4 {
		go func() { // ends with its call; the test waits for failed
			ctx, cancel := b.ctx()
			defer cancel()
			failed <- b.Subscribe(ctx, x, y)
		}()
	}
	for range 4 {
		if err := <-failed; err != nil {
			t.Errorf("subscribe: %v", err)
		}
	}
	a.send(x, texts(0, 10)...)
	b.expect(x, texts(0, 10)...)
	a.send(y, "1")
	b.expect(y, "1")
	b.unsubscribe(x)
	b.silent(a, y, x)
}

// What was unsubscribed comes no more, and comes again when it is subscribed again.
func (s *suite) unsubscribe(t testing.TB) {
	a, b, c := s.peer(t), s.peer(t), s.peer(t)
	x, y, never := s.subject("x"), s.subject("y"), s.subject("never")
	b.subscribe(x, y)
	c.subscribe(x)
	for round := range 3 {
		a.send(x, fmt.Sprint(round))
		b.expect(x, fmt.Sprint(round))
		c.expect(x, fmt.Sprint(round))
		b.unsubscribe(x, never, x)
		b.unsubscribe(x)
		b.silent(a, y, x)
		a.send(x, "end")
		for m := c.next(); string(m.Data) != "end"; m = c.next() { // c has heard on
		}
		b.subscribe(x)
	}
	// The last call wins, however quickly they follow each other.
	for range 20 {
		b.unsubscribe(x)
		b.subscribe(x)
	}
	a.send(x, "on")
	for m := b.next(); string(m.Data) != "on"; m = b.next() { // what was sent meanwhile
		if m.Subject != x {
			t.Fatalf("received %s", show(m))
		}
	}
	for range 20 {
		b.subscribe(x)
		b.unsubscribe(x)
	}
	b.silent(a, y, x)
}

// Calls without anything in them do nothing.
func (s *suite) nothing(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	ctx, cancel := a.ctx()
	defer cancel()
	if n, err := a.Publish(ctx); n != 0 || err != nil {
		t.Errorf("publish of nothing: %d, %v", n, err)
	}
	if err := a.Subscribe(ctx); err != nil {
		t.Errorf("subscribe to nothing: %v", err)
	}
	if err := a.Unsubscribe(ctx); err != nil {
		t.Errorf("unsubscribe from nothing: %v", err)
	}
	a.alive(b)
}
