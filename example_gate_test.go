package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

func ExampleAuthenticate() {
	hub, end := newExampleHub(wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
		c, err := r.Cookie("session")
		if err != nil {
			return wshub.Identity{}, wshub.ErrUnauthorized
		}
		user, ok := map[string]string{"s3cr3t": "ann"}[c.Value] // the table of logins
		if !ok {
			return wshub.Identity{}, wshub.ErrForbidden
		}
		return wshub.Identity{User: user, Expires: time.Now().Add(time.Hour)}, nil
	}))
	defer end()

	handler := hub.Handler(stay)
	fmt.Println(knock(handler))
	fmt.Println(knock(handler, wshubtest.WithHeader("Cookie", "session=guess")))
	fmt.Println(connect(hub, "", wshubtest.WithHeader("Cookie", "session=s3cr3t")).session.User())
	// Output:
	// 401 Unauthorized
	// 403 Forbidden
	// ann
}

// Everybody has rooms of their own; the error of a join closes with 1008 when the SessionFunc returns it.
func ExampleAuthorize() {
	ctx := context.Background()
	hub, end := newExampleHub(wshub.Authorize(func(ctx context.Context, s *wshub.Session, topic string) error {
		if !strings.HasPrefix(topic, "inbox/"+s.User()) {
			return wshub.ErrForbidden
		}
		return nil
	}))
	defer end()
	inboxes, _ := wshub.NewFamily[string](hub, "inbox", wshub.Policy{})
	ann := connect(hub, "ann")

	mine, _ := inboxes.Topic("ann")
	theirs, _ := inboxes.Topic("bob")
	fmt.Println(mine.Join(ctx, ann.session))
	err := theirs.Join(ctx, ann.session)
	fmt.Println(errors.Is(err, wshub.ErrForbidden), errors.Is(err, wshub.ErrUnauthorized))
	// Output:
	// <nil>
	// true true
}

// The answer to a refused upgrade, as you like it.
func ExampleRejectError() {
	hub, end := newExampleHub(wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
		return wshub.Identity{}, &wshub.RejectError{
			Status: http.StatusPaymentRequired,
			Header: http.Header{"Link": {`</plans>; rel="help"`}},
			Reason: "your trial is over",
		}
	}))
	defer end()
	fmt.Println(knock(hub.Handler(stay)))
	// Output: 402 your trial is over
}

// Each session gets what its request asks for, and there is nothing for others.
func ExampleHub_HandlerFor() {
	hub, end := newExampleHub()
	defer end()
	rooms := map[string]bool{"go": true, "chess": true}

	handler := hub.HandlerFor(func(r *http.Request) (wshub.SessionFunc, error) {
		room := strings.TrimPrefix(r.URL.Path, "/rooms/")
		if !rooms[room] {
			return nil, wshub.ErrNotFound
		}
		return func(ctx context.Context, s *wshub.Session) error {
			return s.Send(ctx, wshub.Text("welcome to "+room))
		}, nil
	})
	fmt.Println(knock(handler, wshubtest.WithPath("/rooms/poker")))
	fmt.Println(knock(handler, wshubtest.WithPath("/rooms/chess")))
	// Output:
	// 404 Not Found
	// 101
}

// Upgrade by hand, where a handler has more to do than to serve the session.
func ExampleHub_Accept() {
	hub, end := newExampleHub()
	defer end()

	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := hub.Accept(w, r)
		if err != nil {
			return // the request was answered
		}
		s.Send(context.Background(), wshub.Text("hello from "+r.URL.Path))
		s.Close(wshub.StatusNormalClosure, "")
	})
	c := guest{client: wshubtest.Dial(&exampleClients, handler, wshubtest.WithPath("/once"))}
	fmt.Println(c.next())
	fmt.Println(c.next())
	// Output:
	// hello from /once
	// closed with 1000
}

// Pages of the app, of each customer's host, and no others.
func ExampleWithOrigins() {
	hub, end := newExampleHub(wshub.WithOrigins("https://app.example.com", "https://*.customers.example.com"))
	defer end()

	for _, origin := range []string{
		"https://app.example.com", "https://acme.customers.example.com", "http://app.example.com", "https://evil.example",
	} {
		fmt.Println(origin, knock(hub.Handler(stay), wshubtest.WithOrigin(origin)))
	}
	// Output:
	// https://app.example.com 101
	// https://acme.customers.example.com 101
	// http://app.example.com 403 origin not allowed
	// https://evil.example 403 origin not allowed
}

func ExampleCheckOrigin() {
	blocked := map[string]bool{"https://scraper.example": true}
	hub, end := newExampleHub(wshub.CheckOrigin(func(r *http.Request) bool {
		return !blocked[r.Header.Get("Origin")]
	}))
	defer end()

	fmt.Println(knock(hub.Handler(stay), wshubtest.WithOrigin("https://anywhere.example")))
	fmt.Println(knock(hub.Handler(stay), wshubtest.WithOrigin("https://scraper.example")))
	// Output:
	// 101
	// 403 origin not allowed
}

// Anybody may connect, and has a little while to log in.
func ExampleWithAdmission() {
	hub, end := newExampleHub(wshub.WithAdmission(50 * time.Millisecond))
	defer end()
	userOf := map[string]string{"s3cr3t": "ann"}

	handler := hub.Handler(wshub.Each(func(ctx context.Context, s *wshub.Session, m wshub.Message) error {
		user, ok := userOf[m.Text()]
		if !ok {
			return nil // try again
		}
		return s.SetUser(user) // which admits
	}))
	say(handler, "a guess")

	lurker := connect(hub, "")
	fmt.Println(lurker.next())
	<-lurker.session.Done()
	fmt.Println(errors.Is(lurker.session.Err(), wshub.ErrNotAdmitted))
	// Output:
	// closed with 1008
	// closed with 1008 not admitted in time
	// true
}

func ExampleWithLimits() {
	ctx := context.Background()
	hub, end := newExampleHub(wshub.WithLimits(wshub.Limits{Sessions: 2, SessionsPerUser: 1, TopicsPerSession: 1}))
	defer end()
	ann, bob := connect(hub, "ann"), connect(hub, "bob")

	fmt.Println(knock(hub.Handler(stay)))
	fmt.Println(bob.session.SetUser("ann"))
	rooms, _ := wshub.NewFamily[string](hub, "room", wshub.Policy{})
	for _, name := range []string{"go", "chess"} {
		room, _ := rooms.Topic(name)
		err := room.Join(ctx, ann.session)
		fmt.Println(name, errors.Is(err, wshub.ErrTooManyTopics), errors.Is(err, wshub.ErrLimit))
	}
	// Output:
	// 503 wshub: limit reached: too many sessions
	// set user "ann": wshub: limit reached: too many sessions of the user
	// go false false
	// chess true true
}

// A client that floods the server is closed: three messages at once, and then one a minute, and no more.
func ExampleWithInbound() {
	hub, end := newExampleHub(wshub.WithInbound(wshub.Compose(wshub.Rate(1.0/60, 3), wshub.Evict(16, 0))))
	defer end()

	echo := func(ctx context.Context, s *wshub.Session, m wshub.Message) error { return s.Send(ctx, m) }
	say(hub.Handler(wshub.Each(echo)), "one", "two", "three", "four")
	// Output:
	// one
	// two
	// three
	// closed with 1008
}
