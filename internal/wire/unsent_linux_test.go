package wire

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// siocoutqnsd asks for the bytes not sent yet, linux/sockios.h.
const siocoutqnsd = 0x894b

// A peer that never reads cannot make the kernel take what it could not send.
func TestUnsentIsBounded(t *testing.T) {
	for _, kind := range []string{"tcp", "tls"} {
		t.Run(kind, func(t *testing.T) {
			const sendBuffer = 32 << 10
			c, _ := connect(t, kind, Options{SendBuffer: sendBuffer}, "", "")
			accepted, err := c.WriteAll(make([]byte, 32<<20), 300*time.Millisecond)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("WriteAll = %d, %v", accepted, err)
			}
			// In one call the kernel fills the segment it has begun, 64 KiB at most on the loopback.
			if n := unsent(t, socket(c.raw).(*net.TCPConn)); n > sendBuffer+(64<<10) {
				t.Errorf("%d bytes are unsent, want at most %d", n, sendBuffer+(64<<10))
			} else {
				t.Logf("%d bytes accepted, %d unsent", accepted, n)
			}
			// With what the peer's kernel holds, which grows only for those who read.
			if accepted > 3<<19 {
				t.Errorf("%d bytes were accepted, want less than 1.5 MiB", accepted)
			}
		})
	}
}

func unsent(t *testing.T, c *net.TCPConn) int {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int32
	raw.Control(func(fd uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, siocoutqnsd, uintptr(unsafe.Pointer(&n))); errno != 0 {
			err = errno
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}
