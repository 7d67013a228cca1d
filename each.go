package wshub

import (
	"context"
	"reflect"
)

// MessageFunc handles one message of a client. ctx is what the SessionFunc got, or what middleware made of it. The
// message's data is the function's, to keep and change. An error ends the session, as a [SessionFunc]'s result does.
type MessageFunc func(ctx context.Context, s *Session, m Message) error

// MessageMiddleware wraps a MessageFunc. The first one given is the outermost.
type MessageMiddleware func(MessageFunc) MessageFunc

// Each returns a SessionFunc that calls fn for each message of the client, one at a time and in order, and returns fn's
// first error, or nil when no message comes any more. A fn that takes its time makes this client wait ([WithInbound]),
// and nobody else. When the client goes, ctx ends after fn has returned from the last message that came before, at most
// 5 s later.
//
// It is the frugal way to serve: as long as fn is quick and the policy for received messages is only to wait, it runs
// on the goroutine that reads, and the session has no other. It panics when fn is nil.
//
//go:noinline
func Each(fn MessageFunc, mw ...MessageMiddleware) SessionFunc {
	if fn == nil {
		panic("wshub: Each: nil MessageFunc")
	}
	fn = wrapEach(fn, mw)
	return func(ctx context.Context, s *Session) error { return s.each(ctx, fn) }
}

func wrapEach(fn MessageFunc, mw []MessageMiddleware) MessageFunc {
	for i := len(mw) - 1; i >= 0; i-- {
		fn = mw[i](fn)
	}
	return fn
}

// eachCode is the code of what Each returns: the same for all of them, since Each is not inlined.
var eachCode = codeOf(Each(func(context.Context, *Session, Message) error { return nil }))

func codeOf(fn SessionFunc) uintptr { return reflect.ValueOf(fn).Pointer() }

// isEach reports whether fn is what Each has returned. It is for saving a goroutine: a wrong answer would be no fault.
func isEach(fn SessionFunc) bool { return codeOf(fn) == eachCode }
