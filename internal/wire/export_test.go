package wire

import "time"

// What only tests ask.

// CloseQueued reports whether a close frame was ever queued.
func (c *Conn) CloseQueued() bool { return c.lane.closed() }

// LastSeen returns when the last whole message or control frame arrived, and at first when the connection was
// accepted. Mere bytes do not count.
func (c *Conn) LastSeen() time.Time { return time.Unix(0, c.lastSeen.Load()) }
