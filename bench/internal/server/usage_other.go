//go:build !linux

package server

import "errors"

func usage() (cpu float64, rss uint64, err error) {
	return 0, 0, errors.New("stats are measured on Linux only")
}
