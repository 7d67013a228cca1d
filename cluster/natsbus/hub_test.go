package natsbus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/hubtest"
)

// Hubs whose server is killed five times.
func TestPitfall31HubsServerIsKilled(t *testing.T) {
	p := newProcess(t)
	hubtest.Killed(t, hubBroker{p}, func() cluster.Bus { return connect(t, p.url()) })
}

type hubBroker struct{ p *process }

func (b hubBroker) Kill()  { b.p.kill() }
func (b hubBroker) Start() { b.p.start() }

// A hub that is cut off for a while, and one that is for good.
func TestPitfall31HubsCutOff(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*testing.T, func(bool) cluster.Bus, func(bool)){"for a while": hubtest.CutOff, "for good": hubtest.Gone} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := embedded(t, nil)
			p := newProxy(t, s.Addr().String())
			f(t, func(proxied bool) cluster.Bus {
				if proxied {
					return connect(t, p.url(), NATS(nats.PingInterval(200*time.Millisecond)))
				}
				return connect(t, s.ClientURL())
			}, p.silent.Store)
		})
	}
}
