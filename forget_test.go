package wshub_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/wshub-go/wshub"
)

// The hub keeps nothing of a session that has ended, whatever was armed for it.
func TestEndedSessionsAreForgotten(t *testing.T) {
	for name, tt := range map[string]struct {
		opts []wshub.Option
		do   func(*wshub.Hub, wshub.Topic[string], *wshub.Session) error
	}{
		"expiry": {[]wshub.Option{wshub.Authenticate(func(*http.Request) (wshub.Identity, error) {
			return wshub.Identity{User: "ann", Expires: time.Now().Add(time.Hour)}, nil
		})}, nil},
		"renewed": {nil, func(_ *wshub.Hub, _ wshub.Topic[string], s *wshub.Session) error {
			s.Renew(context.Background(), wshub.Identity{User: "bob", Expires: time.Now().Add(time.Hour)})
			return s.Renew(context.Background(), wshub.Identity{User: "ann", Expires: time.Now().Add(2 * time.Hour)})
		}},
		"expires in the year 9999": {nil, func(_ *wshub.Hub, _ wshub.Topic[string], s *wshub.Session) error {
			return s.Renew(context.Background(), wshub.Identity{Expires: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)})
		}},
		"admission": {[]wshub.Option{wshub.WithAdmission(time.Hour)}, nil},
		"admitted": {[]wshub.Option{wshub.WithAdmission(time.Hour)}, func(_ *wshub.Hub, x wshub.Topic[string], s *wshub.Session) error {
			return x.Join(context.Background(), s)
		}},
		"paced": {nil, func(h *wshub.Hub, x wshub.Topic[string], s *wshub.Session) error {
			v := x.With(wshub.Rate(0.001, 1).With(wshub.DropOldest(10)))
			for range 3 {
				defer x.Publish(context.Background(), "v")
			}
			return v.Join(context.Background(), s)
		}},
		"keep-alive": {[]wshub.Option{wshub.WithKeepAlive(10*time.Millisecond, 10*time.Millisecond)}, func(*wshub.Hub, wshub.Topic[string], *wshub.Session) error {
			time.Sleep(50 * time.Millisecond)
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, tt.opts...)
			topic := newTopic[string](t, h, "t", wshub.Policy{})
			var gone []weak.Pointer[wshub.Session]
			for range 3 {
				gone = append(gone, func() weak.Pointer[wshub.Session] {
					ss, cc := sessions(t, h, 1)
					if tt.do != nil {
						if err := tt.do(h, topic, ss[0]); err != nil {
							t.Error(err)
						}
					}
					cc[0].Abort()
					<-ss[0].Done()
					return weak.Make(ss[0])
				}())
			}
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				runtime.GC()
				left := 0
				for _, p := range gone {
					if p.Value() != nil {
						left++
					}
				}
				if left == 0 {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("%d of %d sessions are kept", left, len(gone))
				}
			}
		})
	}
}

// Drain keeps none that has gone, however long it takes over the rest.
func TestDrainForgets(t *testing.T) {
	h := newHub(t, wshub.WithDrain(0, time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	var gone []weak.Pointer[wshub.Session]
	over := make(chan error, 1)
	func() {
		ss, _ := sessions(t, h, 2000)
		for _, s := range ss {
			gone = append(gone, weak.Make(s))
		}
		go func() { over <- h.Drain(ctx) }()
	}()
	defer func() {
		cancel()
		<-over
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		for _, p := range gone {
			if p.Value() == nil {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatal("those that have gone are kept")
		}
	}
}
