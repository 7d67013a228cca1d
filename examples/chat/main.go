// Command chat serves a page with chat rooms: who is there, who is typing, what was said last, and a switch that shows a
// policy at work. With -data the rooms outlive the process.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wshub-go/wshub"
)

//go:embed index.html
var page []byte

const (
	remembered = 50          // messages of a room that those who come later are told
	maxRooms   = 1000        // they are never given up
	maxName    = 40          // runes in the name of a person or a room
	maxText    = 2000        // runes in a message
	away       = time.Minute // for how long somebody who was removed has to stay away
	removed    = wshub.StatusCode(4003)
)

// slow is what the slow-mode switch lays over one membership: messages wait for the topic's next tick, and leave in one frame of
// one JSON text a line. Should a room say more than 1,024 things in 3 s, Chat.After tells the page that some are missing.
var slow = wshub.Compose(wshub.FlushEvery(3*time.Second), wshub.DropOldest(1024), wshub.PackText("\n"))

// Chat is what somebody said in a room.
type Chat struct {
	ID    int64  `json:"id"`             // when, in Unix milliseconds, and later than all before it in the room
	After int64  `json:"after"`          // the ID before it, by which a page knows that it missed nothing
	User  string `json:"user,omitempty"` // who; "" when it is about the room
	Name  string `json:"name,omitempty"`
	Text  string `json:"text"`
	Key   string `json:"key,omitempty"` // the sender's own mark, by which a page knows its message again
}

// Typing tells that somebody is writing, or has stopped.
type Typing struct {
	User string `json:"user"`
	Name string `json:"name"`
	On   bool   `json:"on"`
}

// by is what conflation goes by: of two hints about one user, a client that lags needs only the later one.
func (t Typing) by() string { return t.User }

// server holds the rooms.
type server struct {
	hub    *wshub.Hub
	chats  wshub.Family[Chat]
	typing wshub.Family[Typing]
	file   *os.File // nil: nothing outlives the process

	mu    sync.Mutex
	rooms map[string]*room
}

// room is a room's two topics, and what is known of it beside them.
type room struct {
	name   string
	chat   wshub.Topic[Chat]
	typing wshub.Topic[Typing]

	mu    sync.Mutex
	owner string               // the user who came first; "" before that
	last  int64                // the last ID
	gone  map[string]time.Time // the users who were removed, and when
}

// inside is the room that a session has joined.
var inside = wshub.NewAttr[*room]("room")

func main() {
	addr := flag.String("addr", ":8080", "the `address` to listen on")
	data := flag.String("data", "", "the `file` that keeps what was said for the next start (default none)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *data); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done. Then it closes every session with 1001, on which a page comes back.
func run(ctx context.Context, addr, data string) error {
	sv, err := open(data)
	if err != nil {
		return err
	}
	defer sv.file.Close()

	// Each event has its handler. Reply answers; errors are answered with a code, and their text if they are Public.
	var mux wshub.Mux
	mux.Use(members)
	wshub.Reply(&mux, "join", sv.join)
	wshub.Reply(&mux, "say", sv.say)
	wshub.Reply(&mux, "slow", setSlow)
	wshub.Handle(&mux, "typing", setTyping)
	wshub.Handle(&mux, "kick", sv.kick)

	http.Handle("GET /ws", sv.hub.Handler(wshub.Each(mux.Message), wshub.Log(nil), wshub.Recover()))
	http.HandleFunc("GET /rooms", sv.list)
	http.HandleFunc("GET /{$}", servePage)

	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("http://127.0.0.1:%d/\n", ln.Addr().(*net.TCPAddr).Port)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }() // ends with srv.Close
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(sv.hub.Drain(grace), sv.hub.Shutdown(grace), srv.Close())
}

// open returns a server with the rooms that the file at path tells of.
func open(path string) (*server, error) {
	hub, err := wshub.New(
		wshub.Authenticate(authenticate),
		wshub.WithMember(func(s *wshub.Session) any { return name(s) }), // what the list of members shows
		wshub.WithLimits(wshub.Limits{Sessions: 10_000, SessionsPerAddr: 200, SessionsPerUser: 10, SessionsPerTopic: 500}),
		wshub.WithReadLimit(16<<10),
		wshub.WithInbound(wshub.Rate(10, 20)), // a client that sends more than 10 messages a second is read more slowly
		wshub.WithDrain(0, time.Second),
	)
	if err != nil {
		return nil, err
	}
	sv := &server{hub: hub, rooms: map[string]*room{}}
	if sv.chats, err = wshub.NewFamily(hub, "chat", wshub.History(remembered, 0), wshub.AsEvent[Chat]("chat")); err != nil {
		return nil, err
	}
	sv.typing, err = wshub.NewFamily(hub, "typing", wshub.Coalesce(), wshub.KeyBy(Typing.by), wshub.AsEvent[Typing]("typing"))
	if err != nil {
		return nil, err
	}
	return sv, sv.load(path)
}

// authenticate tells who wants a session. There are no passwords: a browser makes up a secret for each name and keeps it, and
// whoever knows it is that user. It comes in the URL, since a page cannot set headers on a WebSocket; where there are
// accounts this would look at their cookie.
func authenticate(r *http.Request) (wshub.Identity, error) {
	name, token := r.URL.Query().Get("name"), r.URL.Query().Get("token")
	if !valid(name) || len(token) < 16 || len(token) > 64 {
		return wshub.Identity{}, &wshub.RejectError{Status: http.StatusBadRequest, Reason: "a name and a token are needed"}
	}
	id := sha256.Sum256([]byte(name + "\n" + token)) // others see the id and must not learn the token
	return wshub.Identity{User: hex.EncodeToString(id[:8]), Claims: name}, nil
}

func name(s *wshub.Session) string { return s.Identity().Claims.(string) }

// valid reports whether a name can be shown: it has no control characters, also none that turn the text around them.
func valid(name string) bool {
	return name != "" && strings.TrimSpace(name) == name && utf8.ValidString(name) && utf8.RuneCountInString(name) <= maxName &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) && r != '\u200d' }) // which joins emoji
}

