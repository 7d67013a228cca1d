package wshub_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// What a client sends is counted against the read limit after it was inflated, over all fragments of a message and
// whatever comes between them: nothing more is inflated, and it ends with 1009. What is exactly as long passes.
func TestPitfall10BombStopsAtTheReadLimit(t *testing.T) {
	const limit = 64 << 10
	const text, more = wshubtest.OpText, wshubtest.OpContinuation
	exact := strings.Repeat("x", limit)
	bomb := wshubtest.Deflate([]byte(strings.Repeat("x", 20<<20)))
	// inPieces cuts a message into fragments of n bytes, with a ping before each but the first.
	inPieces := func(op wshubtest.Opcode, p []byte, n int) (frames [][]byte) {
		for len(p) > n {
			frames = append(frames, wshubtest.Frame(false, op, p[:n]), wshubtest.Frame(true, wshubtest.OpPing, []byte("between")))
			op, p = more, p[n:]
		}
		return append(frames, wshubtest.Frame(true, op, p))
	}
	for name, sent := range map[string][][]byte{
		"plain":                 {wshubtest.Frame(true, text, []byte(exact+"x"))},
		"plain, in fragments":   inPieces(text, []byte(exact+"x"), 1000),
		"inflates to one more":  {wshubtest.Frame(true, text|wshubtest.RSV1, wshubtest.Deflate([]byte(exact+"x")))},
		"bomb":                  {wshubtest.Frame(true, text|wshubtest.RSV1, bomb)},
		"bomb, in fragments":    inPieces(text|wshubtest.RSV1, bomb, 10),
		"bomb that never ends":  {wshubtest.Frame(false, text|wshubtest.RSV1, bomb)},
		"inflates to nothing":   inPieces(text|wshubtest.RSV1, []byte(strings.Repeat("\x00\x00\x00\xff\xff", limit)), 1000),
		"nothing, in fragments": inPieces(text|wshubtest.RSV1, append([]byte(strings.Repeat("\x00\x00\x00\xff\xff", limit)), bomb...), 1000),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, wshub.WithCompression(0), wshub.WithReadLimit(limit))
				arrived := make(chan *wshub.Session, 1)
				received := 0
				c := wshubtest.Dial(t, h.Handler(func(_ context.Context, s *wshub.Session) error {
					arrived <- s
					for m := range s.Messages() {
						if m.Text() != exact {
							t.Errorf("received %d bytes", len(m.Data))
						}
						received++
					}
					return nil
				}), wshubtest.WithCompression())
				s := <-arrived
				for _, frame := range inPieces(text, []byte(exact), limit/3) {
					c.SendRaw(frame)
				}
				for _, frame := range inPieces(text|wshubtest.RSV1, wshubtest.Deflate([]byte(exact)), 10) {
					c.SendRaw(frame)
				}
				synctest.Wait()
				if received != 2 || c.Received().Pong == 0 {
					t.Fatalf("received %d of 2, and %d pongs came", received, c.Received().Pong)
				}
				pongs := c.Received().Pong
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for _, frame := range sent {
					if c.TrySendRaw(frame) != nil {
						break // the hub has closed
					}
				}
				c.ExpectClose(1009)
				<-s.Done()
				runtime.ReadMemStats(&after)
				if n := after.TotalAlloc - before.TotalAlloc; n > 5<<20 {
					t.Errorf("%d bytes were allocated", n)
				}
				if received != 2 {
					t.Errorf("received %d", received)
				}
				if !errors.Is(s.Err(), wshub.ErrTooBig) || !errors.Is(s.Err(), &wshub.CloseError{Code: wshub.StatusMessageTooBig}) {
					t.Errorf("Err is %v", s.Err())
				}
				if strings.Contains(name, "fragments") && c.Received().Pong == pongs {
					t.Error("no ping was answered")
				}
			})
		})
	}
}
