package redisbus

import (
	"errors"
	"fmt"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// Option changes how a [Bus] works.
type Option func(*options) error

type options struct {
	prefix     string // with its dot, or ""
	sharded    bool
	messages   int
	bytes      int
	maxPayload int
	ping       time.Duration
}

func newOptions(opts []Option) (options, error) {
	o := options{messages: 65_536, bytes: 64 << 20, maxPayload: 8 << 20, ping: time.Second}
	for _, opt := range opts {
		if opt == nil {
			return o, errors.New("redisbus: option is nil")
		}
		if err := opt(&o); err != nil {
			return o, err
		}
	}
	return o, nil
}

// maxPrefix is how long a prefix may be.
const maxPrefix = 128

// Prefix puts tokens in front of every subject, with a dot between: with Prefix("shop.eu") the subject "wshub.all" is the
// channel "shop.eu.wshub.all". Buses with different prefixes do not hear each other: applications that share a server
// need one each. It is of the form of a subject, see [cluster.CheckSubject], and at most 128 bytes long. The default is none.
func Prefix(prefix string) Option {
	return func(o *options) error {
		if len(prefix) > maxPrefix {
			return fmt.Errorf("redisbus: prefix: %w: %d bytes, at most %d are allowed", cluster.ErrSubject, len(prefix), maxPrefix)
		}
		if err := cluster.CheckSubject(prefix); err != nil {
			return fmt.Errorf("redisbus: prefix: %w", err)
		}
		o.prefix = prefix + "."
		return nil
	}
}

// Sharded uses the sharded channels of Redis Cluster (SPUBLISH and SSUBSCRIBE, Redis 7): a message goes to the server that
// owns its channel and to no other, where PUBLISH goes to all of them. All nodes have to use it, or none.
//
// Subjects are spread over 16 lanes by their hash. The channels of a lane have one hash tag: they live in one slot, on one
// server, and are subscribed to together. The 16 slots are spread evenly, so up to 16 masters share the load. Each lane has a
// connection of its own, from the beginning: 16 connections and 32 goroutines for a bus. A connection for each server would
// be fewer, but then one that moves would have to be told from one that stays. The bus is up while all lanes are; a lane
// whose server is gone fails alone. When a slot moves to another server its lane follows within a second or so; what is
// published on it meanwhile is lost, and the Publish that finds it moved returns an error that matches cluster.ErrDown.
func Sharded() Option {
	return func(o *options) error {
		o.sharded = true
		return nil
	}
}

// Buffer limits what waits for the reader of Receive: that many messages, and that many bytes of subjects and data; both are
// at least 1. What does not fit is lost, the newest first, and told as [cluster.Status]. 64 messages more can be in the
// channel itself. The default is 65,536 messages and 64 MiB.
func Buffer(messages, bytes int) Option {
	return func(o *options) error {
		if messages < 1 || bytes < 1 {
			return fmt.Errorf("redisbus: a buffer of %d messages and %d bytes: want at least 1 of each", messages, bytes)
		}
		o.messages, o.bytes = messages, bytes
		return nil
	}
}

// MaxPayload is how many bytes a message may have, 8 MiB by default; Publish of a larger one fails with
// cluster.ErrTooLarge. Redis takes up to its proto-max-bulk-len (512 MB), but ends the connection of a subscriber for whom
// more waits than its client-output-buffer-limit allows (32 MB): stay well below both.
func MaxPayload(bytes int) Option {
	return func(o *options) error {
		if bytes < 1 || bytes > 512<<20 {
			return fmt.Errorf("redisbus: a largest payload of %d bytes: want 1 to 512 MiB", bytes)
		}
		o.maxPayload = bytes
		return nil
	}
}

// Ping is how often a connection is asked for life, 1 s by default, at least 10 ms. A connection that says nothing for three
// times as long is given up, which has to be longer than whatever the server may do in one go: a script, a fork.
func Ping(interval time.Duration) Option {
	return func(o *options) error {
		if interval < 10*time.Millisecond {
			return fmt.Errorf("redisbus: a ping each %v: want at least 10ms between", interval)
		}
		o.ping = interval
		return nil
	}
}
