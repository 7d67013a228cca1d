// Package mesh is one node of a cluster, below the hub: what it publishes for others, what it hears of them, who they are
// and whom they have.
//
// # Subjects
//
// A node listens to wshub.all and wshub.c (control), to wshub.n.NODE, its own, to wshub.t.TOPIC while a [Topic] is
// wanted, to wshub.u.USER while a user is, and to wshub.p.TOPIC while it watches who is in a topic. Names are one token
// each, see [Token]. Nobody who has nobody for a value gets it.
//
// # Values
//
// What a node publishes on a topic is numbered from 1 within an epoch, which begins with the [Topic]. A number is given
// under the lock under which the message enters the outbox, so that the bus gets them in order. Whoever hears them keeps
// the last number of each origin: one that is not greater is a repeat and skipped, one that leaves some out is a gap,
// which [Host.Gap] is told before the value is handed on. Heartbeats tell the last numbers, so that a gap at the end is
// found too. A gap is told once, and what arrives late is skipped.
//
// # Other nodes
//
// A node is known by its origin, a random number of its process, and says its id in each heartbeat. Heartbeats are
// numbered and carry what has changed: counts as they are now, never differences. Who misses one asks for all of it. A
// node that is not heard of for three of its intervals is gone, one that says goodbye at once; with it go its counts and
// its members.
//
// # Who owns what
//
// The loop is one goroutine: it reads the bus, does whatever is due (heartbeats, evictions), and calls the Host; it never
// waits for anything but the next of these. The sender runs while the outbox has something. The keeper of interest runs
// while subjects are to be added or taken away. All of them belong to the Node and have ended when Close returns. Methods
// of Host and TopicHost are called with no lock of this package held, by the loop alone unless said otherwise.
package mesh
