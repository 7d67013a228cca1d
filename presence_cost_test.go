package wshub

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub/wshubtest"
)

// A topic that nobody watches keeps nothing for its members, and one that was watched nothing any more.
func TestPresenceCostsNothing(t *testing.T) {
	for _, test := range []struct {
		name string
		opts []Option
	}{
		{"without data", nil},
		{"with data", []Option{WithMember(func(*Session) any { return 1 })}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := newHub(t, test.opts...)
				topic, err := NewTopic[string](h, "room", Policy{})
				if err != nil {
					t.Fatal(err)
				}
				c := wshubtest.Dial(t, h.Handler(func(ctx context.Context, s *Session) error {
					if err := topic.Join(ctx, s); err != nil {
						return err
					}
					return idle(ctx, s)
				}))
				synctest.Wait()
				if test.opts == nil && topic.st.present.Load() != nil {
					t.Error("something is kept for a topic that nobody has watched")
				}
				w := topic.Watch(t.Context())
				<-w.C()
				w.Close()
				a := topic.st.present.Load()
				if a.log != nil || test.opts == nil && (a.in != nil || a.told.Load()) {
					t.Errorf("kept for no watcher: %v", a.in)
				}
				if topic.Present(t.Context()); a.told.Load() != (test.opts != nil) {
					t.Error("a call of Present has changes told")
				}
				c.Abort()
				synctest.Wait()
				if a.in != nil {
					t.Errorf("kept for no member: %v", a.in)
				}
			})
		})
	}
}
