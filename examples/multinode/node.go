package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wshub-go/wshub"
)

const (
	remembered = 50   // messages that those who come are told
	maxName    = 40   // runes in a name
	maxText    = 2000 // runes in a message
)

// Chat is what somebody said.
type Chat struct {
	At   int64  `json:"at"` // when, in Unix milliseconds
	User string `json:"user"`
	Name string `json:"name"`
	Node string `json:"node"` // where it was said
	Text string `json:"text"`
	Key  string `json:"key"` // the sender's own mark: what a page says again when its node is killed is known again by it
}

// View is how a node sees the cluster.
type View struct {
	At    int64  `json:"at"`
	Bus   string `json:"bus"`   // "up" or "down"
	Nodes []Node `json:"nodes"` // itself, and those that it hears of
	Count int    `json:"count"` // sessions in the room, on all of them
}

// Node is one that is heard of.
type Node struct {
	ID       string `json:"id"`
	Sessions int    `json:"sessions"`
}

// Note is something that a node tells about the bus.
type Note struct {
	Kind  string `json:"kind"`  // "bus", "gap" or "conflict"
	State string `json:"state"` // of the bus, when that has changed
	Node  string `json:"node"`  // whose messages a gap is in, or whose id another node has too
	N     uint64 `json:"n"`     // how many messages are lost
}

// Hello is the first that a page hears, after what was said before it came.
type Hello struct {
	User  string `json:"user"`
	Node  string `json:"node"`
	Since int64  `json:"since"` // what was said before is not among what the node remembers
}

// node is the hub of one process.
type node struct {
	hub   *wshub.Hub
	room  wshub.Topic[Chat]
	views wshub.Topic[View] // published to the sessions here alone, as are notes
	notes wshub.Topic[Note]
	since time.Time
}

// runNode serves a node, whose address it prints, until in ends. Then the sessions are asked to go, one after the other.
func runNode(id string, c config, in io.Reader, out io.Writer) error {
	n, err := newNode(id, c)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, n.hub.Close())
	}
	srv := &http.Server{Handler: n.handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }() // ends with srv.Close
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go n.report(ctx) // ends with ctx
	go n.listen(ctx) // ends with ctx

	fmt.Fprintf(out, "http://%s\n", ln.Addr())
	io.Copy(io.Discard, in)
	limit, cancel := context.WithTimeout(context.Background(), endLimit/2)
	defer cancel()
	return errors.Join(n.hub.Drain(limit), n.hub.Shutdown(limit), srv.Close())
}

// newNode returns the hub of a node. All that makes it one of many is WithBus.
func newNode(id string, c config) (*node, error) {
	bus, err := openBus(c.bus)
	if err != nil {
		return nil, err
	}
	opts := []wshub.Option{
		wshub.WithBus(bus),
		wshub.WithNode(id),
		wshub.WithPresence(c.interval, c.grace),
		wshub.Authenticate(authenticate),
		wshub.WithMember(func(s *wshub.Session) any { return name(s) }), // what the list of members shows
		wshub.WithLimits(wshub.Limits{Sessions: 1000, SessionsPerUser: 10}),
		wshub.WithReadLimit(16 << 10),
		wshub.WithInbound(wshub.Rate(10, 20)), // a client that sends more than 10 messages a second is read more slowly
		wshub.WithDrain(0, time.Second),
	}
	if c.key != "" {
		opts = append(opts, wshub.WithSigning([]byte(c.key)))
	}
	hub, err := wshub.New(opts...)
	if err != nil {
		return nil, errors.Join(err, bus.Close())
	}
	n := &node{hub: hub, since: time.Now()}
	n.room, err = wshub.NewTopic(hub, "room", wshub.History(remembered, 0), wshub.AsEvent[Chat]("chat"))
	if err == nil {
		n.views, err = wshub.NewTopic(hub, "views", wshub.Coalesce(), wshub.AsEvent[View]("view"))
	}
	if err == nil {
		n.notes, err = wshub.NewTopic(hub, "notes", wshub.DropOldest(100), wshub.AsEvent[Note]("note"))
	}
	if err != nil {
		return nil, errors.Join(err, hub.Close())
	}
	return n, nil
}

func (n *node) handler() http.Handler {
	var mux wshub.Mux
	wshub.Reply(&mux, "say", n.say)
	wshub.Handle(&mux, "wave", n.wave)
	h := http.NewServeMux()
	h.Handle("GET /ws", n.hub.Handler(wshub.Each(mux.Message), n.enter, wshub.Log(nil), wshub.Recover()))
	return h
}

