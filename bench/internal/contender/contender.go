// Package contender is the servers that the benchmark compares: a few dozen lines around each library, which use the best
// broadcast that its documentation shows.
//
// A client asks for the path
//
//	/ws?id=7&topic=3
//
// and is a member of that topic from then on. What it sends is "+t4", which joins topic 4, "-t4", which leaves it, or
// anything else, which comes back to it. Centrifuge, which has a protocol of its own, calls these a subscription to the
// channel t4 and an RPC.
package contender

import (
	"net"
	"runtime/debug"
)

// A Hub is one server. All methods may be called by any goroutine, Publish and Send by one at a time.
type Hub interface {
	// Serve accepts clients until Close, after which it returns nil. The listener is the hub's then.
	Serve(l net.Listener) error
	// Publish sends payload to the members of a topic, as the library's users would: it returns when the library's call
	// does, which may be before or after the writes. The payload is the caller's again then.
	Publish(topic int, payload []byte)
	// Send sends payload to one client, in the same way. It reports whether there is such a client.
	Send(client int, payload []byte) bool
	// Clients is how many clients are connected and members of their topic.
	Clients() int
	// Joins is how many places in topics the clients have.
	Joins() int
	// Echoed is how many messages were sent back.
	Echoed() uint64
	// Close ends all connections and waits for the hub's goroutines. It may be called once.
	Close() error
}

// Options are settings of a hub.
type Options struct {
	Compress bool   // accept permessage-deflate, without context takeover, at the fastest level
	Each     bool   // wshub: an Each handler instead of a range over Messages
	Queue    int    // messages that may wait for a client, in those that keep a channel for each; 0 is 256, as in their examples
	Bus      string // the URL of a broker, nats://… or redis://…; "" for one node alone
	Node     string // the node's name, with a bus
}

// A Contender is a library and how it is used here.
type Contender struct {
	Name    string
	Module  string // "" for none
	Version string // of the module, as built
	Path    string // which of its documented ways to broadcast is used

	Topics   bool // can publish to topics, of its own or by a map of members
	Direct   bool // can Send
	Compress bool // knows [Options].Compress
	Echo     bool // sends back what clients send
	Cluster  bool // knows [Options].Bus
	Dialect  string

	New func(Options) (Hub, error)
}

// All returns the contenders: wshub, its peers, and the floor, which is no library.
func All() []Contender {
	all := []Contender{wshubContender, gwsContender, nbioContender, melodyContender, gorillaContender, coderContender,
		nhooyrContender, centrifugeContender, floorContender}
	info, _ := debug.ReadBuildInfo()
	for i := range all {
		all[i].Version = version(info, all[i].Module)
	}
	return all
}

// version is what was linked, also where a go.mod says something else.
func version(info *debug.BuildInfo, module string) string {
	if info == nil || module == "" {
		return ""
	}
	for _, m := range info.Deps {
		switch {
		case m.Path != module:
		case m.Replace != nil && m.Replace.Version == "":
			return "this tree"
		case m.Replace != nil:
			return m.Replace.Version
		default:
			return m.Version
		}
	}
	return ""
}
