package wshub_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// say connects to h, sends texts one after the other, and prints what comes in answer to each, and then the code that
// the server closes with if it does.
func say(h http.Handler, texts ...string) {
	tb := new(exampleTB)
	defer tb.cleanup()
	c := wshubtest.Dial(tb, h)
	for _, text := range texts {
		c.TrySend(text) // the server may have closed already
		m, ok := c.Next()
		if !ok {
			fmt.Println("closed with", c.Close(1000, ""))
			return
		}
		fmt.Println(string(m.Data))
	}
}

// newExampleHub returns a hub for an example, and what ends it and its guests.
func newExampleHub(opts ...wshub.Option) (hub *wshub.Hub, end func()) {
	hub, err := wshub.New(append([]wshub.Option{wshub.WithLogger(nil)}, opts...)...)
	if err != nil {
		panic(err)
	}
	return hub, func() {
		hub.Shutdown(context.Background())
		exampleClients.cleanup()
	}
}

// exampleClients is what the clients of the running example belong to; examples run one after the other.
var exampleClients exampleTB

// guest is a session of an example, and the client at its other end.
type guest struct {
	session *wshub.Session
	client  *wshubtest.Client
}

// connect connects a client to hub, and makes user its user unless that is "". Its session goes on until it is closed.
func connect(hub *wshub.Hub, user string, opts ...wshubtest.DialOption) guest {
	arrived := make(chan *wshub.Session, 1)
	h := hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		if user != "" {
			if err := s.SetUser(user); err != nil {
				return err
			}
		}
		arrived <- s
		for range s.Messages() {
		}
		return nil
	})
	client := wshubtest.Dial(&exampleClients, h, opts...)
	return guest{<-arrived, client}
}

// next waits for the next message that comes to the guest, and returns it, or how the server closed when there is none.
func (g guest) next() string {
	if m, ok := g.client.Next(); ok {
		if m.Binary {
			return fmt.Sprintf("% x", m.Data)
		}
		return string(m.Data)
	}
	code := g.client.Close(1000, "")
	return strings.TrimSpace(fmt.Sprintln("closed with", code, g.client.ExpectClose(code)))
}

// knock asks h for an upgrade and returns the answer's status and what its body says.
func knock(h http.Handler, opts ...wshubtest.DialOption) string {
	_, resp, _ := wshubtest.TryDial(&exampleClients, h, opts...)
	body := ""
	if resp.StatusCode != http.StatusSwitchingProtocols {
		b, _ := io.ReadAll(resp.Body)
		body = strings.TrimSpace(string(b))
	}
	return strings.TrimSpace(fmt.Sprintln(resp.StatusCode, body))
}

// exampleTB is what wshubtest needs of a test, for examples, which have none.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (*exampleTB) Helper()                           {}
func (*exampleTB) Context() context.Context          { return context.Background() }
func (*exampleTB) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (x *exampleTB) Cleanup(f func())                { x.cleanups = append(x.cleanups, f) }

func (x *exampleTB) cleanup() {
	for _, f := range x.cleanups {
		f()
	}
	x.cleanups = nil
}
