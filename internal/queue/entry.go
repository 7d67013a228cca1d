package queue

import (
	"errors"

	"github.com/wshub-go/wshub/internal/wire"
)

var (
	// ErrFull means that what readers still claim leaves no room for the entry.
	ErrFull = errors.New("queue: full")
	// ErrKeys means that an entry's key would be one more than Config.MaxKeys.
	ErrKeys = errors.New("queue: too many keys")
	// ErrBadKey means that an entry's key cannot stand for anything: it is not equal to itself (a NaN is in it), or its dynamic
	// type cannot be compared. In a table of slots the first would never be found again.
	ErrBadKey = errors.New("queue: key cannot be compared")
	// ErrClosed means that the mailbox has been closed.
	ErrClosed = errors.New("queue: closed")
)

// Entry is a published value. The publisher fills in the lower half and hands the entry to Append or Push, which set the upper
// half; from then on it is immutable and may be read by any goroutine. An entry is appended at most once and never copied.
type Entry struct {
	Offset uint64 // place in the log, or in the mailbox's order; consecutive from 0
	Stamp  uint64 // what the hub's clock read; rises with Offset
	Time   int64  // when it was appended, in unix nanoseconds
	Cum    int64  // sizes of everything appended before it; differences are sizes of ranges
	Slot   uint32 // stands for Key; 0: no key

	Size   int        // bytes that the bounds count, at least 0: the frame's length, or an estimate of the value's
	Key    any        // nil: no key
	Value  any        // for streams and filters; nil when only the frame is wanted
	Except []uint64   // subscriber ids that do not get it
	Only   []uint64   // subscriber ids that do; nil: all of them, empty: nobody
	Frame  wire.Frame // for sockets; the zero Frame when there are none
}

// Reset makes e an entry for another value. Its frame's bytes may be used again, so nobody may have kept any of them.
func (e *Entry) Reset() {
	e.Frame.Reset()
	e.Offset, e.Stamp, e.Time, e.Cum, e.Slot, e.Size = 0, 0, 0, 0, 0, 0
	e.Key, e.Value, e.Except, e.Only = nil, nil, nil, nil
}

// validKey reports whether key can be looked up again once it is in a map. It runs outside of all locks, since comparing an
// uncomparable type panics.
func validKey(key any) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return same(key, key)
}

// same is a function so that comparing a key with itself does not look like a mistake.
func same(a, b any) bool { return a == b }
