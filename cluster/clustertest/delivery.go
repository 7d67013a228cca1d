package clustertest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/cluster"
)

// What one bus publishes, another one that has subscribed receives, once it has.
func (s *suite) delivery(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	x := s.subject("x")
	b.subscribe(x)
	a.send(x, "1", "2", "3")
	b.expect(x, "1", "2", "3")
	b.quiet()
	a.quiet()
}

// Each of several subscribers receives it, and whoever subscribes later what comes later.
func (s *suite) fan(t testing.TB) {
	p := s.peers(t, 5)
	x := s.subject("x")
	for i, b := range p {
		b.subscribe(x)
		for range 2 { // each message by another bus than the listeners up to here
			from := p[(i+1)%len(p)]
			if i == len(p)-1 {
				from = s.peer(t)
			}
			from.send(x, fmt.Sprint(i))
			for _, to := range p[:i+1] {
				to.expect(x, fmt.Sprint(i))
			}
		}
	}
}

// A bus that has subscribed to what it publishes hears it once, in order, or not at all.
func (s *suite) self(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	x := s.subject("x")
	a.subscribe(x)
	a.send(x, texts(0, 10)...)
	last := -1
	for range 3 { // its own have no order with those of b, and may come later
		b.send(x, "end")
		for {
			m := a.next()
			if string(m.Data) == "end" {
				break
			}
			n, err := strconv.Atoi(string(m.Data))
			if err != nil || n <= last {
				t.Fatalf("received %s after %d", show(m), last)
			}
			last = n
		}
	}
}

// Data is any bytes, also none.
func (s *suite) data(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	x := s.subject("x")
	b.subscribe(x)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, data := range [][]byte{
		nil, {}, {0}, []byte("\r\n"), []byte("PUB a 1\r\nb\r\n"), []byte("\r\n\r\n$3\r\nfoo\r\n"), {0xff, 0xfe}, every,
	} {
		m := cluster.Message{Subject: x, Data: data}
		a.publish(m)
		b.expectMessage(m)
	}
}

// The bytes are the publisher's when Publish returns, and each receiver has its own.
func (s *suite) ownership(t testing.TB) {
	a, b, c := s.peer(t), s.peer(t), s.peer(t)
	x := s.subject("x")
	b.subscribe(x)
	c.subscribe(x)
	var kept []cluster.Message
	data := make([]byte, 100)
	for i := range min(100, s.window) {
		fill(data, byte(i))
		m := []cluster.Message{{Subject: x, Data: data}}
		a.publish(m...)
		fill(data, 'x')
		m[0] = cluster.Message{}
		got := b.next()
		kept = append(kept, cluster.Message{Subject: got.Subject, Data: got.Data})
	}
	for i, m := range kept {
		if want := bytes.Repeat([]byte{byte(i)}, 100); m.Subject != x || !bytes.Equal(m.Data, want) {
			t.Fatalf("message %d is now %s: it has changed since it was published or received", i, show(m))
		}
		fill(m.Data[:cap(m.Data)], 'y')
		c.expectMessage(cluster.Message{Subject: x, Data: bytes.Repeat([]byte{byte(i)}, 100)})
	}
}

func fill(data []byte, with byte) {
	for i := range data {
		data[i] = with
	}
}

// One call takes many messages, for several subjects, and n tells how far it came.
func (s *suite) batch(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	subjects := []string{s.subject("x"), s.subject("y"), s.subject("z")}
	b.subscribe(subjects...)
	for round := range 5 {
		var batch []cluster.Message
		for i := range s.window {
			batch = append(batch, message(subjects[i%3], fmt.Sprint(i)))
		}
		a.publish(batch...)
		next := map[string]int{subjects[0]: 0, subjects[1]: 1, subjects[2]: 2}
		for range batch {
			m := b.next()
			if want := message(m.Subject, fmt.Sprint(next[m.Subject])); !bytes.Equal(m.Data, want.Data) {
				t.Fatalf("round %d: received %s, want %s", round, show(m), show(want))
			}
			next[m.Subject] += 3
		}
	}
	n, err := a.try(message(subjects[0], "good"), message("not..good", "bad"), message(subjects[0], "never"))
	if n != 1 || !errors.Is(err, cluster.ErrSubject) {
		t.Fatalf("publish of a good subject, a bad one and a good one: %d, %v, want 1 and ErrSubject", n, err)
	}
	a.send(subjects[0], "rest")
	b.expect(subjects[0], "good", "rest")
}

