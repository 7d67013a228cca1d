package wshub_test

import (
	"context"
	"fmt"
	"net/http"
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

// newExampleHub returns a hub for an example.
func newExampleHub() (hub *wshub.Hub, end func()) {
	hub, err := wshub.New(wshub.WithLogger(nil))
	if err != nil {
		panic(err)
	}
	return hub, func() { hub.Shutdown(context.Background()) }
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
}