// members is middleware: whoever is in no room can only join one, and nobody joins a second one.
func members(next wshub.MessageFunc) wshub.MessageFunc {
	return func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
		e, _ := wshub.EnvelopeFrom(ctx)
		if _, joined := inside.Get(s); joined == (e.Event == "join") {
			return wshub.ErrForbidden
		}
		return next(ctx, s, m)
	}
}

// room returns the room of a name, which is made when there is none.
func (sv *server) room(name string) (*room, error) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	switch {
	case sv.rooms[name] != nil:
		return sv.rooms[name], nil
	case !valid(name):
		return nil, wshub.Public(fmt.Errorf("the name of a room has 1 to %d characters that can be seen", maxName))
	case len(sv.rooms) == maxRooms:
		return nil, wshub.Public(fmt.Errorf("there are %d rooms already", maxRooms))
	}
	chat, err := sv.chats.Topic(name)
	typing, typingErr := sv.typing.Topic(name)
	if err = cmp.Or(err, typingErr); err != nil {
		return nil, err
	}
	sv.rooms[name] = &room{name: name, chat: chat, typing: typing, gone: map[string]time.Time{}}
	return sv.rooms[name], nil
}

// Joined is the answer to a join: who the page's user is, and who may remove people.
type Joined struct {
	User  string `json:"user"`
	Owner string `json:"owner"`
}

