package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemConnCarriesBytesInOrder(t *testing.T) {
	for _, size := range []int{0, 1, 7, 64, 1000, 1 << 16} {
		a, b := Pipe(size)
		want := make([]byte, 10_000)
		for i := range want {
			want[i] = byte(i * 31 >> 2)
		}
		go func() {
			for i, n := 0, 1; i < len(want); n = n*5%617 + 1 {
				k, _ := a.Write(want[i:min(i+n, len(want))])
				i += k
			}
			a.CloseWrite()
		}()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("size %d: %d bytes, %v", size, len(got), err)
		}
		a.Close()
		b.Close()
	}
}

func TestMemConnTryWrite(t *testing.T) {
	a, b := Pipe(10)
	defer b.Close()
	for _, tc := range []struct{ write, want, read int }{{6, 6, 0}, {6, 4, 3}, {1, 1, 0}, {6, 2, 12}, {20, 10, 10}} {
		if n, err := a.TryWrite(make([]byte, tc.write)); n != tc.want || err != nil {
			t.Errorf("TryWrite(%d) = %d, %v; want %d", tc.write, n, err, tc.want)
		}
		if tc.read > 0 {
			io.ReadAtLeast(b, make([]byte, tc.read), min(tc.read, 10))
		}
	}
	a.Close()
	if _, err := a.TryWrite([]byte("x")); err != io.ErrClosedPipe {
		t.Errorf("TryWrite after Close: %v", err)
	}
}

func TestMemConnEnds(t *testing.T) {
	for _, tc := range []struct {
		name           string
		end            func(a, b *MemConn)
		aRead, bRead   string
		aErr, bErr     error
		aWrite, bWrite error
	}{
		{"a closes", func(a, b *MemConn) { a.Close() }, "", "from a", io.ErrClosedPipe, io.EOF, io.ErrClosedPipe, io.ErrClosedPipe},
		{"a half closes", func(a, b *MemConn) { a.CloseWrite(); b.CloseWrite() }, "from b", "from a", io.EOF, io.EOF, io.ErrClosedPipe, io.ErrClosedPipe},
		{"both close", func(a, b *MemConn) { a.Close(); b.Close(); a.Close() }, "", "", io.ErrClosedPipe, io.ErrClosedPipe, io.ErrClosedPipe, io.ErrClosedPipe},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := Pipe(100)
			a.Write([]byte("from a"))
			b.Write([]byte("from b"))
			tc.end(a, b)
			for _, side := range []struct {
				c             *MemConn
				read          string
				readErr, wErr error
			}{{a, tc.aRead, tc.aErr, tc.aWrite}, {b, tc.bRead, tc.bErr, tc.bWrite}} {
				got := make([]byte, 100)
				n, err := io.ReadFull(side.c, got)
				if err == io.ErrUnexpectedEOF {
					err = io.EOF
				}
				if string(got[:n]) != side.read || err != side.readErr {
					t.Errorf("%v reads %q, %v; want %q, %v", side.c.LocalAddr(), got[:n], err, side.read, side.readErr)
				}
				if _, err := side.c.Write([]byte("x")); err != side.wErr {
					t.Errorf("%v writes: %v, want %v", side.c.LocalAddr(), err, side.wErr)
				}
			}
			a.Close()
			b.Close()
		})
	}
}

func TestMemConnCloseWakes(t *testing.T) {
	for name, end := range map[string]func(a, b *MemConn){
		"own":  func(a, _ *MemConn) { a.Close() },
		"peer": func(_, b *MemConn) { b.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := Pipe(1)
				errs := make(chan error, 2)
				go func() { _, err := a.Read(make([]byte, 1)); errs <- err }()
				go func() { _, err := a.Write(make([]byte, 5)); errs <- err }()
				synctest.Wait()
				end(a, b)
				for range 2 {
					if err := <-errs; err == nil {
						t.Error("a call under way succeeded")
					}
				}
			})
		})
	}
}

func TestMemConnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(4)
		start := time.Now()
		after := func(want time.Duration, err error) {
			t.Helper()
			if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != want {
				t.Errorf("%v after %v, want the deadline after %v", err, time.Since(start), want)
			}
		}
		read := func() error { _, err := a.Read(make([]byte, 1)); return err }

		a.SetReadDeadline(start.Add(time.Second))
		after(time.Second, read())
		after(time.Second, read())

		// Moved while a read waits, later and then to the past.
		a.SetReadDeadline(start.Add(2 * time.Second))
		ended := make(chan error)
		go func() { ended <- read() }()
		synctest.Wait()
		a.SetReadDeadline(start.Add(4 * time.Second))
		time.Sleep(2 * time.Second)
		a.SetReadDeadline(past)
		after(3*time.Second, <-ended)

		a.SetWriteDeadline(start.Add(5 * time.Second))
		n, err := a.Write(make([]byte, 10))
		after(5*time.Second, err)
		if n != 4 {
			t.Errorf("%d bytes written, want 4", n)
		}

		a.SetDeadline(time.Time{})
		b.Write([]byte("x"))
		if err := read(); err != nil {
			t.Errorf("Read without a deadline: %v", err)
		}
		if n, err := a.TryWrite(make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("TryWrite = %d, %v", n, err)
		}
		a.Close()
		b.Close()
	})
}
