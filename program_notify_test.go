package wshub_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Notifications to users on all of their devices, which they can log out from one another and an admin all at once.

func notifyServer(hub *wshub.Hub) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /ws", hub.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
		err := hub.User(s.User()).Except(s).Close(ctx, 4001, "logged out by "+m.Text())
		if errors.Is(err, wshub.ErrNoSession) {
			return nil // it was the only device
		}
		return err
	})))
	admin := func(pattern string, do func(r *http.Request, user wshub.Audience) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r, hub.User(r.PathValue("user"))); errors.Is(err, wshub.ErrNoSession) {
				http.Error(w, "the user is offline", http.StatusNotFound)
			} else if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		})
	}
	admin("POST /users/{user}", func(r *http.Request, user wshub.Audience) error {
		return user.Send(r.Context(), wshub.Text(r.FormValue("text")))
	})
	admin("DELETE /users/{user}", func(r *http.Request, user wshub.Audience) error {
		return user.Close(r.Context(), wshub.StatusPolicyViolation, "banned")
	})
	return mux
}

func TestProgramNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, _ := wshub.New(wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
			return wshub.Identity{User: r.FormValue("user")}, nil // in earnest: a cookie or a token
		}))
		defer hub.Close()
		server := notifyServer(hub)
		admin := func(want int, method, url string) {
			w := httptest.NewRecorder()
			if server.ServeHTTP(w, httptest.NewRequest(method, url, nil)); w.Code != want {
				t.Errorf("%s %s: %d, want %d", method, url, w.Code, want)
			}
		}
		phone := wshubtest.Dial(t, server, wshubtest.WithPath("/ws?user=ann"))
		laptop := wshubtest.Dial(t, server, wshubtest.WithPath("/ws?user=ann"))
		other := wshubtest.Dial(t, server, wshubtest.WithPath("/ws?user=bob"))
		synctest.Wait()
		admin(200, "POST", "/users/ann?text=you+have+mail")
		phone.ExpectText("you have mail")
		laptop.ExpectText("you have mail")
		phone.SendText("phone")
		if reason := laptop.ExpectClose(4001); reason != "logged out by phone" {
			t.Error(reason)
		}
		admin(200, "DELETE", "/users/ann")
		phone.ExpectClose(1008)
		synctest.Wait()
		admin(404, "POST", "/users/ann?text=hello")
		other.ExpectNothing()
	})
}
