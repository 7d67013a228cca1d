//go:build !linux

package load

import (
	"errors"
	"io"
)

// Run returns an error: the load needs Linux.
func Run(io.Reader, io.Writer) error {
	return errors.New("load: needs epoll, which only Linux has")
}
