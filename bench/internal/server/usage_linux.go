package server

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// usage returns the process's seconds of CPU, user and system, and its resident bytes.
func usage() (cpu float64, rss uint64, err error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, 0, fmt.Errorf("getrusage: %w", err)
	}
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0, err
	}
	var size, resident uint64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0, 0, fmt.Errorf("/proc/self/statm: %w", err)
	}
	return seconds(u.Utime) + seconds(u.Stime), resident * uint64(os.Getpagesize()), nil
}

func seconds(t unix.Timeval) float64 { return float64(t.Nano()) / 1e9 }
