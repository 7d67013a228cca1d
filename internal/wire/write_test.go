package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fill writes until nothing more is accepted, and returns how much was. The kernel moves bytes on for a while.
func fill(t testing.TB, c *Conn) int {
	t.Helper()
	b := make([]byte, 64<<10)
	total := 0
	for {
		n, err := c.TryWrite(b)
		total += n
		if err != nil {
			t.Fatalf("TryWrite: %v", err)
		}
		if n == 0 {
			return total
		}
	}
}

func TestWriteOrder(t *testing.T) {
	over(t, writeKinds, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{SendBuffer: 4 << 10}, "", "")
		const total = 3 << 20
		want := make([]byte, total)
		for i := range want {
			want[i] = byte(i * 7 >> 3)
		}
		got := make(chan []byte, 1)
		go func() {
			b := make([]byte, total)
			io.ReadFull(p.br, b)
			got <- b
		}()
		short := 0
		for i, n := 0, 1; i < total; n = n*3%20_011 + 1 {
			chunk := want[i:min(i+n, total)]
			k, err := c.TryWrite(chunk)
			if err != nil {
				t.Fatal(err)
			}
			if k < len(chunk) {
				short++
				rest, err := c.WriteAll(chunk[k:], patience)
				if err != nil || rest != len(chunk)-k {
					t.Fatalf("WriteAll = %d, %v", rest, err)
				}
			}
			i += len(chunk)
		}
		if b := <-got; !bytes.Equal(b, want) {
			t.Error("the peer got something else")
		}
		t.Logf("%d short writes", short)
	})
}

func TestWriteAllTimesOut(t *testing.T) {
	over(t, writeKinds, func(t *testing.T, kind string) {
		c, _ := connect(t, kind, Options{}, "", "")
		fill(t, c)
		big := make([]byte, 8<<20)
		n, err := c.WriteAll(big, 30*time.Millisecond)
		if !errors.Is(err, os.ErrDeadlineExceeded) || n >= len(big) {
			t.Errorf("WriteAll = %d, %v", n, err)
		}
	})
}

// A deadline that WriteAll left behind would fail the next write.
func TestWriteAllLeavesNoDeadline(t *testing.T) {
	over(t, writeKinds, func(t *testing.T, kind string) {
		c, p := connect(t, kind, Options{}, "", "")
		fill(t, c)
		if _, err := c.WriteAll(make([]byte, 8<<20), time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("WriteAll: %v", err)
		}
		go io.Copy(io.Discard, p.br)
		for n := 0; n == 0; runtime.Gosched() { // until the peer has read
			var err error
			if n, err = c.TryWrite([]byte("x")); err != nil {
				t.Fatalf("TryWrite: %v", err)
			}
		}
		if n, err := c.WriteAll([]byte("more"), patience); n != 4 || err != nil {
			t.Errorf("WriteAll = %d, %v", n, err)
		}
	})
}

func TestCloseNowWakesWriteAll(t *testing.T) {
	over(t, writeKinds, func(t *testing.T, kind string) {
		c, _ := connect(t, kind, Options{}, "", "")
		fill(t, c)
		ended := make(chan error, 1)
		go func() {
			_, err := c.WriteAll(make([]byte, 8<<20), 0)
			ended <- err
		}()
		c.CloseNow()
		if err := <-ended; err == nil {
			t.Error("WriteAll wrote everything")
		}
	})
}

func TestCloseNowWakesWriteAllInFakeTime(t *testing.T) {
	for _, kind := range fakeKinds {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := connect(t, kind, Options{}, "", "")
				fill(t, c)
				ended := make(chan error, 1)
				go func() {
					_, err := c.WriteAll(make([]byte, 1<<20), 0)
					ended <- err
				}()
				synctest.Wait() // it waits for room
				c.CloseNow()
				if err := <-ended; err == nil {
					t.Error("WriteAll wrote everything")
				}
			})
		})
	}
}

// Only reading would not notice that the flusher has failed.
func TestFlusherFailureEndsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connect(t, "pipe", Options{WriteTimeout: 7 * time.Second}, "", "")
		start := time.Now()
		if n, err := c.TryWrite([]byte("hello")); n != 5 || err != nil {
			t.Fatalf("TryWrite = %d, %v", n, err)
		}
		if _, _, err := c.ReadMessage(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 7*time.Second {
			t.Errorf("ReadMessage: %v after %v", err, time.Since(start))
		}
		if _, err := c.TryWrite([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("TryWrite: %v", err)
		}
	})
}

