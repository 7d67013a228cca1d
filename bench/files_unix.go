//go:build unix

package main

import (
	"math"

	"golang.org/x/sys/unix"
)

// fileLimit is how many descriptors a process may have: the hard limit, to which the Go runtime of every child raises its own.
func fileLimit() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	return int(min(uint64(l.Max), math.MaxInt32)), nil
}
