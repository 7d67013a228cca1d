package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// What topics, and messages to everyone, inherit.
func ExampleWithPolicy() {
	hub, end := newExampleHub(wshub.WithPolicy(wshub.Compose(wshub.DropOldest(100), wshub.MaxBytes(64<<10))))
	defer end()
	ticks, _ := wshub.NewTopic(hub, "ticks", wshub.Compose(wshub.Coalesce(), wshub.History(10, 0)), wshub.KeyBy(Tick.Key))
	ticks.Publish(context.Background(), Tick{"ACME", 1})

	info, _ := hub.Topic("ticks")
	fmt.Println(info.Policy)
	// Output: dropoldest(100) maxbytes(65536) coalesce history(10,0s)
}

func ExampleWithReadLimit() {
	hub, end := newExampleHub(wshub.WithReadLimit(10))
	defer end()
	ann := connect(hub, "ann")
	ann.client.TrySend("more than ten bytes")
	fmt.Println(ann.next())
	// Output: closed with 1009 message over the limit
}

// A client that does not answer pings is gone.
func ExampleWithKeepAlive() {
	hub, end := newExampleHub(wshub.WithKeepAlive(20*time.Millisecond, 20*time.Millisecond))
	defer end()
	ann := connect(hub, "ann", wshubtest.WithoutPong())
	<-ann.session.Done()
	fmt.Println(ann.session.Err())
	// Output: wshub: peer is gone
}

// A client that begins a message has to come to its end.
func ExampleWithMessageTimeout() {
	hub, end := newExampleHub(wshub.WithMessageTimeout(20 * time.Millisecond))
	defer end()
	ann := connect(hub, "ann")
	ann.client.SendFrame(false, wshubtest.OpText, []byte("to be continued"))
	fmt.Println(ann.next())
	// Output: closed with 1008 message took too long
}

// A client that takes nothing at all keeps nothing here for longer.
func ExampleWithWriteTimeout() {
	hub, end := newExampleHub(wshub.WithWriteTimeout(20 * time.Millisecond))
	defer end()
	ann := connect(hub, "ann", wshubtest.WithBuffer(1024))
	ann.client.Stall()
	ann.session.Send(context.Background(), wshub.Text(strings.Repeat("much ", 1000)))
	<-ann.session.Done()
	fmt.Println(errors.Is(ann.session.Err(), wshub.ErrWriteTimeout))
	// Output: true
}

// How much for a client that takes nothing goes to the kernel, where no policy can drop or merge it any more.
func ExampleWithSendBuffer() {
	hub, end := newExampleHub(wshub.WithSendBuffer(4 << 10))
	defer end()
	arrived := make(chan *wshub.Session)
	server := wshubtest.Server(&exampleClients, hub.Handler(func(ctx context.Context, s *wshub.Session) error {
		arrived <- s
		return stay(ctx, s)
	}))
	client := server.DialTCP(wshubtest.WithBuffer(16 << 10))
	session := <-arrived
	client.Stall()
	for range 15 {
		session.Send(context.Background(), wshub.Text(strings.Repeat("x", 64<<10)))
	}
	direct := hub.Stats().Direct
	fmt.Println(direct.Sent < 5, direct.Pending > 10)
	client.Resume()
	// Output: true true
}

func ExampleWithCompression() {
	hub, end := newExampleHub(wshub.WithCompression(512)) // what is shorter goes as it is
	defer end()
	ann := connect(hub, "ann", wshubtest.WithCompression())
	ann.session.Send(context.Background(), wshub.Text(strings.Repeat("all work and no play ", 100)))
	ann.next()
	got := ann.client.Received()
	fmt.Println(got.Bytes, "bytes as", got.Wire < 100, "fewer than 100")
	// Output: 2100 bytes as true fewer than 100
}

func ExampleWithSubprotocols() {
	hub, end := newExampleHub(wshub.WithSubprotocols("chat.v2", "chat.v1"))
	defer end()
	modern := connect(hub, "ann", wshubtest.WithSubprotocols("chat.v1", "chat.v2"))
	old := connect(hub, "bob", wshubtest.WithSubprotocols("chat.v1"))
	other := connect(hub, "eve", wshubtest.WithSubprotocols("mqtt"))
	fmt.Printf("%q %q %q\n", modern.session.Subprotocol(), old.session.Subprotocol(), other.session.Subprotocol())
	// Output: "chat.v2" "chat.v1" ""
}

// Session ids tell which node a session is on.
func ExampleWithNode() {
	hub, end := newExampleHub(wshub.WithNode("eu-1"))
	defer end()
	ann := connect(hub, "ann")
	node, _, _ := strings.Cut(ann.session.ID(), ".")
	fmt.Println(hub.Node(), node)
	// Output: eu-1 eu-1
}

func ExampleWithLogger() {
	hub, end := newExampleHub(wshub.WithLogger(exampleLogger()))
	defer end()
	say(hub.Handler(func(context.Context, *wshub.Session) error { return errors.New("the database is gone") }), "hello")
	// Unordered output:
	// level=ERROR msg="session func failed" err="the database is gone"
	// closed with 1011
}
