package natsbus

import (
	"testing"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/hubtest"
)

// Hubs whose server is killed five times.
func TestHubsServerIsKilled(t *testing.T) {
	p := newProcess(t)
	hubtest.Killed(t, hubBroker{p}, func() cluster.Bus { return connect(t, p.url()) })
}

type hubBroker struct{ p *process }

func (b hubBroker) Kill()  { b.p.kill() }
func (b hubBroker) Start() { b.p.start() }
