// Command auth shows who may do what: sessions by token, tokens that expire and are renewed, rooms that only some may
// join, and a way to throw somebody out.
//
//	curl -d 'user=ann&password=1815' localhost:8080/login        # a token for 5 minutes
//	websocat 'ws://localhost:8080/ws?token=...'                  # 401 without a good one
//	{"event":"join","data":{"room":"board"}}                     # an error event, unless the token names the room
//	{"event":"say","data":{"room":"board","text":"hello"}}
//	{"event":"renew","id":1,"data":{"token":"..."}}              # before the 5 minutes are over: then it closes 1008
//	curl -H 'Authorization: Bearer ...' -d 'user=bob' localhost:8080/kick
package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wshub-go/wshub"
)

// Claims is what a token says. Whoever holds it can read it; only the server can write it.
type Claims struct {
	User    string    `json:"user"`
	Admin   bool      `json:"admin"`
	Rooms   []string  `json:"rooms"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
}

// sign returns the token of c: its JSON and the HMAC of that.
func sign(key []byte, c Claims) string {
	body, _ := json.Marshal(c) // strings and times always marshal
	return base64.RawURLEncoding.EncodeToString(body) + "." + base64.RawURLEncoding.EncodeToString(mac(key, body))
}

// verify returns what a token says, if it is one of ours. Whether it has expired is not asked here.
func verify(key []byte, token string) (c Claims, err error) {
	head, tail, _ := strings.Cut(token, ".")
	body, err1 := base64.RawURLEncoding.DecodeString(head)
	sum, err2 := base64.RawURLEncoding.DecodeString(tail)
	if err1 != nil || err2 != nil || !hmac.Equal(sum, mac(key, body)) {
		return c, fmt.Errorf("%w: bad token", wshub.ErrUnauthorized)
	}
	err = json.Unmarshal(body, &c)
	return c, err
}

func mac(key, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil)
}

// account is a user as the server knows it.
type account struct {
	password string // a real program keeps a slow hash of it
	admin    bool
	rooms    []string
	kicked   time.Time // tokens from before are worth nothing
}

// Said is what members of a room get, as {"event":"said","topic":"room/lobby","data":{...}}.
type Said struct {
	User string `json:"user"`
	Text string `json:"text"`
}

type server struct {
	hub   *wshub.Hub
	rooms wshub.Family[Said]
	mux   wshub.Mux
	key   []byte
	ttl   time.Duration

	mu       sync.Mutex
	accounts map[string]*account // guarded by mu
}

func newServer(ttl time.Duration) (*server, error) {
	s := &server{key: []byte(rand.Text()), ttl: ttl, accounts: map[string]*account{
		"ann": {password: "1815", admin: true, rooms: []string{"lobby", "board"}},
		"bob": {password: "1906", rooms: []string{"lobby", "board"}},
		"eve": {password: "1984", rooms: []string{"lobby"}},
	}}
	var err error
	if s.hub, err = wshub.New(wshub.Authenticate(s.authenticate), wshub.Authorize(authorize),
		wshub.WithLimits(wshub.Limits{SessionsPerUser: 8})); err != nil {
		return nil, err
	}
	if s.rooms, err = wshub.NewFamily(s.hub, "room", wshub.Policy{}, wshub.AsEvent[Said]("said")); err != nil {
		return nil, err
	}
	wshub.Handle(&s.mux, "join", s.join)
	wshub.Handle(&s.mux, "say", s.say)
	wshub.Reply(&s.mux, "renew", s.renew)
	return s, nil
}

// authenticate runs before the upgrade. A browser cannot set headers on a WebSocket, hence the query: such a token ends
// up in logs, and is short-lived for that.
func (s *server) authenticate(r *http.Request) (wshub.Identity, error) {
	token := r.URL.Query().Get("token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	return s.identify(token)
}

// identify makes an identity of a token. The hub refuses it when it has expired, and closes the session when it does.
func (s *server) identify(token string) (wshub.Identity, error) {
	c, err := verify(s.key, token)
	if err != nil {
		return wshub.Identity{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[c.User]; a == nil || !c.Issued.After(a.kicked) {
		return wshub.Identity{}, fmt.Errorf("%w: token was revoked", wshub.ErrUnauthorized)
	}
	return wshub.Identity{User: c.User, Expires: c.Expires, Claims: c}, nil
}

// authorize is asked before each join, and again about every room the session is in when its token is renewed.
func authorize(_ context.Context, s *wshub.Session, topic string) error {
	c, _ := s.Identity().Claims.(Claims)
	if room, ok := strings.CutPrefix(topic, "room/"); ok && slices.Contains(c.Rooms, room) {
		return nil
	}
	return wshub.ErrForbidden
}

type inRoom struct {
	Room string `json:"room"`
	Text string `json:"text"`
}

func (s *server) join(ctx context.Context, sess *wshub.Session, in inRoom) error {
	room, err := s.rooms.Topic(in.Room)
	if err != nil {
		return err
	}
	return room.Join(ctx, sess) // an error is answered with an error event, and the session lives
}

func (s *server) say(ctx context.Context, sess *wshub.Session, in inRoom) error {
	room, err := s.rooms.Topic(in.Room)
	if err != nil {
		return err
	}
	if !room.Has(sess) { // who may hear may speak
		return wshub.ErrForbidden
	}
	return room.Publish(ctx, Said{sess.User(), in.Text})
}

type renewed struct {
	Expires time.Time `json:"expires"`
	Topics  []string  `json:"topics"` // those that the session is still in
}

// renew takes a new token of the same user. The rooms that it does not name any more are left.
func (s *server) renew(ctx context.Context, sess *wshub.Session, in struct{ Token string }) (renewed, error) {
	id, err := s.identify(in.Token)
	if err != nil {
		return renewed{}, err
	}
	if id.User != sess.User() {
		return renewed{}, wshub.ErrForbidden
	}
	if err := sess.Renew(ctx, id); err != nil && !sess.Identity().Expires.Equal(id.Expires) {
		return renewed{}, err // expired already; other errors are of the rooms it had to leave
	}
	return renewed{id.Expires, slices.Sorted(sess.Topics())}, nil
}

// login hands out a token for a name and a password.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := r.PostFormValue("user")
	a := s.accounts[user]
	if a == nil || !hmac.Equal([]byte(a.password), []byte(r.PostFormValue("password"))) {
		http.Error(w, "no such user, or not the password", http.StatusUnauthorized)
		return
	}
	now := time.Now()
	fmt.Fprintln(w, sign(s.key, Claims{user, a.admin, a.rooms, now, now.Add(s.ttl)}))
}

// admin runs f for requests with the token of an admin and the name of a user.
func (s *server) admin(f func(w http.ResponseWriter, r *http.Request, user string, a *account)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := s.authenticate(r)
		c, _ := id.Claims.(Claims)
		s.mu.Lock()
		defer s.mu.Unlock()
		user := r.PostFormValue("user")
		switch a := s.accounts[user]; {
		case err != nil, !time.Now().Before(id.Expires):
			http.Error(w, "no valid token", http.StatusUnauthorized)
		case !c.Admin:
			http.Error(w, "not an admin", http.StatusForbidden)
		case a == nil:
			http.Error(w, "no such user", http.StatusNotFound)
		default:
			f(w, r, user, a)
		}
	}
}

// kick closes a user's sessions and revokes the tokens, or the next second would see them again.
func (s *server) kick(w http.ResponseWriter, r *http.Request, user string, a *account) {
	a.kicked = time.Now()
	err := s.hub.User(user).Close(r.Context(), wshub.StatusPolicyViolation, "kicked")
	if err != nil && !errors.Is(err, wshub.ErrNoSession) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// grant sets a user's rooms, which hold from the next token on.
func (s *server) grant(_ http.ResponseWriter, r *http.Request, _ string, a *account) {
	a.rooms = strings.Fields(r.PostFormValue("rooms"))
}

func (s *server) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /login", s.login)
	m.HandleFunc("POST /kick", s.admin(s.kick))
	m.HandleFunc("POST /grant", s.admin(s.grant))
	m.Handle("GET /ws", s.hub.Handler(wshub.Each(s.mux.Message)))
	return m
}

func main() {
	addr := flag.String("addr", ":8080", "the `address` to listen on")
	ttl := flag.Duration("ttl", 5*time.Minute, "how long a token is good for")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *ttl); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done, and then closes every session with 1001.
func run(ctx context.Context, addr string, ttl time.Duration) error {
	s, err := newServer(ttl)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("http://127.0.0.1:%d/\n", ln.Addr().(*net.TCPAddr).Port)
	srv := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }() // ends with srv.Close
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(s.hub.Shutdown(grace), srv.Close())
}
