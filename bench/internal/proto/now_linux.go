package proto

import "golang.org/x/sys/unix"

func now() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		panic("proto: no monotonic clock")
	}
	return t.Nano()
}
