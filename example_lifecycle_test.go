package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wshub-go/wshub"
)

// Anybody may connect, and has ten seconds to log in.
func ExampleWithAdmission() {
	hub, err := wshub.New(wshub.WithAdmission(10 * time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Shutdown(context.Background())
	userOf := func(token string) (string, error) { return "ann", nil } // of your own
	http.Handle("/ws/admission", hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		for msg := range s.Messages() {
			user, err := userOf(msg.Text())
			if err != nil {
				return wshub.ErrUnauthorized // closes 1008
			}
			if err := s.SetUser(user); err != nil { // admits
				return err
			}
		}
		return nil
	}))
	fmt.Println(hub.Stats().Unadmitted)
	fmt.Println(errors.Is(wshub.ErrNotAdmitted, wshub.ErrUnauthorized))
	// Output:
	// 0
	// true
}

// On the way down: load balancers get ten seconds to look elsewhere, clients leave over the next half minute, and what is
// left after a minute in all is closed at once.
func ExampleWithDrain() {
	hub, err := wshub.New(wshub.WithDrain(10*time.Second, 30*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return errors.Join(hub.Drain(ctx), hub.Shutdown(ctx))
	}
	hub.Close() // for the example: nobody is waited for
	fmt.Println(stop())
	// Output: <nil>
}

func ExampleHub_Drain() {
	hub, err := wshub.New(wshub.WithDrain(time.Millisecond, time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Shutdown(context.Background())
	fmt.Println(hub.Health().Status)
	fmt.Println(hub.Drain(context.Background()))
	fmt.Println(hub.Health().Status)
	// Output:
	// ready
	// <nil>
	// draining
}

func ExampleHub_ReadyHandler() {
	hub, err := wshub.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Shutdown(context.Background())
	mux := http.NewServeMux()
	mux.Handle("/livez", hub.LiveHandler())
	mux.Handle("/readyz", hub.ReadyHandler())
	v := hub.Health()
	fmt.Println(v.Status, v.Ready, v.Live)
	// Output: ready true true
}

// A ticker that wants nothing of its clients.
func ExampleSession_CloseRead() {
	hub, err := wshub.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Shutdown(context.Background())
	ticks, err := wshub.NewTopic[int](hub, "ticks", wshub.Coalesce())
	if err != nil {
		fmt.Println(err)
		return
	}
	http.Handle("/ws/ticks", hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		s.CloseRead() // whoever talks is closed with 1008
		if err := ticks.Join(ctx, s); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-hub.Draining(): // 1000 rather than 1001, and before its turn
		}
		return nil
	}))
	fmt.Println(ticks.Len())
	// Output: 0
}