// Whatever else goes on, one publisher's messages on one subject keep their order, and each arrives once.
func (s *suite) order(t testing.TB) {
	const publishers, each = 4, 2 // buses, and goroutines of one bus
	from, to := s.peers(t, publishers), s.peers(t, 2)
	x := s.subject("x")
	for _, p := range to {
		p.subscribe(x)
	}
	share := s.window / (publishers * each)
	next := [2]map[string]int{{}, {}} // by receiver and goroutine
	for round := range 20 {
		failed := make(chan error, publishers*each)
		for i, p := range from {
			for j := range each {
				go func() { // ends with its share; the test waits for failed
					for k := range share {
						m := message(x, fmt.Sprintf("%d.%d %d", i, j, round*share+k))
						if n, err := p.try(m); n != 1 || err != nil {
							failed <- fmt.Errorf("publish: %d, %w", n, err)
							return
						}
					}
					failed <- nil
				}()
			}
		}
		for range publishers * each {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			return
		}
		for i, p := range to {
			for range publishers * each * share {
				m := p.next()
				who, number, _ := strings.Cut(string(m.Data), " ")
				if n, err := strconv.Atoi(number); err != nil || n != next[i][who] {
					t.Fatalf("receiver %d: received %s, want %d of %s", i, show(m), next[i][who], who)
				}
				next[i][who]++
			}
		}
	}
	for _, p := range to {
		p.quiet()
	}
}

// Large data arrives unchanged, between small.
func (s *suite) large(t testing.TB) {
	a, b := s.peer(t), s.peer(t)
	x := s.subject("x")
	b.subscribe(x)
	most := s.MaxPayload
	if most == 0 {
		most = 256 << 10
	}
	for _, size := range []int{1000, 4 << 10, 32 << 10, 64<<10 + 1, most - 1, most} {
		if size > most || size < 0 {
			continue
		}
		m := cluster.Message{Subject: x, Data: pattern(size)}
		a.publish(message(x, "before"), m, message(x, "after"))
		b.expect(x, "before")
		b.expectMessage(m)
		b.expect(x, "after")
	}
}

// Too large a message is refused alone, and hurts nobody.
func (s *suite) tooLarge(t testing.TB) {
	if s.MaxPayload == 0 {
		t.Skip("Config has no MaxPayload")
	}
	a, b := s.peer(t), s.peer(t)
	x := s.subject("x")
	b.subscribe(x)
	for range 3 {
		m := cluster.Message{Subject: x, Data: pattern(s.MaxPayload + 1)}
		if n, err := a.try(m); n != 0 || !errors.Is(err, cluster.ErrTooLarge) {
			t.Fatalf("publish of %d bytes: %d, %v, want 0 and ErrTooLarge", len(m.Data), n, err)
		}
		n, err := a.try(message(x, "good"), m, message(x, "never"))
		if n != 1 || !errors.Is(err, cluster.ErrTooLarge) {
			t.Fatalf("publish of a good message, one of %d bytes and a good one: %d, %v, want 1 and ErrTooLarge", len(m.Data), n, err)
		}
		a.send(x, "rest")
		b.expect(x, "good", "rest")
	}
}

// pattern returns bytes that repeat nowhere soon.
func pattern(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i ^ i>>8 ^ i>>16*7)
	}
	return data
}
