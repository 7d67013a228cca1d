//go:build !unix

package wire

import "net"

// rawSocket is what sockets of this system cannot be: read and written through their descriptor without waiting.
type rawSocket struct {
	outlet
	inlet
}

func newRawSocket(net.Conn) *rawSocket { return nil }
