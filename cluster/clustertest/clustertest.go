package clustertest

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// Config is the bus that is tested. Only New is needed; what depends on the other fields is skipped without them.
type Config struct {
	// New returns a new connection, always to the same broker. It need not be up yet. The suite closes it; t is the subtest
	// that it is for.
	New func(t testing.TB) cluster.Bus

	// Break takes the broker away, so that all connections to it are lost; Restore brings it back where it was, without
	// any memory of them. They are called in turns, with the test that needs it, and return when it is done.
	Break, Restore func(t testing.TB)

	// MaxPayload is how many bytes of data the broker takes: that many must arrive, one more must be refused. Without it
	// 256 KiB must arrive.
	MaxPayload int

	// Queue is how many messages a bus keeps for a reader that does not read, at least 16. Let it be small, some hundreds,
	// if there is an option for that: the test of slow readers publishes more than twice as many. The other tests have at
	// most 256 messages unread, or Queue.
	Queue int

	// Timeout bounds each thing that has to happen. The default is 10 s.
	Timeout time.Duration

	// Ignore reports whether a goroutine, of which it gets the stack, is no leak of a bus: one of a broker in the same
	// process, for example, that stays when its client has gone.
	Ignore func(stack string) bool
}

// Run runs the suite as subtests of t, one after the other.
func Run(t *testing.T, c Config) {
	t.Helper()
	if c.New == nil {
		t.Fatal("clustertest: Config.New is needed")
	}
	if (c.Break == nil) != (c.Restore == nil) {
		t.Fatal("clustertest: Config has only one of Break and Restore")
	}
	if c.Queue != 0 && c.Queue < 16 {
		t.Fatal("clustertest: Config.Queue is less than 16")
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	s := &suite{Config: c, window: 256}
	if c.Queue > 0 {
		s.window = min(c.Queue, s.window)
	}
	var token [6]byte
	rand.Read(token[:]) // never fails
	s.token = fmt.Sprintf("clustertest.%x", token)
	for _, test := range tests {
		s.number++
		t.Run(test.name, func(t *testing.T) {
			if test.breaks && c.Break == nil {
				t.Skip("Config has no Break")
			}
			test.run(s, t)
		})
	}
}

var tests = []struct {
	name   string
	breaks bool // needs Break and Restore
	run    func(*suite, testing.TB)
}{
	{"Delivery", false, (*suite).delivery},
	{"Fan", false, (*suite).fan},
	{"Self", false, (*suite).self},
	{"Data", false, (*suite).data},
	{"Ownership", false, (*suite).ownership},
	{"Batch", false, (*suite).batch},
	{"Order", false, (*suite).order},
	{"Large", false, (*suite).large},
	{"TooLarge", false, (*suite).tooLarge},
	{"Isolation", false, (*suite).isolation},
	{"BadSubject", false, (*suite).badSubject},
	{"LongSubject", false, (*suite).longSubject},
	{"ManySubjects", false, (*suite).manySubjects},
	{"DoubleSubscribe", false, (*suite).doubleSubscribe},
	{"Unsubscribe", false, (*suite).unsubscribe},
	{"Nothing", false, (*suite).nothing},
	{"Context", false, (*suite).context},
	{"Channels", false, (*suite).channels},
	{"Close", false, (*suite).close},
	{"ConcurrentClose", false, (*suite).concurrentClose},
	{"Slow", false, (*suite).slow},
	{"Down", true, (*suite).down},
	{"Reconnect", true, (*suite).reconnect},
	{"OrderAcross", true, (*suite).orderAcross},
	{"CloseDown", true, (*suite).closeDown},
	{"Leak", false, (*suite).leak},
	{"LeakDown", true, (*suite).leakDown},
}
