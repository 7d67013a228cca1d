//go:build !linux && !darwin

package wire

import "net"

// setNotSentLowat reports false: the system has no TCP_NOTSENT_LOWAT.
func setNotSentLowat(*net.TCPConn, int) bool { return false }
