package wshub

import (
	"context"
	"testing"

	"github.com/wshub-go/wshub/wshubtest"
)

// One session over TCP whose client reads and forgets.
func benchSession(b *testing.B) (*Hub, *Session) {
	h := newHub(b)
	return h, acceptOne(b, h)
}

func BenchmarkSessionSend(b *testing.B) {
	_, s := benchSession(b)
	m := Binary(make([]byte, 128))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Send(ctx, m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHubSession(b *testing.B) {
	h, s := benchSession(b)
	id := s.ID()
	b.ReportAllocs()
	for b.Loop() {
		h.Session(id)
	}
}

func BenchmarkAttrGet(b *testing.B) {
	_, s := benchSession(b)
	nick := NewAttr[string]("nick")
	nick.Set(s, "ann")
	b.ReportAllocs()
	for b.Loop() {
		nick.Get(s)
	}
}

// A whole life: upgrade, events, close, in memory.
func BenchmarkAccept(b *testing.B) {
	h := newHub(b)
	handler := h.Handler(idle)
	b.ReportAllocs()
	for b.Loop() {
		wshubtest.Dial(b, handler).Abort()
	}
}
