package wire

import (
	"bytes"
	"compress/flate"
	"errors"
	"testing"
)

// behindFinal is a compressed message whose inflater stops at a final block, while its frame goes on beyond the 4 KiB which the
// inflater has taken at once: there, on the wire, is tail.
func behindFinal(t testing.TB, tail []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed)
	w.Write([]byte("a"))
	w.Close()
	b.Write(make([]byte, 4<<10-b.Len()+len(tail)))
	frame := clientFrame(bitFin|bitRSV1|byte(OpText), b.String())
	copy(frame[len(frame)-len(tail):], tail)
	return frame
}

// What is behind the final block of a compressed message is not taken for frames: the scanner has not seen any there.
func TestFinalBlockEndsInTheMiddle(t *testing.T) {
	evil := append([]byte{bitFin | byte(OpPing), bitMask | 126, 1, 0}, make([]byte, 300)...)
	small := text("hi") // 8 bytes: what the library's reader of 16 has taken already
	for _, tail := range [][]byte{evil, append(bytes.Clone(small), evil...), small, {0}, bytes.Repeat([]byte{0}, 9), bytes.Repeat(small, 100)} {
		each(t, func(t *testing.T, kind string) {
			c, peer := connect(t, kind, Options{Compress: true}, offerDeflate, "")
			go peer.Write(append(behindFinal(t, tail), text("next")...))
			_, data, err := c.ReadMessage()
			var v *ProtocolError
			if !errors.As(err, &v) || v.Code != 1007 {
				t.Errorf("%d bytes behind: %q, %v", len(tail), data, err)
				c.ReadMessage()
			}
		})
	}
}
