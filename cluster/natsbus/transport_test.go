package natsbus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
)

// certificate returns one for 127.0.0.1, and who trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// Each way to a server that nats.go knows is one for the bus, with payloads of any size, before and after a reconnect.
func TestTransports(t *testing.T) {
	cert, trusted := certificate(t)
	plain := embedded(t, nil)
	secured := func(o *server.Options) { o.TLS, o.TLSConfig = true, &tls.Config{Certificates: []tls.Certificate{cert}} }
	secure := embedded(t, secured)
	first := embedded(t, func(o *server.Options) { secured(o); o.TLSHandshakeFirst = true })
	web := embedded(t, func(o *server.Options) {
		o.Websocket = server.WebsocketOpts{Host: "127.0.0.1", Port: -1, NoTLS: true, Compression: true}
	})
	trust := nats.Secure(&tls.Config{RootCAs: trusted})
	var dialed encrypted
	dialed.config = &tls.Config{RootCAs: trusted}
	for _, c := range []struct {
		name string
		url  string
		opts []nats.Option
	}{
		{"TCP", plain.ClientURL(), nil},
		{"TCP with a dialer", plain.ClientURL(), []nats.Option{nats.Dialer(&net.Dialer{Timeout: time.Second}), nats.MultipathTCP(false)}},
		{"two servers of which one is there", "nats://127.0.0.1:1," + plain.ClientURL(), nil},
		{"TLS", secure.ClientURL(), []nats.Option{trust}},
		{"TLS first", first.ClientURL(), []nats.Option{trust, nats.TLSHandshakeFirst()}},
		{"a dialer that encrypts", first.ClientURL(), []nats.Option{trust, nats.TLSHandshakeFirst(), nats.SetCustomDialer(&dialed)}},
		{"WebSocket", web.WebsocketURL(), nil},
		{"compressed WebSocket", web.WebsocketURL(), []nats.Option{nats.Compression(true)}},
		{"in this process", "", []nats.Option{nats.InProcessServer(plain)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := connect(t, c.url, NATS(c.opts...)), connect(t, c.url, NATS(c.opts...))
			for _, bus := range []*Bus{a, b} {
				awaitState(t, bus, cluster.StateUp)
			}
			subscribe(t, b, "x")
			// A little less than max_payload: over a compressed WebSocket the server counts the protocol's line with it, and
			// ends the connection.
			large := make([]byte, 1<<20-1000)
			rand.Read(large)
			exchange := func() {
				t.Helper()
				publish(t, a, "x", "1", string(large), "", "2")
				expect(t, b, "x", "1", string(large), "", "2")
			}
			exchange()
			b.client.ForceReconnect()
			awaitState(t, b, cluster.StateDown)
			awaitState(t, b, cluster.StateUp)
			exchange()
		})
	}
	if dialed.n.Load() == 0 {
		t.Error("the dialer is not used")
	}
}

// encrypted is a dialer that brings connections with TLS.
type encrypted struct {
	config *tls.Config
	n      atomic.Int64
}

func (d *encrypted) Dial(network, address string) (net.Conn, error) {
	d.n.Add(1)
	return tls.Dial(network, address, d.config)
}

func (d *encrypted) SkipTLSHandshake() bool { return true }

// The user's handlers are called too.
func TestHandlersAreCalled(t *testing.T) {
	p := newProxy(t, embedded(t, nil).Addr().String())
	calls := make(chan string, 10)
	handler := func(name string) nats.ConnHandler { return func(*nats.Conn) { calls <- name } }
	a := connect(t, p.url(), Name("chat"), NATS(
		nats.ConnectHandler(handler("connected")), nats.ReconnectHandler(handler("reconnected")),
		nats.ClosedHandler(handler("closed"))),
		NATS(nats.DisconnectErrHandler(func(*nats.Conn, error) { calls <- "disconnected" }),
			nats.ReconnectBufSize(1<<20), nats.MaxReconnects(0), nats.NoReconnect(), nats.RetryOnFailedConnect(false)))
	want := func(names ...string) {
		t.Helper()
		for _, name := range names {
			select {
			case got := <-calls:
				if got != name {
					t.Fatalf("called %q, want %q", got, name)
				}
			case <-time.After(patience):
				t.Fatalf("%q is not called", name)
			}
		}
	}
	want("connected")
	o := a.client.Opts
	if o.Name != "chat" {
		t.Errorf("the name is %q", o.Name)
	}
	if o.ReconnectBufSize != -1 || o.MaxReconnect != -1 || !o.AllowReconnect || !o.RetryOnFailedConnect || !o.IgnoreAuthErrorAbort {
		t.Error("an option is taken that the bus cannot do with")
	}
	p.cut()
	want("disconnected", "reconnected")
	a.Close()
	if got := <-calls; got != "disconnected" { // which nats.go calls or not, as the connection ends before or in its Close
		calls <- got
	}
	want("closed")

	old := connect(t, p.url(), NATS(func(o *nats.Options) error { o.DisconnectedCB = handler("old"); return nil }))
	awaitState(t, old, cluster.StateUp)
	p.cut()
	want("old")
}

// Whoever publishes more than the network takes waits, with its context, and the buffer stays bounded.
func TestLinkIsBounded(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	l := newLink(near)
	ended := make(chan struct{})
	go func() { defer close(ended); l.write() }()
	ctx := within(t)
	written := 0
	for l.mu.Lock(); len(l.waiting) < high; l.mu.Lock() {
		l.mu.Unlock()
		n, err := l.Write(make([]byte, 64<<10))
		if err != nil {
			t.Fatal(err)
		}
		written += n
	}
	l.mu.Unlock()
	roomy := make(chan error)
	go func() { roomy <- l.room(ctx) }()
	select {
	case err := <-roomy:
		t.Fatalf("there is room: %v", err)
	default:
	}
	buf := make([]byte, 1<<20)
	for read := 0; read < written; {
		n, err := far.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		read += n
	}
	if err := <-roomy; err != nil {
		t.Fatal(err)
	}
	cause := errors.New("cause")
	l.fail(cause)
	l.fail(errors.New("a later one"))
	<-ended
	if _, err := l.Write(nil); err != cause {
		t.Errorf("Write: %v", err)
	}
	if _, err := l.Read(buf); err == nil || l.why() != cause {
		t.Errorf("Read: %v, why: %v", err, l.why())
	}
}
