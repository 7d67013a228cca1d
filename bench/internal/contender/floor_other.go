//go:build !linux

package contender

import "errors"

func newFloor(Options) (Hub, error) {
	return nil, errors.New("the floor is system calls of Linux")
}