// enter is middleware: whoever connects is in the room.
func (n *node) enter(next wshub.SessionFunc) wshub.SessionFunc {
	return func(ctx context.Context, s *wshub.Session) error {
		err := n.views.Join(ctx, s)
		if err == nil {
			err = n.notes.Join(ctx, s)
		}
		if err == nil {
			err = n.room.With(wshub.Replay(remembered)).Join(ctx, s)
		}
		if err == nil {
			err = wshub.SendEvent(ctx, s, "hello", Hello{s.User(), n.hub.Node(), n.since.UnixMilli()})
		}
		if err != nil {
			return err
		}
		go n.tell(ctx, s) // ends with the session
		return next(ctx, s)
	}
}

// tell sends a session who is in the room, on whichever node, and then who comes and goes.
func (n *node) tell(ctx context.Context, s *wshub.Session) {
	for {
		people := n.room.Watch(ctx)
		for e := range people.C() {
			if wshub.SendEvent(ctx, s, "presence", e) != nil {
				return // the session has ended, and ctx with it
			}
		}
		if !errors.Is(people.Err(), wshub.ErrSlow) { // a client that was too slow for the changes gets a new list
			return
		}
	}
}

// say says something to everybody in the room, of which in holds the Text and the Key.
func (n *node) say(ctx context.Context, s *wshub.Session, in Chat) (Chat, error) {
	if strings.TrimSpace(in.Text) == "" || utf8.RuneCountInString(in.Text) > maxText || in.Key == "" || len(in.Key) > 64 {
		return Chat{}, wshub.Public(fmt.Errorf("a message has 1 to %d characters", maxText))
	}
	c := Chat{time.Now().UnixMilli(), s.User(), name(s), n.hub.Node(), in.Text, in.Key}
	return c, n.room.Publish(ctx, c)
}

// Wave is for one user alone.
type Wave struct {
	Name string `json:"name"`
	Node string `json:"node"`
}

// wave greets a user: the message goes to the nodes that the user is on, and to no other.
func (n *node) wave(ctx context.Context, s *wshub.Session, user string) error {
	return wshub.SendEvent(ctx, n.hub.User(user), "wave", Wave{name(s), n.hub.Node()})
}

// report sends the sessions here, twice a second, how this node sees the cluster. What is for Only them does not cross.
func (n *node) report(ctx context.Context) {
	pace := time.NewTicker(500 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		here := slices.Collect(n.views.Members())
		if len(here) == 0 {
			continue
		}
		v := View{At: time.Now().UnixMilli(), Bus: n.hub.Health().Bus}
		for o := range n.hub.Nodes() {
			v.Nodes = append(v.Nodes, Node{o.ID, o.Sessions})
		}
		v.Count, _ = n.room.Count(ctx)
		n.views.Only(here...).Publish(ctx, v)
	}
}

// listen tells the sessions here what happens to the bus: the log of a real program.
func (n *node) listen(ctx context.Context) {
	state := "up"
	for e := range n.hub.Events(ctx, wshub.DropOldest(1024)).C() {
		var note Note
		switch {
		case e.Kind == wshub.EventBus && errors.Is(e.Cause, wshub.ErrNodeConflict):
			note = Note{Kind: "conflict", Node: e.Origin}
		case e.Kind == wshub.EventBus:
			note = Note{Kind: "bus", N: e.N}
			if e.Name != state {
				state, note.State = e.Name, e.Name
			}
		case e.Kind == wshub.EventGap:
			note = Note{Kind: "gap", Node: e.Origin, N: e.N}
		default:
			continue
		}
		n.notes.Only(slices.Collect(n.notes.Members())...).Publish(ctx, note)
	}
}

// authenticate tells who wants a session: the same user on whichever node. There are no passwords: a browser makes up a
// secret and keeps it, and whoever knows it is that user. It comes in the URL, since a page cannot set headers on a
// WebSocket; where there are accounts this would look at their cookie.
func authenticate(r *http.Request) (wshub.Identity, error) {
	name, token := r.URL.Query().Get("name"), r.URL.Query().Get("token")
	if !valid(name) || len(token) < 16 || len(token) > 64 {
		return wshub.Identity{}, &wshub.RejectError{Status: http.StatusBadRequest, Reason: "a name and a token are needed"}
	}
	id := sha256.Sum256([]byte(token)) // others see the id and must not learn the token
	return wshub.Identity{User: hex.EncodeToString(id[:8]), Claims: name}, nil
}

func name(s *wshub.Session) string { return s.Identity().Claims.(string) }

// valid reports whether a name can be shown: it has no control characters, also none that turn the text around them.
func valid(name string) bool {
	return name != "" && strings.TrimSpace(name) == name && utf8.ValidString(name) && utf8.RuneCountInString(name) <= maxName &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) && r != '\u200d' }) // which joins emoji
}