// The room that a failed write leaves is nobody's: what waited for it is not accepted and then lost.
func TestFlusherAcceptsNothingAfterFailure(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			c, _ := connect(t, "pipe", Options{SendBuffer: 1000, WriteTimeout: time.Second}, "", "")
			fill(t, c)
			if n, err := c.WriteAll(make([]byte, 500), 0); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("WriteAll = %d, %v", n, err)
			}
		})
	}
}

func TestFlusherBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, "pipe", Options{SendBuffer: 1000}, "", "")
		if n := fill(t, c); n != 1000 {
			t.Errorf("accepted %d bytes, want 1000", n)
		}
		synctest.Wait()
		if n := fill(t, c); n != 0 {
			t.Errorf("accepted %d bytes more while the first are on their way", n)
		}
		io.ReadFull(p.br, make([]byte, 1000))
		synctest.Wait()
		if n := fill(t, c); n != 1000 {
			t.Errorf("accepted %d bytes, want 1000", n)
		}
		io.ReadFull(p.br, make([]byte, 1000))
		synctest.Wait()
		if f := c.out.(*flusher); f.running || f.buf != nil {
			t.Error("an idle flusher keeps a goroutine or a buffer")
		}
	})
}

func TestTryWriteAllocs(t *testing.T) {
	c, p := connect(t, "tcp", Options{}, "", "")
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := p.Conn.Read(b); err != nil {
				return
			}
		}
	})
	b := AppendFrame(nil, OpText, make([]byte, 100))
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := c.TryWrite(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 && runtime.GOOS != "windows" {
		t.Errorf("TryWrite allocates %v times", n)
	}
	c.CloseNow()
	wg.Wait()
}

// An idle connection has no goroutine.
func TestIdleConnHasNoGoroutine(t *testing.T) {
	for _, kind := range fakeKinds {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := connect(t, kind, Options{}, "", "")
				c.TryWrite(AppendFrame(nil, OpText, []byte("x")))
				p.wantFrame(OpText, "x")
				synctest.Wait()
				before := runtime.NumGoroutine()
				c.CloseNow()
				synctest.Wait()
				if after := runtime.NumGoroutine(); after != before {
					t.Errorf("%d goroutines ended with the connection", before-after)
				}
			})
		})
	}
}

// Types that embed a connection may do something with what passes: their descriptor is not used.
func TestWrappedConnKeepsItsMethods(t *testing.T) {
	type wrapped struct{ *net.TCPConn }
	c, _ := connect(t, "tcp", Options{}, "", "")
	out, in := newSides(wrapped{c.raw.(*net.TCPConn)}, Options{SendBuffer: 1 << 10}, nil)
	if _, ok := out.(*flusher); !ok || in != nil {
		t.Error("the descriptor of a wrapped connection is used")
	}
}

func BenchmarkTryWrite(b *testing.B) {
	for _, kind := range writeKinds {
		b.Run(kind, func(b *testing.B) {
			c, p := connect(b, kind, Options{}, "", "")
			var wg sync.WaitGroup
			wg.Go(func() {
				buf := make([]byte, 256<<10)
				for {
					if _, err := p.Conn.Read(buf); err != nil {
						return
					}
				}
			})
			f := AppendFrame(nil, OpText, make([]byte, 100))
			b.ReportAllocs()
			for b.Loop() {
				n, err := c.TryWrite(f)
				if err == nil && n < len(f) {
					_, err = c.WriteAll(f[n:], patience)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			c.CloseNow()
			wg.Wait()
		})
	}
}

func BenchmarkReadMessage(b *testing.B) {
	for _, kind := range writeKinds {
		b.Run(kind, func(b *testing.B) {
			c, p := connect(b, kind, Options{}, "", "")
			var wg sync.WaitGroup
			wg.Go(func() {
				f := bytes.Repeat(text(repeat(100)), 10)
				for {
					if _, err := p.Write(f); err != nil {
						return
					}
				}
			})
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := c.ReadMessage(); err != nil {
					b.Fatal(err)
				}
			}
			c.CloseNow()
			wg.Wait()
		})
	}
}
