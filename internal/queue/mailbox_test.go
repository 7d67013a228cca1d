package queue

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestMailboxRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMailbox(1, 0, nil)
		if err := m.Push(&Entry{}); err != nil {
			t.Fatal(err)
		}
		pushed := make(chan error)
		push := func() {
			for {
				room := m.Room()
				if err := m.Push(&Entry{}); !errors.Is(err, ErrFull) {
					pushed <- err
					return
				}
				<-room
			}
		}
		go push()
		go push()
		synctest.Wait()
		m.Pop()
		if err := <-pushed; err != nil {
			t.Fatalf("the first to push: %v", err)
		}
		synctest.Wait()
		if left := m.Close(); left != 1 {
			t.Errorf("left %d, want 1", left)
		}
		if err := <-pushed; !errors.Is(err, ErrClosed) {
			t.Errorf("the second: %v, want %v", err, ErrClosed)
		}
		if m.Pop() || m.Close() != 0 {
			t.Error("Close left something")
		}
	})
}

func TestMailboxZero(t *testing.T) {
	var m Mailbox
	for i := range 100 {
		e := &Entry{Size: 1 << 20}
		if err := m.Push(e); err != nil || e.Stamp != uint64(i+1) || e.Offset != uint64(i) {
			t.Fatalf("push %d: %v, %+v", i, err, e)
		}
	}
}

// runMailbox makes a mailbox and a slice do what data says, comparing them after each step.
func runMailbox(t *testing.T, data []byte) {
	in := &input{data}
	clock := new(atomic.Uint64)
	maxN, maxBytes := []int{0, 1, 7, 30}[in.next(4)], []int64{0, 10, 200}[in.next(3)]
	m := NewMailbox(maxN, maxBytes, clock)
	var (
		model  []*Entry
		closed bool
		pushed uint64
		rooms  []<-chan struct{} // not yet closed, as far as the model knows
	)
	for in.more() {
		wake := false
		switch op := in.next(64); {
		case op < 36:
			e := &Entry{Size: in.next(24)}
			var want error
			switch n := len(model); {
			case closed:
				want = ErrClosed
			case n > 0 && (maxN > 0 && n >= maxN || maxBytes > 0 && size(model)+int64(e.Size) > maxBytes):
				want = ErrFull
			}
			if err := m.Push(e); err != want {
				t.Fatalf("push: %v, want %v", err, want)
			}
			if want == nil {
				if e.Offset != pushed || e.Stamp != pushed+1 {
					t.Fatalf("pushed %+v, want offset %d", e, pushed)
				}
				pushed++
				model = append(model, e)
			}
		case op < 55:
			if got, want := m.Pop(), len(model) > 0; got != want {
				t.Fatalf("pop %v, want %v", got, want)
			}
			if wake = len(model) > 0; wake {
				model = model[1:]
			}
		case op < 63:
			rooms = append(rooms, m.Room())
		default:
			if got := m.Close(); got != len(model) {
				t.Fatalf("close left %d, want %d", got, len(model))
			}
			model, closed, wake = nil, true, true
		}
		wake = wake || closed
		for _, c := range rooms {
			if isClosed(c) != wake {
				t.Fatalf("room closed %v, want %v", !wake, wake)
			}
		}
		if wake {
			rooms = nil
		}
		var oldest *Entry
		if len(model) > 0 {
			oldest = model[0]
		}
		if got, want := m.Read(nil, 3), model[:min(3, len(model))]; !slices.Equal(got, want) {
			t.Fatalf("read %v, want %v", offsets(got), offsets(want))
		}
		if m.Len() != len(model) || m.Bytes() != size(model) || m.Peek() != oldest {
			t.Fatalf("%d entries, %d bytes, oldest %v; want %v", m.Len(), m.Bytes(), m.Peek(), offsets(model))
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestMailboxAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runMailbox(t, randomBytes(seed, 1000)) })
	}
}

func FuzzMailbox(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomBytes(seed, 200))
	}
	f.Fuzz(runMailbox)
}
