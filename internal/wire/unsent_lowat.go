//go:build linux || darwin

package wire

import (
	"net"
	"syscall"
)

// setNotSentLowat sets TCP_NOTSENT_LOWAT and reports whether the system took it. Bytes in flight are not counted by it, so that
// throughput does not depend on n.
func setNotSentLowat(c *net.TCPConn, n int) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, n)
	})
	return err == nil && set == nil
}
