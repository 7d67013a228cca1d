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
// under the lock under which the message enters the outbox, so that the bus gets them in order. What does not leave has
// used its number. Whoever hears them keeps the last number of each origin: one that is not greater is a repeat and
// skipped, one that leaves some out is a gap, which [Host.Gap] is told before the value is handed on. A gap is told once,
// and what arrives late is skipped.
//
// What was heard first of an origin, after the bus has begun to listen, is where it begins: nothing before is missing. A
// later epoch begins at 1. Heartbeats tell the last numbers, so that a gap at the end is found too. They come on another
// subject, and no bus keeps the order of two: a heartbeat may overtake the values that it tells of, so that what it shows
// to be missing is told a second later, unless it has come. For the same reason one that arrives within a second of the
// subscription says nothing of where an origin begins; if one of the values comes that it tells of, those behind it are
// waited for. Less formally: values in order for each origin, none twice, and what is missing is told in its place.
//
// The numbers of an origin are kept for ten minutes after it was last heard of, so that a node that was cut off and comes
// back is told what it has missed, and as long as the topic is listened to. What it has missed at the end it hears from the
// other nodes, who tell the last numbers of what they have published in the last minute; of a topic that was silent for
// longer with the next value.
//
// # Messages
//
// All of it travels in one envelope, see envelope: at most 57 bytes and the payload, and 24 more with a signature. What a
// node has itself sent it skips. With keys each envelope carries an HMAC of its subject and all of its bytes, and a
// sequence number of its process; whoever hears it checks that, that it is less than 30 s from its own clock, and that it
// was not seen before. So a message can be neither made, changed, moved to another subject, nor sent again by somebody
// without a key; it can be withheld, and read.
//
// # Other nodes
//
// A node is known by its origin, a random number of its process, and says its id in each heartbeat. Heartbeats are
// numbered and carry what has changed: counts as they are now, never differences. Who misses one asks for all of it. A
// node that is not heard of for three of its intervals is gone, one that says goodbye at once; with it go its counts and
// its members. The answer, a snapshot, has the number of the last heartbeat and goes to all: who misses one is seldom alone.
//
// # Members
//
// Who wants to know who is in a topic elsewhere watches it: it listens to the topic's changes, then tells all nodes, and
// gets a list of each with the number of the last change in it. Changes up to that number are skipped, those behind it
// follow; when one is missing, as the next change or a heartbeat shows, that node is asked for its list again. A node tells
// changes only of topics that somebody watches, under the lock under which they get their numbers; a number is never used
// again. Which topics a node watches is part of its snapshots, and heartbeats have a sum of them: a node that was taken for
// dead, or whose message was lost, is noticed by that and gets the lists anew.
//
// Counts of a user, and members of a topic that is not watched, are asked for: every node that is known answers. Who does
// not is asked again each second, until it is gone or the caller's context ends.
//
// # Who owns what
//
// The loop is one goroutine: it reads the bus, does whatever is due (heartbeats, evictions), and calls the Host; it never
// waits for anything but the next of these. The sender runs while the outbox, which is bounded, has something, and
// waits for the bus. The keeper of interest does the same for subjects that are to be added or taken away; those that
// nobody wants any more stay for 5 s, so that a page that is loaded again costs nothing. All of them belong to the Node and
// have ended when Close returns. Methods of Host and TopicHost are called with no lock of this package held, by the loop
// alone unless said otherwise.
package mesh
