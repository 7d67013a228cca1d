// Package fanout hands the values of topics to very many subscribers: one log per topic, one cursor per subscription.
//
// A publish appends to a log, marks the topic dirty and returns. Workers take dirty topics a stride of chunks at a
// time, in turn, and visit the members; a visit writes what is pending and can be written, and applies the member's
// rule to the rest. Nothing is queued, copied or allocated per subscriber; who lags is a cursor that stays behind.
//
// # Who owns what
//
// A subscriber (a session or a stream) belongs to whoever holds its write bit: its cursors, its backlogs, its account
// and the writing side of its connection. Visits never wait, so the bit is never held for long. A visit that finds the
// bit taken sets the again mark and leaves; only the owner clears the mark, before it looks, and it cannot give the bit
// up while the mark is set. While a frame is begun (a write was short) the connection belongs to the drain goroutine,
// the rest of the subscriber to the bit as before: policies go on while the socket waits.
//
// A log entry is claimed by every member whose cursor is at or before it. Until a pass is complete it claims everything
// from the last complete one on; a member that stays behind is on its topic's lag list before the pass completes, and
// leaves it only when its cursor has reached the head. The log is trimmed below all claims.
//
// # Order
//
// Stamps come from one clock. A look reads the clock, then the heads of all topics of the subscriber and its mailbox,
// and writes what is stamped up to the clock in the order of stamps: of two publishes, one of which returned before the
// other began, the first is written first, whatever their topics. What a pace holds back takes its place when released.
//
// # Locks
//
// In the order in which they nest: the write bit, Topic.pubMu, Topic.mu, Topic.lagMu, then one of the log's or the
// mailbox's lock, Topic.spaceMu, timers.mu and Engine.mu. Writes that do not wait, and filters, run under the write bit
// alone; filters must not call back. None is held across anything that waits, or the owner's hooks.
package fanout
