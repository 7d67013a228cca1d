package natsbus

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/cluster/clustertest"
)

// maxPayload of a server that was told nothing else.
const maxPayload = 1 << 20

// TestBusOverEmbeddedServer is the conformance suite, without and with a prefix.
func TestBusOverEmbeddedServer(t *testing.T) {
	for _, c := range []struct{ name, prefix string }{{"no prefix", ""}, {"prefix", "chat.eu"}} {
		t.Run(c.name, func(t *testing.T) {
			var s *server.Server
			port := -1
			start := func(t testing.TB) {
				s = embedded(t, func(o *server.Options) { o.Port = port })
			}
			start(t)
			port = s.Addr().(*net.TCPAddr).Port
			clustertest.Run(t, clustertest.Config{
				New: func(t testing.TB) cluster.Bus {
					return connect(t, s.ClientURL(), Prefix(c.prefix), Buffer(1000, 1<<30),
						NATS(nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0)))
				},
				Break:      func(testing.TB) { s.Shutdown(); s.WaitForShutdown() },
				Restore:    func(testing.TB) { start(t) },
				MaxPayload: maxPayload,
				Queue:      1000 + direct,
				Ignore:     func(stack string) bool { return strings.Contains(stack, "nats-server/v2/server.") },
			})
		})
	}
}

// TestBusOverServerProcess is the same over a server that is killed.
func TestBusOverServerProcess(t *testing.T) {
	p := newProcess(t)
	clustertest.Run(t, clustertest.Config{
		New:        func(t testing.TB) cluster.Bus { return connect(t, p.url(), Buffer(1000, 1<<30)) },
		Break:      func(testing.TB) { p.kill() },
		Restore:    func(testing.TB) { p.start() },
		MaxPayload: maxPayload,
		Queue:      1000 + direct,
		Ignore:     func(stack string) bool { return strings.Contains(stack, "(*process).start") }, // reads the server's log
	})
}
