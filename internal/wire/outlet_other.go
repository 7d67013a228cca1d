//go:build !unix

package wire

import "net"

// newRawOutlet returns nil: sockets of this system cannot be written through their descriptor without waiting.
func newRawOutlet(net.Conn) outlet { return nil }
