//go:build !linux

package proto

import "time"

// since is the start of this process: the load runs on Linux only, so nobody compares with another process.
var since = time.Now()

func now() int64 { return int64(time.Since(since)) }
