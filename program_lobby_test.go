package wshub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// A lobby: players open games and take seats, and a game starts when its second seat is taken.

type lobby struct {
	wshub.Mux
	tables wshub.Family[string]
	mu     sync.Mutex
	games  map[string]bool // those that were opened; guarded by mu
}

func newLobby(hub *wshub.Hub) (*lobby, error) {
	tables, err := wshub.NewFamily(hub, "game", wshub.Policy{}, wshub.AsEvent[string]("game"))
	l := &lobby{tables: tables, games: map[string]bool{}}
	wshub.Handle(&l.Mux, "open", l.open)
	wshub.Reply(&l.Mux, "sit", l.sit)
	return l, err
}

func (l *lobby) open(_ context.Context, _ *wshub.Session, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.games[name] = true
	return nil
}

// sit answers with the number of the seat. Who disconnects leaves it to others.
func (l *lobby) sit(ctx context.Context, s *wshub.Session, name string) (seat int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	table, err := l.tables.Topic(name)
	switch {
	case err != nil || !l.games[name]:
		return 0, wshub.ErrNotFound
	case table.Len() == 2:
		return 0, &wshub.PublicError{Code: "full", Err: errors.New("somebody was faster")}
	}
	if err = table.Join(ctx, s); err == nil && table.Len() == 2 {
		err = table.Publish(ctx, "start")
	}
	return table.Len(), err
}

func TestProgramLobby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, _ := wshub.New()
		defer hub.Close()
		lobby, err := newLobby(hub)
		if err != nil {
			t.Fatal(err)
		}
		handler := hub.Handler(wshub.Each(lobby.Message))
		ann, bob, eve := wshubtest.Dial(t, handler), wshubtest.Dial(t, handler), wshubtest.Dial(t, handler)
		ann.SendText(`{"event":"sit","id":1,"data":"chess"}`)
		ann.ExpectText(`{"event":"error","id":1,"data":{"code":"not_found","message":"not found"}}`)
		ann.SendText(`{"event":"open","data":"chess"}`)
		ann.SendText(`{"event":"sit","id":2,"data":"chess"}`)
		ann.ExpectText(`{"event":"sit","id":2,"data":1}`)
		bob.SendText(`{"event":"sit","id":"b","data":"chess"}`)
		ann.ExpectText(`{"event":"game","topic":"game/chess","data":"start"}`)
		bob.ExpectText(`{"event":"game","topic":"game/chess","data":"start"}`)
		bob.ExpectText(`{"event":"sit","id":"b","data":2}`)
		eve.SendText(`{"event":"sit","id":3,"data":"chess"}`)
		eve.ExpectText(`{"event":"error","id":3,"data":{"code":"full","message":"somebody was faster"}}`)
	})
}
