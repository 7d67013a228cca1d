package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/wshub-go/wshub"
)

// Paths of the venue, by how sessions are served.
const (
	pathEach  = "/each"  // by Each
	pathRange = "/range" // by a range over Messages
	pathDeaf  = "/deaf"  // without reading
)

// venue is the hub under stress, its server, and all that happens in it beside the guests.
type venue struct {
	config
	hub   *wshub.Hub
	ln    net.Listener
	srv   *http.Server
	rooms wshub.Family[string] // lossless: whoever is in it for a while gets all that is said meanwhile
	past  wshub.Family[string] // with a history of which a joiner gets the last
	hall  wshub.Topic[string]  // drops
	board wshub.Topic[string]  // coalesces
	slow  wshub.View[string]   // of board, paced

	tasks sync.WaitGroup
	taken atomic.Uint64 // messages that handlers got
	seen  tallies       // what observers were told

	mu     sync.Mutex
	ids    []string // of the last sessions that came; guarded by mu
	faults []error  // what must not happen; guarded by mu
}

// newVenue returns a venue that serves, and in which nothing happens yet.
func newVenue(c config) (v *venue, err error) {
	v = &venue{config: c}
	v.hub, err = wshub.New(
		wshub.WithLogger(nil),
		wshub.WithPolicy(wshub.Compose(wshub.Evict(300, 300*time.Millisecond), wshub.MaxBytes(64<<10))),
		wshub.WithLimits(wshub.Limits{SessionsPerUser: 20, TopicsPerSession: 6, SessionsPerTopic: max(10, c.Sessions*9/10)}),
		wshub.WithAdmission(2*time.Second),
		wshub.WithKeepAlive(4*time.Second, 4*time.Second),
		wshub.WithMessageTimeout(4*time.Second),
		wshub.WithWriteTimeout(4*time.Second),
		wshub.WithMember(func(s *wshub.Session) any { return s.User() }),
		wshub.WithObserver(v.seen.observer(), wshub.Observer{Connected: v.remember}),
		wshub.Authenticate(v.authenticate),
		wshub.Authorize(func(_ context.Context, s *wshub.Session, topic string) error {
			if strings.HasSuffix(topic, "9") && rand.IntN(4) == 0 {
				return wshub.ErrForbidden
			}
			return nil
		}),
	)
	if err != nil {
		return nil, err
	}
	var errs [4]error
	v.rooms, errs[0] = wshub.NewFamily[string](v.hub, "room", wshub.Policy{})
	v.past, errs[1] = wshub.NewFamily[string](v.hub, "past", wshub.History(20, 2*time.Second))
	v.hall, errs[2] = wshub.NewTopic[string](v.hub, "hall", wshub.DropOldest(16))
	v.board, errs[3] = wshub.NewTopic(v.hub, "board", wshub.Coalesce(), wshub.KeyBy(func(s string) string {
		topic, _ := split(s)
		return topic
	}))
	v.slow = v.board.With(wshub.Rate(rate.Limit(5), 5))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(pathEach, v.hub.Handler(wshub.Each(v.answer)))
	mux.Handle(pathRange, v.hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		for m := range s.Messages() {
			if err := v.answer(ctx, s, m); err != nil {
				return err
			}
		}
		return nil
	}))
	mux.Handle(pathDeaf, v.hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		s.CloseRead()
		if err := v.join(ctx, s, v.anywhere()); err != nil && !errors.Is(err, wshub.ErrUnauthorized) && !errors.Is(err, wshub.ErrLimit) {
			return err
		}
		<-ctx.Done()
		return nil
	}))
	if v.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	v.srv = &http.Server{Handler: mux, ReadHeaderTimeout: 4 * time.Second}
	go v.srv.Serve(v.ln) // ends with close
	return v, nil
}

func (v *venue) addr() string { return v.ln.Addr().String() }

// close ends the server and the hub.
func (v *venue) close() {
	v.srv.Close()
	v.hub.Close()
}

// authenticate lets all but one user in, for a while or for good.
func (v *venue) authenticate(r *http.Request) (wshub.Identity, error) {
	user := r.URL.Query().Get("as")
	if user == stranger {
		return wshub.Identity{}, wshub.ErrUnauthorized
	}
	return v.identity(user), nil
}

