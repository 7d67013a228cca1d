// Package clustertest is the conformance suite of [cluster.Bus]: what every bus has to pass before a hub can rely on it.
//
// A bus of your own is put under it with one test, in the package of the bus:
//
//	func TestBus(t *testing.T) {
//		server := startServer(t) // a broker of the test's own
//		clustertest.Run(t, clustertest.Config{
//			New:        func(t testing.TB) cluster.Bus { return mybus.New(server.Addr(), mybus.WithQueue(1000)) },
//			Break:      func(t testing.TB) { server.Kill() },
//			Restore:    func(t testing.TB) { server.Start() },
//			MaxPayload: 1 << 20,
//			Queue:      1000,
//		})
//	}
//
// Run it with the race detector. The suite is one subtest for each promise that package cluster makes. It relies on
// nothing else: connections to a broker are not in step with each other, a bus may hear itself or not, and messages of
// different subjects may overtake each other. Messages may be lost only while the suite has broken the broker, and when a
// reader does not read. What it waits for it sees happen; times only bound how long a failure takes.
//
// It uses subjects that begin with a random token, so that a broker may be shared with others, as long as Break does not
// hurt them.
package clustertest
