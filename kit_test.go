package wshub_test

import (
	"context"
	"testing"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

type price struct {
	Symbol string `json:"symbol"`
	Value  int    `json:"value"`
}

func (p price) key() string { return p.Symbol }

// newHub returns a hub that is shut down with the test, which has to go through.
func newHub(t *testing.T, opts ...wshub.Option) *wshub.Hub {
	t.Helper()
	h, err := wshub.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return h
}

func newTopic[T any](t *testing.T, h *wshub.Hub, name string, p wshub.Policy, opts ...wshub.TopicOption[T]) wshub.Topic[T] {
	t.Helper()
	topic, err := wshub.NewTopic(h, name, p, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// sessions returns n sessions and their clients. Their handlers return when the sessions end.
func sessions(t *testing.T, h *wshub.Hub, n int, opts ...wshubtest.DialOption) ([]*wshub.Session, []*wshubtest.Client) {
	t.Helper()
	arrived := make(chan *wshub.Session)
	handler := h.Handler(func(ctx context.Context, s *wshub.Session) error {
		arrived <- s
		for range s.Messages() {
		}
		return nil
	})
	ss := make([]*wshub.Session, n)
	cc := make([]*wshubtest.Client, n)
	for i := range n {
		cc[i] = wshubtest.Dial(t, handler, opts...)
		ss[i] = <-arrived
	}
	return ss, cc
}

func publish[T any](t *testing.T, topic interface {
	Publish(context.Context, T) error
}, values ...T) {
	t.Helper()
	for _, v := range values {
		if err := topic.Publish(context.Background(), v); err != nil {
			t.Fatal(err)
		}
	}
}

func join(t *testing.T, topic interface {
	Join(context.Context, *wshub.Session) error
}, ss ...*wshub.Session) {
	t.Helper()
	for _, s := range ss {
		if err := topic.Join(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
}