// stranger is who is not let in.
const stranger = "stranger"

func (v *venue) identity(user string) wshub.Identity {
	ident := wshub.Identity{User: user}
	if rand.IntN(10) == 0 {
		ident.Expires = time.Now().Add(v.awhile())
	}
	return ident
}

// awhile is a random time of the order of a guest's stay.
func (v *venue) awhile() time.Duration { return time.Duration(rand.ExpFloat64() * float64(v.Life)) }

// users is how many there are.
func (c config) users() int { return max(2, c.Sessions/8) }

// crowd is how many rooms of each family there are.
func (c config) crowd() int { return max(4, c.Sessions/50) }

// someone is a random user.
func (c config) someone() string { return "u" + strconv.Itoa(rand.IntN(c.users())) }

// anywhere is a random topic.
func (c config) anywhere() string {
	switch n := rand.IntN(c.crowd()); rand.IntN(10) {
	case 0:
		return "hall"
	case 1:
		return "board"
	case 2, 3:
		return "past/" + strconv.Itoa(n)
	default:
		return "room/" + strconv.Itoa(n)
	}
}

// topic returns the topic of a full name.
func (v *venue) topic(name string) (wshub.Topic[string], error) {
	family, sub, ok := strings.Cut(name, "/")
	switch {
	case name == "hall":
		return v.hall, nil
	case name == "board":
		return v.board, nil
	case ok && family == "room":
		return v.rooms.Topic(sub)
	case ok && family == "past":
		return v.past.Topic(sub)
	}
	return wshub.Topic[string]{}, wshub.ErrNotFound
}

// join makes s a member; of board perhaps with a pace of its own, and where there is a past, with the last of it.
func (v *venue) join(ctx context.Context, s *wshub.Session, name string) error {
	t, err := v.topic(name)
	if err != nil {
		return err
	}
	switch {
	case name == "board" && rand.IntN(2) == 0:
		return v.slow.Join(ctx, s)
	case strings.HasPrefix(name, "past/"):
		return t.With(wshub.Replay(5)).Join(ctx, s)
	}
	return t.Join(ctx, s)
}

// answer does what a guest asks for, and answers each message with one: "ok", or "no" and the error, after what was asked.
func (v *venue) answer(ctx context.Context, s *wshub.Session, m wshub.Message) error {
	v.taken.Add(1)
	what, arg, _ := strings.Cut(m.Text(), " ")
	var err error
	switch what {
	case "join":
		err = v.join(ctx, s, arg)
	case "leave":
		var t wshub.Topic[string]
		if t, err = v.topic(arg); err == nil {
			err = t.Leave(s)
		}
	case "all":
		s.LeaveAll()
	case "renew":
		err = s.Renew(ctx, v.identity(arg))
	case "user":
		err = s.SetUser(arg)
	case "wait":
		time.Sleep(100 * time.Millisecond) // long enough for Each to be relieved
	case "send":
		wshub.SendJSON(ctx, v.hub.User(arg), "direct") // they may be none
	case "bye":
		return errBye
	case "panic":
		panic("a guest has asked for it")
	}
	verdict := "ok "
	if err != nil {
		verdict = "no "
	}
	return s.Send(ctx, wshub.Text(verdict+m.Text()))
}

// errBye ends a session that was asked to.
var errBye = &wshub.CloseError{Code: wshub.StatusNormalClosure, Reason: "bye"}

// remember notes who has come.
func (v *venue) remember(e wshub.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.ids) < 1000 {
		v.ids = append(v.ids, e.Session)
	} else {
		v.ids[rand.IntN(len(v.ids))] = e.Session
	}
}

// fault notes what must not happen.
func (v *venue) fault(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.faults) < 20 {
		v.faults = append(v.faults, err)
	}
}

// split parses a value: the topic, or the key, and its number.
func split(value string) (topic string, n uint64) {
	topic, rest, _ := strings.Cut(value, " ")
	number, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return "", 0
	}
	return topic, n
}

// format makes a value, with n bytes more than it needs.
func format(topic string, number uint64, more int) string {
	return fmt.Sprintf("%s %d %s", topic, number, strings.Repeat("x", more))
}
