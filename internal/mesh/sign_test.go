package mesh

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

var (
	keyA = []byte("0123456789abcdef")
	keyB = []byte("another key of more bytes than that")
)

func TestSignature(t *testing.T) {
	const at = "wshub.t.room"
	now := time.Unix(1_000_000, 0)
	// sent makes a signed message and gives it to change, which may alter the bytes and the subject.
	type sent struct {
		subject string
		data    []byte
	}
	tests := []struct {
		name   string
		signs  [][]byte
		takes  [][]byte
		sent   time.Time
		change func(s *sent)
		want   error
	}{
		{name: "good", signs: [][]byte{keyA}, takes: [][]byte{keyA}},
		{name: "first key signs", signs: [][]byte{keyB, keyA}, takes: [][]byte{keyB}},
		{name: "rotation, the new one comes", signs: [][]byte{keyA}, takes: [][]byte{keyB, keyA}},
		{name: "rotation, the old one goes", signs: [][]byte{keyB, keyA}, takes: [][]byte{keyA, keyB}},
		{name: "other key", signs: [][]byte{keyA}, takes: [][]byte{keyB}, want: ErrSignature},
		{name: "key of before", signs: [][]byte{keyB, keyA}, takes: [][]byte{keyA}, want: ErrSignature},
		{name: "unsigned", takes: [][]byte{keyA}, want: ErrSignature},
		{name: "signed, without keys", signs: [][]byte{keyA}, want: ErrSignature},
		{name: "neither", signs: nil},
		{name: "other subject", signs: [][]byte{keyA}, takes: [][]byte{keyA}, change: func(s *sent) { s.subject = "wshub.t.moor" }, want: ErrSignature},
		{
			name: "subject's end in the body", signs: [][]byte{keyA}, takes: [][]byte{keyA}, want: ErrSignature,
			change: func(s *sent) { s.subject, s.data = at[:len(at)-1], append([]byte{at[len(at)-1]}, s.data...) },
		},
		{name: "body", signs: [][]byte{keyA}, takes: [][]byte{keyA}, change: func(s *sent) { s.data[len(s.data)-trailerBytes-1]++ }, want: ErrSignature},
		{name: "kind", signs: [][]byte{keyA}, takes: [][]byte{keyA}, change: func(s *sent) { s.data[2] = byte(kindKick) }, want: ErrSignature},
		{name: "flag", signs: [][]byte{keyA}, takes: [][]byte{keyA}, change: func(s *sent) { s.data[3] ^= flagBinary }, want: ErrSignature},
		{name: "origin", signs: [][]byte{keyA}, takes: [][]byte{keyA}, change: func(s *sent) { s.data[11]++ }, want: ErrSignature},
		{name: "time", signs: [][]byte{keyA}, takes: [][]byte{keyA}, change: func(s *sent) { s.data[19]++ }, want: ErrSignature},
		{name: "number", signs: [][]byte{keyA}, takes: [][]byte{keyA}, change: func(s *sent) { s.data[21]++ }, want: ErrSignature},
		{name: "sequence", signs: [][]byte{keyA}, takes: [][]byte{keyA}, change: func(s *sent) { s.data[len(s.data)-macBytes-1]++ }, want: ErrSignature},
		{name: "mac", signs: [][]byte{keyA}, takes: [][]byte{keyA}, change: func(s *sent) { s.data[len(s.data)-1]++ }, want: ErrSignature},
		{name: "cut", signs: [][]byte{keyA}, takes: [][]byte{keyA}, change: func(s *sent) { s.data = s.data[:len(s.data)-1] }, want: ErrSignature},
		{name: "just in time", signs: [][]byte{keyA}, takes: [][]byte{keyA}, sent: now.Add(-skew)},
		{name: "clock ahead", signs: [][]byte{keyA}, takes: [][]byte{keyA}, sent: now.Add(skew)},
		{name: "too old", signs: [][]byte{keyA}, takes: [][]byte{keyA}, sent: now.Add(-skew - 1), want: ErrReplayed},
		{name: "too far ahead", signs: [][]byte{keyA}, takes: [][]byte{keyA}, sent: now.Add(skew + 1), want: ErrReplayed},
		{name: "of 1970", signs: [][]byte{keyA}, takes: [][]byte{keyA}, sent: time.Unix(0, 0), want: ErrReplayed},
		{name: "of all time", signs: [][]byte{keyA}, takes: [][]byte{keyA}, sent: time.Unix(0, -1<<63), want: ErrReplayed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s signer
			s.init(tt.signs)
			var v verifier
			v.init(tt.takes)
			if tt.sent.IsZero() {
				tt.sent = now
			}
			e := envelope{kind: kindValue, origin: 7, time: tt.sent.UnixNano(), epoch: 1, number: 1, payload: []byte("hello")}
			m := sent{at, s.sign(at, e.append(nil))}
			if tt.change != nil {
				tt.change(&m)
			}
			var got envelope
			err := got.parse(m.data)
			if err == nil {
				err = v.verify(m.subject, m.data, &got, now)
			}
			if tt.name == "subject's end in the body" && errors.Is(err, ErrMalformed) {
				return // it does not even begin like one
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("verify = %v, want %v", err, tt.want)
			}
			if err != nil && len(v.windows) > 0 && errors.Is(err, ErrSignature) {
				t.Error("something is kept of a message that is not genuine")
			}
		})
	}
}

