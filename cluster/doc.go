// Package cluster is what nodes of a cluster talk over: a [Bus], which carries messages between processes by subject, and
// [Memory], a broker within one process.
//
// # What a Bus is asked for
//
// Little, so that every broker can be one: messages of one publisher on one subject arrive in their order, unchanged, at
// most once, at those who have subscribed. They may be lost. Whoever needs to know numbers them, as the hub does: it finds
// the gaps, tells of them, and hears from other nodes by heartbeats. A Bus therefore never queues for later what it cannot
// send now, and never repeats.
//
// Formally, for a Bus b and a subject s:
//
//   - When Subscribe of s has returned nil, every message on s that another connection to the broker takes in a call of
//     Publish that begins afterwards is offered to b, until Unsubscribe of s is called.
//   - Of two messages on s that one connection has taken, in one call or in calls of which one returned before the other
//     began, b receives the first before the second, or one of them, or none.
//   - What is offered is received, or lost: for want of room in b's queue, which Status tells; or by the broker or the
//     connection to it, which nobody may tell.
//   - Nothing is received that was not published, on s, with the same bytes, nor received twice.
//
// Less formally: subscribe, then publish, and it comes, unless something broke.
//
// A subject is tokens of A-Z a-z 0-9 _ and - with dots between them, see [CheckSubject]. There are no wildcards: "a" and
// "a.b" are as different as "a" and "c".
//
// # Errors and contexts
//
// A call whose context has ended returns its cause; a Publish has then taken the messages before the n it returns, and a
// Subscribe has asked for all its subjects nevertheless, as after any error but [ErrClosed] and [ErrSubject]. With
// ErrSubject it has asked for none. After Close every call returns ErrClosed, whatever its arguments are.
//
// # Buses
//
// The hub takes any Bus. Modules beside this one have them for NATS and Redis; package clustertest has the tests that
// each of them passes, and yours can.
package cluster
