// Package queue holds what was published until nobody may claim it any more: the [Log] of a topic, with one append per publish
// and any number of cursors over it, and the [Mailbox] of a session's direct messages.
//
// # What it promises
//
//   - Append and Push are O(1), amortised, whatever the audience, and wait for nothing but a short lock. A call that fails has
//     changed nothing: no offset and no stamp was used up.
//   - Offsets of a log are consecutive from 0. Stamps come from the hub's clock and are taken under the lock of the log or the
//     mailbox, so within each of them offsets and stamps rise together; and whenever one call returned before another began, in
//     any log or mailbox of the hub, the first has the smaller stamp.
//   - [Log.Head] is one atomic load, and Append stores it last. A reader that loads the clock and then Head sees every append
//     whose call had returned by then: no entry of a finished call with a stamp up to that clock is missing below that head.
//   - A log keeps what a reader may still claim, and its history, and nothing else. Together they stay within
//     [Config.MaxEntries] and [Config.MaxBytes]; a single entry is always admitted when nothing is claimed, however large.
//     History gives way to claims, oldest first: only claims make an append fail, so a full log always has a reader to wait for.
//   - A log without claims, history and held slots is under 1 KB, whatever it has been through.
//
// # Who owns what
//
// An [Entry] belongs to its publisher until Append or Push has taken it; from then on it is immutable and shared by every reader
// (its Frame makes its compressed form lazily, and is safe to share). A failed Append or Push leaves it with the publisher.
//
// A reader holds an offset, never a place in the ring. The caller of a log knows all cursors; it tells the log through
// [Log.Trim] below which offset no cursor is left, and never tells that of an offset a joining reader is about to start from.
// Entries in [tail, low) are there for history alone, those in [low, head) are claimed.
//
// # Key slots
//
// An entry with a key gets the slot of that key: a small number that stands for the key as long as an entry of the log, the
// history or the line of a lagging coalescing reader ([Log.Hold]) uses it, and may stand for another key afterwards. Slot 0
// stands for "no key". The table of slots is where a history by key has its entries; a line refers to its own, since with a
// filter it may owe an older one than the newest. [Config.MaxKeys] bounds the keys that are claimed, which those in line are;
// history adds at most [Config.History] to them.
package queue
