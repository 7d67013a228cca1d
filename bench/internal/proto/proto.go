// Package proto is what the runner, the servers and the load say to each other: one JSON object a line over the standard
// input and output of the child, an answer for each request, in order. It also fixes what a published payload looks like.
package proto

import "encoding/json"

// Request asks a child for something. Args is the struct named after Do.
type Request struct {
	Do   string          `json:"do"`
	Args json.RawMessage `json:"args,omitempty"`
}

// Reply answers a Request: with what it asks for, or with what is wrong.
type Reply struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// What a server does. The first line a server writes, before any request, is a Reply with a [Ready].
const (
	DoPublish = "publish" // Publish: answered with Published when all have been published
	DoStats   = "stats"   // StatsOf: answered with Stats
	DoQuit    = "quit"    // answered, then the process ends by itself with status 0
)

// What a load does.
const (
	DoDial  = "dial"  // Dial: answered with Dialed
	DoBegin = "begin" // Begin: answered with nothing, once the window has begun
	DoEnd   = "end"   // End: answered with Window
	DoHang  = "hang"  // Hang: answered with Hung
)

// Ready is where a server listens.
type Ready struct {
	Addr string `json:"addr"` // 127.0.0.1:port
}

// Publish is a schedule of publishes. The k-th burst is due k×Burst/Rate seconds after the start, whatever the earlier ones
// took, so a server that does not keep up publishes late rather than less.
type Publish struct {
	Window uint32  `json:"window"` // goes into each payload
	Topics []int   `json:"topics"` // publish to these: one after the other, or at random
	Random bool    `json:"random"`
	Direct int     `json:"direct"` // instead of to topics: to one of the clients 0 to Direct-1 at random
	Rate   float64 `json:"rate"`   // publishes a second
	Burst  int     `json:"burst"`  // publishes at a time; 0 is 1
	Count  int     `json:"count"`  // publishes in all
	Size   int     `json:"size"`   // bytes of a payload
	JSON   bool    `json:"json"`   // filled with text that compresses as JSON of an application does, instead of one letter
}

// Published tells how publishing went. Times are in nanoseconds.
type Published struct {
	Count   int            `json:"count"`
	PerKey  map[int]uint32 `json:"perKey"`  // the last number published by topic, or by client for direct ones
	Seconds float64        `json:"seconds"` // from the first publish to the end of the last
	Call    Quantiles      `json:"call"`    // how long a publish call took
	Late    Quantiles      `json:"late"`    // how long after it was due a burst began
}

// Quantiles of times, in nanoseconds.
type Quantiles struct {
	N    int64 `json:"n"`
	P50  int64 `json:"p50"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}

// StatsOf asks for Stats.
type StatsOf struct {
	GC bool `json:"gc"` // collect garbage twice and give memory back first
}

// Stats is what a server process uses. CPU is in seconds since it started, user and system.
type Stats struct {
	Clients    int     `json:"clients"` // connected, with all their joins done
	Joins      int     `json:"joins"`   // places in topics, of all clients
	CPU        float64 `json:"cpu"`
	Heap       uint64  `json:"heap"`  // bytes in spans in use
	Stack      uint64  `json:"stack"` // bytes of stacks in use
	RSS        uint64  `json:"rss"`
	Goroutines int     `json:"goroutines"`
	Echoed     uint64  `json:"echoed"` // messages of clients that were sent back
}

// Dial connects clients. Client i (counted over all dials of the process) asks for the path
//
//	/ws?id=i&topic=t
//
// with t = i modulo Topics, at Addrs[t modulo len(Addrs)]. It joins Places-1 more topics, Topics/Places apart, and has to
// wait for nothing: the servers tell when all have been joined.
type Dial struct {
	Addrs    []string `json:"addrs"`
	N        int      `json:"n"`
	Topics   int      `json:"topics"`
	Places   int      `json:"places"`   // topics that a client is in, which divide Topics; 0 is 1
	Rate     float64  `json:"rate"`     // connects a second; 0 is as fast as it goes
	InFlight int      `json:"inFlight"` // handshakes at a time; 0 is 256
	Compress bool     `json:"compress"` // offer permessage-deflate without context takeover
	Dialect  string   `json:"dialect"`  // "" for plain payloads, "centrifuge" for its JSON protocol
}

// Dialed tells how dialing went.
type Dialed struct {
	Connected int       `json:"connected"`
	Failed    int       `json:"failed"`
	FirstErr  string    `json:"firstErr,omitempty"`
	Seconds   float64   `json:"seconds"`
	Handshake Quantiles `json:"handshake"` // from connect to the answer's last byte
}

// Begin starts a window: what was counted before is forgotten.
type Begin struct {
	Window   uint32  `json:"window"`   // payloads of other windows are counted as stray
	Size     int     `json:"size"`     // of payloads; others are damaged
	Stalled  int     `json:"stalled"`  // the last so many clients do not read until the window ends; what they miss is not counted
	Echo     float64 `json:"echo"`     // messages a second that each client sends, spread evenly; each must come back
	EchoSize int     `json:"echoSize"` // bytes of each
	Churn    float64 `json:"churn"`    // leaves and joins a second over all clients: client by client leaves its topic and joins it again
	Each     int     `json:"each"`     // every client sends so many messages at once, paced by their echoes (for the memory after traffic)
	Direct   bool    `json:"direct"`   // numbers count per client, not per topic
}

// End ends the window when Frames payloads have come, or when none has come for Quiet seconds, or after Timeout seconds.
type End struct {
	Frames  int64   `json:"frames"`
	Quiet   float64 `json:"quiet"`   // 0 is 2
	Timeout float64 `json:"timeout"` // 0 is 30
}

// Window is what has come. Missing counts numbers that were jumped over; what is missing at the end the runner knows from
// Published and Frames.
type Window struct {
	Frames   int64     `json:"frames"` // payloads received, stalled clients left out
	Bytes    int64     `json:"bytes"`  // read from the sockets
	Missing  int64     `json:"missing"`
	Disorder int64     `json:"disorder"` // numbers not above the one before
	Damaged  int64     `json:"damaged"`  // not a payload, or of another size
	Stray    int64     `json:"stray"`
	Lost     int       `json:"lost"`    // connections that ended
	Seconds  float64   `json:"seconds"` // from the first payload to the last
	Latency  Quantiles `json:"latency"` // from before the publish call to the read that brought the payload's end
	Sent     int64     `json:"sent"`    // echoes asked for
	Echoed   int64     `json:"echoed"`  // and received
	Trip     Quantiles `json:"trip"`    // of echoes
	CPU      float64   `json:"cpu"`     // seconds of the load process in the window
}

// Hang ends connections: the last N, or all for 0.
type Hang struct {
	N     int  `json:"n"`
	Abort bool `json:"abort"` // without a close frame, as a killed browser
}

// Hung tells how that went.
type Hung struct {
	N       int     `json:"n"`
	Seconds float64 `json:"seconds"`
}
