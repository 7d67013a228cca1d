// Package redisbus is a [cluster.Bus] over the publish/subscribe of Redis, or of a server that speaks its protocol.
//
//	bus, err := redisbus.Connect("redis://localhost:6379")
//	hub, err := wshub.New(wshub.WithBus(bus))
//
// # What it promises
//
// Beside what every Bus does:
//
//   - One connection hears everything, whatever the number of subjects, and costs two goroutines; see [Sharded] for the
//     exception. Publishing has a few connections of its own, so that neither waits for the other.
//   - Subscribe returns nil when the server has confirmed each subject, not when the command was written.
//   - The connection is asked for life once a second, see [Ping]. One that says nothing for three times as long is given up,
//     also when nobody has closed it: a server that was stopped, a network that drops. Calls of Publish that wait for the
//     same server end then.
//   - A connection that is lost is made again, for ever, at once and then with pauses of up to a second and jitter. All
//     subjects are subscribed again, at most 500 in a command and a few thousand under way: a hundred thousand do not
//     overrun the server's buffer. Status tells [cluster.StateDown] when it is lost, with the cause, and
//     [cluster.StateUp] when the subjects are all confirmed again.
//   - While no connection can be made Publish and Subscribe return [cluster.ErrDown] at once, with the cause beside it.
//   - Nothing is sent twice: a command whose fate is not known is reported as an error and not repeated. Publish sends what
//     it is given as pipelines, in order.
//   - Nothing waits for a slow reader of Receive. What does not fit into its buffer is dropped and counted in
//     Status.Lost, see [Buffer].
//
// # What it cannot promise
//
// Redis keeps nothing for those who are not there. What is published while a connection is lost, and what was on its way
// in it, is lost without a trace, and no count of it can be had; so is what the server drops when it ends a connection
// that is too slow for its client-output-buffer-limit (pubsub 32mb 8mb 60 by default). The hub numbers its messages and
// finds out.
//
// A server that cannot be reached for a while may still have got what a Publish that failed had sent.
//
// Redis has no databases for publish/subscribe: everybody who uses one server, or one cluster, shares the channels. See
// [Prefix].
//
// # Servers
//
// A single server, one behind Sentinel ([New] with a failover client) and Redis Cluster. In a cluster each PUBLISH goes to
// every server; with [Sharded] it stays on the one that owns the channel, which takes Redis 7. A user for the bus needs the
// channels of its prefix and the commands of the category @pubsub and @connection:
//
//	ACL SETUSER wshub on >secret resetchannels &shop.* -@all +@pubsub +@connection
//
// and in a cluster also +cluster|slots.
package redisbus
