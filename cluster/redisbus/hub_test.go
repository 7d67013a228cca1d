package redisbus

import (
	"testing"

	"github.com/wshub-go/wshub/cluster"
	"github.com/wshub-go/wshub/internal/hubtest"
)

// Hubs whose server is killed five times.
func TestHubsServerIsKilled(t *testing.T) {
	s := startServer(t)
	hubtest.Killed(t, hubBroker{s}, func() cluster.Bus { return connect(t, s.url()) })
}

type hubBroker struct{ s *server }

func (b hubBroker) Kill()  { b.s.kill() }
func (b hubBroker) Start() { b.s.start() }
