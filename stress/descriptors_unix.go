//go:build unix

package main

import (
	"math"
	"syscall"
)

// descriptors returns how many files and sockets the process may have open. The runtime has raised the soft limit to the
// hard one.
func descriptors() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || uint64(l.Cur) > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(l.Cur)
}
