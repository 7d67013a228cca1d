// Package natsbus is a [cluster.Bus] over core NATS: hubs in several processes become one with
//
//	bus, err := natsbus.Connect("nats://127.0.0.1:4222")
//	hub, err := wshub.New(wshub.WithBus(bus))
//
// It needs no JetStream and keeps nothing on the server.
//
// # What it promises
//
// All that [cluster.Bus] asks for, and:
//
//   - One connection, and six goroutines, however many subscriptions there are. A subscription takes about 400
//     bytes, and its name with the prefix.
//   - Publish returns nil when the server has answered that it has the messages: one ping for a batch, which calls at the
//     same time share. Until then a message may be lost; afterwards it is the server's, which has no copy on disk either.
//   - A server that is gone without a word (stopped, or behind a network that drops) is noticed within 6 s, by pings every
//     2 s of which two may be unanswered. Publish waits that long, or until its context ends; then it fails at once.
//   - The bus connects again for ever, 0.5 s to 1.5 s after each attempt, also when the server was not there at the start or
//     does not take the credentials. All subscriptions come back with the connection, in a few writes, before the bus says
//     that it is up.
//   - Nothing is saved up while the bus is down, and nothing is sent twice.
//   - No call holds a lock while it waits for the network, so that contexts are obeyed, and Close returns at once.
//   - A reader that is too slow loses messages, not the connection, each of which is counted once. See [Buffer].
//   - A subject that is too long, which NATS answers by closing the connection for good, is an error here
//     ([cluster.ErrSubject]); so are payloads that are larger than the server's max_payload ([cluster.ErrTooLarge]).
//   - When nats.go closes the client nevertheless, the bus is in [cluster.StateClosed], and says why.
//
// # Your own connection
//
// There is no way to bring a *nats.Conn: what a bus has to promise depends on options that are fixed when it is made, and
// on handlers that it would take from you. [NATS] passes every option that you would have given to it, credentials, TLS and
// handlers included.
package natsbus
