package redisbus

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A connection is given up when nothing comes, not when a message takes long.
func TestHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		o := &once{}
		conn, err := o.dial(t.Context(), "", "", func(context.Context, string, string) (net.Conn, error) { return near, nil })
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetReadDeadline(time.Now().Add(time.Second))
		buf := make([]byte, 1)
		if _, err := conn.Read(buf); !timeout(err) {
			t.Errorf("without a limit the deadline holds: %v", err)
		}
		if !o.listen(3 * time.Second) {
			t.Error("there is no connection")
		}
		go func() {
			for range 5 {
				time.Sleep(2 * time.Second)
				far.Write(buf)
			}
		}()
		for range 5 {
			conn.SetReadDeadline(time.Now()) // as for a message
			if _, err := conn.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if _, err := conn.Read(buf); !timeout(err) || time.Since(began) != 3*time.Second {
			t.Errorf("silence: %v after %v", err, time.Since(began))
		}
	})
}

// A link has one connection, and none once it is closed.
func TestOnce(t *testing.T) {
	made := 0
	dial := lend(func(context.Context, string, string) (net.Conn, error) {
		made++
		near, far := net.Pipe()
		t.Cleanup(func() { far.Close() })
		return near, nil
	})
	o := &once{}
	if o.listen(time.Second) {
		t.Error("a connection before one is made")
	}
	ctx := context.WithValue(t.Context(), onceKey{}, o)
	conn, err := dial(ctx, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(ctx, "", ""); !errors.Is(err, errDialed) || made != 1 {
		t.Errorf("again: %v, %d made", err, made)
	}
	o.close()
	o.close()
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("it is open")
	}
	early := &once{}
	dial = lend(func(context.Context, string, string) (net.Conn, error) {
		early.close() // while it dials
		near, far := net.Pipe()
		t.Cleanup(func() { far.Close() })
		return near, nil
	})
	if _, err := dial(context.WithValue(t.Context(), onceKey{}, early), "", ""); err == nil {
		t.Error("a connection of a link that is closed")
	}
	if conn, err := dial(t.Context(), "", ""); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
}
