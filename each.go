package wshub

import "context"

// MessageFunc handles one message of a client. ctx is what the SessionFunc got, or what middleware made of it. The
// message's data is the function's, to keep and change. An error ends the session, as a [SessionFunc]'s result does.
type MessageFunc func(ctx context.Context, s *Session, m Message) error

// MessageMiddleware wraps a MessageFunc. The first one given is the outermost.
type MessageMiddleware func(MessageFunc) MessageFunc

// Each returns a SessionFunc that calls fn for each message of the client, one at a time and in order, and returns fn's
// first error, or nil when no message comes any more. A fn that takes its time makes this client wait ([WithInbound]), and
// nobody else. It panics when fn is nil.
func Each(fn MessageFunc, mw ...MessageMiddleware) SessionFunc {
	if fn == nil {
		panic("wshub: Each: nil MessageFunc")
	}
	fn = wrapEach(fn, mw)
	return func(ctx context.Context, s *Session) error {
		for m := range s.Messages() {
			if err := fn(ctx, s, m); err != nil {
				return err
			}
		}
		return nil
	}
}

func wrapEach(fn MessageFunc, mw []MessageMiddleware) MessageFunc {
	for i := len(mw) - 1; i >= 0; i-- {
		fn = mw[i](fn)
	}
	return fn
}
