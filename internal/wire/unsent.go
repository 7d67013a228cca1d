package wire

import (
	"crypto/tls"
	"net"
)

// minSendBuffer is the least SO_SNDBUF where nothing finer bounds unsent bytes: below it, throughput over a
// distance of 100 ms falls under 10 Mbit/s.
const minSendBuffer = 128 << 10

// limitUnsent bounds the bytes that the kernel takes without having sent them. Without a bound, a peer that never reads
// hides up to 4 MB there, out of any policy's sight.
func limitUnsent(conn net.Conn, n int) {
	tcp, ok := socket(conn).(*net.TCPConn)
	if !ok {
		return
	}
	if setNotSentLowat(tcp, n) {
		return
	}
	tcp.SetWriteBuffer(max(minSendBuffer, n))
}

// socket returns what carries the bytes of conn.
func socket(conn net.Conn) net.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return conn
}
