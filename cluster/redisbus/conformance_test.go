package redisbus

import (
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/cluster/clustertest"
)

// What every bus promises, over each kind of server.
func TestConformance(t *testing.T) {
	conform := func(t *testing.T, url string, kill, start func(t testing.TB), opts ...Option) {
		const queue, payload = 500, 1 << 20
		opts = append(opts, Buffer(queue, 1<<30), MaxPayload(payload))
		clustertest.Run(t, clustertest.Config{
			New:        func(t testing.TB) cluster.Bus { return connect(t, url, opts...) },
			Break:      kill,
			Restore:    start,
			MaxPayload: payload,
			Queue:      queue,
			Timeout:    patience,
			Ignore:     func(stack string) bool { return strings.Contains(stack, "miniredis/v2/server.") },
		})
	}
	process := func(s *server) (kill, start func(t testing.TB)) {
		return func(testing.TB) { s.kill() }, func(testing.TB) { s.start() }
	}
	t.Run("miniredis", func(t *testing.T) {
		m := miniredis.RunT(t)
		kill := func(testing.TB) { m.Close() }
		start := func(t testing.TB) {
			if err := m.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		conform(t, "redis://"+m.Addr(), kill, start)
	})
	t.Run("redis", func(t *testing.T) {
		s := startServer(t)
		kill, start := process(s)
		conform(t, s.url(), kill, start, Prefix("conformance"))
	})
	t.Run("sharded", func(t *testing.T) {
		s := startCluster(t, 1)[0]
		kill, start := process(s)
		conform(t, s.url(), kill, start, Sharded())
	})
}