func TestPitfall46Replay(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var s signer
	s.init([][]byte{keyA})
	var v verifier
	v.init([][]byte{keyA})
	var sent [][]byte
	for range 3000 {
		e := envelope{kind: kindValue, origin: 7, time: now.UnixNano(), epoch: 1, number: 1}
		sent = append(sent, s.sign("wshub.all", e.append(nil)))
	}
	verify := func(i int) error {
		var e envelope
		if err := e.parse(sent[i]); err != nil {
			t.Fatal(err)
		}
		return v.verify("wshub.all", sent[i], &e, now)
	}
	for _, step := range []struct {
		i    int
		want error
	}{
		{10, nil}, {10, ErrReplayed}, {12, nil}, {11, nil}, {11, ErrReplayed}, {0, nil}, // reordered
		{1034, nil}, {11, ErrReplayed}, {10, ErrReplayed}, // behind the window
		{13, nil}, {1033, nil}, {1033, ErrReplayed}, {1034, ErrReplayed},
		{2999, nil}, {1976, nil}, {1975, ErrReplayed}, {2998, nil}, {2999, ErrReplayed},
	} {
		if err := verify(step.i); !errors.Is(err, step.want) {
			t.Fatalf("message %d: %v, want %v", step.i, err, step.want)
		}
	}
	// Time goes on. The window goes once nothing of the origin can be in time, and not before.
	now = now.Add(skew)
	v.sweep(now)
	if len(v.windows) != 1 {
		t.Fatal("the window has gone too early")
	}
	if err := verify(2999); !errors.Is(err, ErrReplayed) {
		t.Fatal(err)
	}
	now = now.Add(1)
	v.sweep(now)
	if len(v.windows) != 0 {
		t.Fatal("the window is kept")
	}
	for i := range sent {
		if err := verify(i); !errors.Is(err, ErrReplayed) {
			t.Fatal(err)
		}
	}
}

// TestWindow compares with a set.
func TestWindow(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var w window
		seen := map[uint64]bool{}
		greatest, base := uint64(0), uint64(0)
		for range 5000 {
			switch r.IntN(200) {
			case 0:
				base += r.Uint64N(5000)
			case 1:
				base += r.Uint64N(1 << 40)
			default:
				base += r.Uint64N(3)
			}
			s := base - min(base, r.Uint64N(1200)*r.Uint64N(2))
			want := s != 0 && !seen[s] && s+windowWidth > greatest
			if got := w.admit(s); got != want {
				t.Fatalf("seed %d: %d after %d is %t, want %t", seed, s, greatest, got, want)
			}
			if want {
				seen[s] = true
				greatest = max(greatest, s)
			}
		}
	}
	var w window
	for _, s := range []uint64{1<<64 - 1, 1<<64 - 2, 1<<64 - windowWidth} {
		if !w.admit(s) || w.admit(s) {
			t.Errorf("%d", s)
		}
	}
	if w.admit(1<<64 - 1 - windowWidth) {
		t.Error("behind the window")
	}
}

func TestSignedNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		with := func(node string, keys ...[]byte) func(*Config) {
			return func(c *Config) { c.Node, c.Keys = node, keys }
		}
		a := newPlane(t, m.Bus(), with("a", keyA))
		b := newPlane(t, m.Bus(), with("b", keyB, keyA))
		plain := newPlane(t, m.Bus(), with("c"))
		eve := m.Bus()
		defer eve.Close()
		if err := eve.Subscribe(t.Context(), subjectAll); err != nil {
			t.Fatal(err)
		}
		before := plain.Stats()
		a.Everyone().Publish(Outgoing{Payload: Payload{Data: []byte("hi")}})
		synctest.Wait()
		if got := b.everyone.numbers(); got != "1" {
			t.Errorf("b has %q", got)
		}
		if got := plain.everyone.numbers(); got != "" || plain.Stats().Unsigned <= before.Unsigned {
			t.Errorf("the node without keys has %q and %+v", got, plain.Stats())
		}
		again := <-eve.Receive()
		newRaw(t, eve, 0).publish(again.Subject, again.Data)
		if got := b.everyone.numbers(); got != "" || b.Stats().Replayed != 1 {
			t.Errorf("replayed: b has %q and %+v", got, b.Stats())
		}
		b.host.mu.Lock()
		defer b.host.mu.Unlock()
		if last := b.host.refused[len(b.host.refused)-1]; !errors.Is(last, ErrReplayed) {
			t.Errorf("told %v", last)
		}
	})
}
