// Package wire moves WebSocket frames (RFC 6455, RFC 7692) between one socket and the engine.
//
// It promises, for every connection:
//
//   - A violation of the protocol ends in a close frame on the wire, 1002, 1007, 1008 or 1009, and in a
//     [ProtocolError] from [Conn.ReadMessage], before the WebSocket library acts on it. With [Options].HoldClose the
//     caller queues that frame, and the answer to the peer's. No declared length allocates anything.
//   - A message that takes longer than [Options].MessageTimeout from its first to its last byte ends the
//     connection with 1008. Only whole messages and whole control frames count as life.
//   - [Conn.TryWrite] never waits, and allocates nothing on TCP. What has been accepted and not yet sent is
//     bounded: by about [Options].SendBuffer in the kernel where TCP_NOTSENT_LOWAT exists, by the send buffer of the
//     socket elsewhere, and by as much again in the flusher of connections that need one.
//   - Control frames wait in a lane of their own, which holds at most one ping, one pong (the newest) and one
//     close frame (the first). After the close frame nothing else leaves.
//   - An idle connection has no goroutine and no timer. A TCP or unix socket has no buffer either while nothing is half
//     received; others keep 1 KiB for reading.
//   - [Conn.CloseNow] ends every call under way and leaves no goroutine behind.
//
// Less formally: the library (github.com/coder/websocket, imported by coder.go alone) does the handshake, and reads what is
// more than a whole frame: fragments, long and compressed messages. A connection has one of its own from the first of these on.
// Whole uncompressed frames that fit a buffer are read here. Either way every frame header is scanned first; the library
// never sees a whole close frame, and what it writes is dropped: every close frame in the lane is ours.
//
// # Who owns what
//
// The read side (the scanner, the deadline of the message, the buffer, the library, the early bytes) belongs to the goroutine in
// [Conn.ReadMessage], and after the last ReadMessage to the one in [Conn.AwaitClose].
//
// The socket belongs, for writing, to the write owner: whoever holds the session's write word, or, while a frame is begun,
// the goroutine that writes the rest of it. Only the write owner calls [Conn.TryWrite], [Conn.WriteAll],
// [Conn.TakeControl] and [Conn.CloseSent]. On connections that cannot be written without waiting (TLS, pipes, other
// systems) a flusher goroutine does the writing; it starts with the first byte and ends when its buffer is empty.
//
// Everything else may be called from anywhere. The lane's mutex is a leaf: nothing is called while it is held, so
// the wake function of [Conn.SetWake] never runs under a lock.
package wire
