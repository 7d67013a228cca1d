package mesh

import (
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// FuzzControl gives bodies of any kind to a node that has peers, watches, and asks.
func FuzzControl(f *testing.F) {
	intro := binary.AppendUvarint(appendName(nil, "x"), 5000)
	beat := append(slices.Clone(intro), 1, 3, 0)
	items := []byte("\x01\x01t\x02" + "\x02\x01t\x01\x05" + "\x03\x01t\x07" + "\x04\x01t")
	member := appendMember(nil, Member{Session: "s", User: "u", Data: []byte("{}")})
	to := make([]byte, 8)
	for _, seed := range []struct {
		kind kind
		body []byte
	}{
		{kindHello, intro},
		{kindBye, nil},
		{kindBeat, slices.Concat(beat, items)},
		{kindPart, slices.Concat(beat, []byte{1}, items)},
		{kindPart, slices.Concat(beat, []byte{0}, items)},
		{kindWant, append(slices.Clone(intro), to...)},
		{kindAsk, slices.Concat(intro, []byte{1, questionMembers, 1, 't'})},
		{kindAnswer, slices.Concat(to, []byte{1, 1, 1}, member)},
		{kindWatch, append(slices.Clone(intro), 1, 't')},
		{kindUnwatch, []byte{1, 't'}},
		{kindMembers, slices.Concat(to, []byte{1, 't', 1, 1, 1, 1}, member)},
		{kindChange, slices.Concat([]byte{1, 't', 1, 1}, member)},
		{99, nil},
	} {
		f.Add(byte(seed.kind), seed.body, byte(seed.kind), seed.body)
	}
	f.Fuzz(func(t *testing.T, k1 byte, b1 []byte, k2 byte, b2 []byte) {
		synctest.Test(t, func(t *testing.T) {
			net := cluster.NewMemory()
			defer net.Close()
			a := start(t, net, "f")
			a.toggle("t", "f.1")
			a.watch("t")
			settle(time.Second)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = a.Present(t.Context(), "t")
			}()
			synctest.Wait()
			a.do(func() {
				for _, o := range []Origin{7, 8, 7} {
					for _, m := range []envelope{{kind: kind(k1), payload: b1}, {kind: kind(k2), payload: b2}} {
						// Bodies that are for this node have its origin, which is not known beforehand.
						if len(m.payload) >= 8 && binary.BigEndian.Uint64(m.payload) == 0 {
							m.payload = slices.Clone(m.payload)
							binary.BigEndian.PutUint64(m.payload, uint64(a.origin))
						}
						m.kind = max(m.kind, firstControl)
						m.origin = o
						a.control(&m, subjectControl)
					}
				}
			})
			settle(20 * time.Second)
			for _, p := range a.Peers() {
				if p.Node == "" || p.Sessions < 0 {
					t.Error(p)
				}
			}
			if n := a.topic("t").Others(); n < 0 {
				t.Error(n)
			}
			a.end()
			<-done
		})
	})
}