// join takes a session into a room. Its answer leaves after what is replayed, so a page that has it has the history.
func (sv *server) join(ctx context.Context, s *wshub.Session, name string) (Joined, error) {
	r, err := sv.room(name)
	if err != nil {
		return Joined{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if left := away - time.Since(r.gone[s.User()]); left > 0 {
		return Joined{}, wshub.Public(fmt.Errorf("you were removed from this room and may come back in %d s", 1+left/time.Second))
	}
	if err := r.chat.With(wshub.Replay(remembered)).Join(ctx, s); err != nil {
		return Joined{}, err
	}
	if err := r.typing.Join(ctx, s); err != nil {
		return Joined{}, err
	}
	inside.Set(s, r)
	go tell(ctx, s, r) // ends with the session
	if r.owner == "" {
		r.owner = s.User()
		err = sv.keep(record{Room: name, Owner: r.owner})
	}
	return Joined{s.User(), r.owner}, err
}

// tell sends a session who is in the room, and then who comes and goes.
func tell(ctx context.Context, s *wshub.Session, r *room) {
	for {
		people := r.chat.Watch(ctx)
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

// say says something, of which in holds the Text and the Key.
func (sv *server) say(ctx context.Context, s *wshub.Session, in Chat) (Chat, error) {
	if strings.TrimSpace(in.Text) == "" || utf8.RuneCountInString(in.Text) > maxText || len(in.Key) > 64 {
		return Chat{}, wshub.Public(fmt.Errorf("a message has 1 to %d characters", maxText))
	}
	r, _ := inside.Get(s)
	return sv.post(ctx, r, Chat{User: s.User(), Name: name(s), Text: in.Text, Key: in.Key})
}

// post gives a message its ID, writes it down and publishes it, one at a time: the file and every page have a room's messages in
// the order of their IDs. Publish waits for no client.
func (sv *server) post(ctx context.Context, r *room, c Chat) (Chat, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.ID, c.After = max(time.Now().UnixMilli(), r.last+1), r.last
	if err := sv.keep(record{Room: r.name, Chat: &c}); err != nil {
		return Chat{}, err
	}
	r.last = c.ID
	return c, r.chat.Publish(ctx, c)
}

// setTyping tells the others that somebody writes, or has stopped.
func setTyping(ctx context.Context, s *wshub.Session, on bool) error {
	r, _ := inside.Get(s)
	return r.typing.Except(s).Publish(ctx, Typing{s.User(), name(s), on})
}

// setSlow turns slow mode on or off for this session alone, and answers with the policy that does it.
func setSlow(ctx context.Context, s *wshub.Session, on bool) (string, error) {
	r, _ := inside.Get(s)
	var p wshub.Policy // nothing over the topic's own
	if on {
		p = slow
	}
	return p.String(), r.chat.With(p).Update(ctx, s)
}

// kick removes a user from the room, with all of the user's sessions, and for a while.
func (sv *server) kick(ctx context.Context, s *wshub.Session, user string) error {
	r, _ := inside.Get(s)
	r.mu.Lock()
	allowed := s.User() == r.owner && user != r.owner
	if allowed {
		r.gone[user] = time.Now()
	}
	r.mu.Unlock()
	if !allowed {
		return wshub.ErrForbidden
	}
	who := ""
	for m := range r.chat.Members() {
		if m.User() == user {
			who = name(m)
			m.Close(removed, "removed")
		}
	}
	if who == "" {
		return wshub.ErrNotFound
	}
	_, err := sv.post(ctx, r, Chat{Text: name(s) + " removed " + who})
	return err
}

// A record is a line of the file.
type record struct {
	Room  string `json:"room"`
	Owner string `json:"owner,omitempty"`
	Chat  *Chat  `json:"chat,omitempty"`
}

// keep appends to the file. The line break goes first, so that a line after one that a crash has torn is whole.
func (sv *server) keep(r record) error {
	if sv.file == nil {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = sv.file.Write(append([]byte("\n"), line...))
	return err
}

// load opens the file and publishes what is in it: it becomes the history of the rooms.
func (sv *server) load(path string) (err error) {
	if path == "" {
		return nil
	}
	if sv.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return err
	}
	lines := bufio.NewScanner(sv.file)
	for lines.Scan() {
		var rec record
		if json.Unmarshal(lines.Bytes(), &rec) != nil {
			continue // torn, or the empty one before the first
		}
		r, err := sv.room(rec.Room)
		if err != nil {
			return err
		}
		r.owner = cmp.Or(r.owner, rec.Owner)
		if rec.Chat != nil {
			r.last = rec.Chat.ID
			if err := r.chat.Publish(context.Background(), *rec.Chat); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// list answers with the rooms that somebody is in, and how many sessions there are.
func (sv *server) list(w http.ResponseWriter, _ *http.Request) {
	rooms := map[string]int{}
	for chat := range sv.chats.All() {
		if n := chat.Len(); n > 0 {
			rooms[strings.TrimPrefix(chat.Name(), "chat/")] = n
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(rooms)
}

// servePage answers with the page. It may load nothing, and talk to nobody but this server.
func servePage(w http.ResponseWriter, _ *http.Request) {
	nonce := rand.Text()
	w.Header().Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; connect-src 'self'; img-src data:; "+
		"style-src 'nonce-%[1]s'; script-src 'nonce-%[1]s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce))
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Write(bytes.ReplaceAll(page, []byte("NONCE"), []byte(nonce)))
}
