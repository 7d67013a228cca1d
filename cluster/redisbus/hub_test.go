package redisbus

import (
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/hubtest"
)

// Hubs whose server is killed five times.
func TestPitfall31HubsServerIsKilled(t *testing.T) {
	s := startServer(t)
	hubtest.Killed(t, hubBroker{s}, func() cluster.Bus { return connect(t, s.url()) })
}

type hubBroker struct{ s *server }

func (b hubBroker) Kill()  { b.s.kill() }
func (b hubBroker) Start() { b.s.start() }

// A hub that is cut off for a while, and one that is for good.
func TestPitfall31HubsCutOff(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*testing.T, func(bool) cluster.Bus, func(bool)){"for a while": hubtest.CutOff, "for good": hubtest.Gone} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			p := startProxy(t, s.addr())
			f(t, func(proxied bool) cluster.Bus {
				if proxied {
					return connect(t, p.url(), Ping(100*time.Millisecond))
				}
				return connect(t, s.url())
			}, p.drop)
		})
	}
}
