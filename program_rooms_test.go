package wshub_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

type roomTalk struct{ Room, From, Text string }

// roomServer has rooms while somebody is in them. Whoever is in one hears what is said, and sees who comes and goes.
func roomServer(hub *wshub.Hub) (http.Handler, error) {
	rooms, err := wshub.NewFamily(hub, "room", wshub.Policy{}, wshub.AsEvent[roomTalk]("said"))
	mux := new(wshub.Mux)
	wshub.Handle(mux, "enter", func(ctx context.Context, s *wshub.Session, name string) error {
		room, err := rooms.Topic(name)
		if err != nil {
			return err
		}
		if err = room.Join(ctx, s); err == nil {
			go watchRoom(s, name, room.Watch(s.Context())) // until s leaves
		}
		return err
	})
	wshub.Handle(mux, "leave", func(ctx context.Context, s *wshub.Session, name string) error {
		return hub.To(s.ID()).Leave(ctx, "room/"+name)
	})
	wshub.Handle(mux, "say", func(ctx context.Context, s *wshub.Session, talk roomTalk) error {
		if room, err := rooms.Topic(talk.Room); err == nil && room.Has(s) {
			return room.Publish(ctx, roomTalk{talk.Room, s.User(), talk.Text})
		}
		return wshub.ErrForbidden
	})
	return hub.Handler(wshub.Each(mux.Message)), err
}

func watchRoom(s *wshub.Session, room string, people *wshub.Stream[wshub.PresenceEvent]) {
	defer people.Close()
	for e := range people.C() {
		if e.Kind == wshub.PresenceLeft && slices.ContainsFunc(e.Members, func(m wshub.Member) bool { return m.Session == s.ID() }) {
			return
		}
		users := slices.Sorted(wshub.Map(slices.Values(e.Members), func(m wshub.Member) string { return m.User }))
		wshub.SendEvent(s.Context(), s, e.Kind.String(), map[string]any{"room": room, "users": users})
	}
}

func TestProgramRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, _ := wshub.New(wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
			return wshub.Identity{User: r.URL.Path}, nil // in earnest: a cookie or a token
		}))
		defer hub.Close()
		server, err := roomServer(hub)
		if err != nil {
			t.Fatal(err)
		}
		ann := wshubtest.Dial(t, server, wshubtest.WithPath("/ann"))
		bob := wshubtest.Dial(t, server, wshubtest.WithPath("/bob"))
		ann.SendText(`{"event":"enter","data":"go"}`)
		ann.ExpectText(`{"event":"list","data":{"room":"go","users":["/ann"]}}`)
		bob.SendText(`{"event":"enter","data":"go"}`)
		ann.ExpectText(`{"event":"joined","data":{"room":"go","users":["/bob"]}}`)
		bob.ExpectText(`{"event":"list","data":{"room":"go","users":["/ann","/bob"]}}`)
		bob.SendText(`{"event":"say","data":{"Room":"go","Text":"hi"}}`)
		ann.ExpectText(`{"event":"said","topic":"room/go","data":{"Room":"go","From":"/bob","Text":"hi"}}`)
		bob.ExpectText(`{"event":"said","topic":"room/go","data":{"Room":"go","From":"/bob","Text":"hi"}}`)
		bob.SendText(`{"event":"leave","data":"go"}`)
		ann.ExpectText(`{"event":"left","data":{"room":"go","users":["/bob"]}}`)
		bob.SendText(`{"event":"say","data":{"Room":"go","Text":"still here"}}`)
		bob.ExpectText(`{"event":"error","data":{"code":"forbidden","message":"forbidden"}}`)
		ann.ExpectNothing()
	})
}
